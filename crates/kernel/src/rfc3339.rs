//! Parses RFC 3339 times into an [`Instant`], and formats them.
//!
//! The parser accepts every form of the grammar: any offset, either case of `T` and `Z`, any number of digits after the
//! second, years 0000 to 9999 and the leap second. It rejects everything else.

/// A point in time as RFC 3339 defines it, in nanoseconds. The orderings of a filter compare it. Further digits are cut
/// off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Seconds since 1970-01-01 UTC, without leap seconds.
    seconds: i64,
    /// Nanoseconds within the second. A leap second is the 23:59:59 before it with a billion nanoseconds or more.
    nanos: u32,
}

impl Instant {
    /// Parses a time; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text.as_bytes())
    }

    /// Creates an instant from milliseconds since 1970.
    pub fn from_millis(ms: i64) -> Self {
        let nanos = u32::try_from(ms.rem_euclid(1_000)).unwrap_or_default() * 1_000_000;
        Self { seconds: ms.div_euclid(1_000), nanos }
    }

    /// Milliseconds since 1970. A leap second has those of the second after it.
    pub fn as_millis(self) -> i64 {
        self.seconds.saturating_mul(1_000).saturating_add(i64::from(self.nanos / 1_000_000))
    }

    /// A pair for indexes whose lexicographic order is that of time.
    pub fn order_key(self) -> (u64, u32) {
        ((self.seconds as u64) ^ (1 << 63), self.nanos)
    }

    pub(crate) fn from_order_key((seconds, nanos): (u64, u32)) -> Self {
        Self { seconds: (seconds ^ (1 << 63)) as i64, nanos }
    }
}

fn parse(text: &[u8]) -> Option<Instant> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, rest) = rest.split_first()?;
    let (clock, rest) = rest.split_at_checked(8)?;
    if !matches!(separator, b'T' | b't' | b' ') || [date[4], date[7]] != [b'-'; 2] || [clock[2], clock[5]] != [b':'; 2]
    {
        return None;
    }
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..])?);
    let (hour, minute, second) = (digits(&clock[..2])?, digits(&clock[3..5])?, digits(&clock[6..])?);
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let local = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    let seconds = local - offset(rest)?;
    if second == 60 {
        // Leap seconds end a day in UTC, whatever the offset is.
        return (seconds.rem_euclid(86_400) == 86_399).then_some(Instant { seconds, nanos: 1_000_000_000 + nanos });
    }
    Some(Instant { seconds, nanos })
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Nanoseconds after a decimal point, if there is one, and the rest of the text.
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let digit = |at: usize| if at < length { u32::from(rest[at] - b'0') } else { 0 };
    Some(((0..9).fold(0, |sum, at| sum * 10 + digit(at)), &rest[length..]))
}

/// Seconds by which local time is ahead of UTC.
fn offset(rest: &[u8]) -> Option<i64> {
    match rest {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970 in the proleptic Gregorian calendar, by eras of 400 years that begin in March (Hinnant,
/// "chrono-compatible low-level date algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Milliseconds since 1970 as RFC 3339. The time is in UTC if four digits of the year suffice there, else at the offset
/// furthest from it. `None` for times that RFC 3339 cannot represent.
pub(crate) fn format(ms: i64) -> Option<String> {
    let (shift, offset) = match ms {
        YEARS_BEGIN..YEARS_END => (0, "Z"),
        ..YEARS_BEGIN if ms >= SAYABLE.0 => (FURTHEST_OFFSET, "+23:59"),
        YEARS_END.. if ms <= SAYABLE.1 => (-FURTHEST_OFFSET, "-23:59"),
        _ => return None,
    };
    let local = ms + shift;
    let (year, month, day) = date_of(local.div_euclid(86_400_000));
    let of_day = local.rem_euclid(86_400_000);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}{offset}"))
}

/// The first and the last value that [`format`] accepts.
pub(crate) const SAYABLE: (i64, i64) = (YEARS_BEGIN - FURTHEST_OFFSET, YEARS_END + FURTHEST_OFFSET - 1);

/// 0000-01-01T00:00:00Z and the millisecond after the year 9999, in milliseconds since 1970.
const YEARS_BEGIN: i64 = -62_167_219_200_000;
const YEARS_END: i64 = 253_402_300_800_000;
/// The offset 23:59 in milliseconds.
const FURTHEST_OFFSET: i64 = 86_340_000;

#[cfg(test)]
mod tests;
