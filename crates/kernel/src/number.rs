//! Numbers of attributes and filters: whole ones of 64 bits, signed or not, and floats. Compared exactly.
//!
//! Promises: no whole number of 64 bits is ever rounded, neither when it is kept nor when it is compared, and a float is
//! compared with a whole number by its exact value. One value has one form: `2024.0` is the whole number 2024.

use std::cmp::Ordering;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Number(Form);

#[derive(Clone, Copy, Debug)]
enum Form {
    /// Whole, within `i64`.
    Signed(i64),
    /// Whole, above `i64`.
    Unsigned(u64),
    /// With a fraction, or whole and beyond 64 bits.
    Float(f64),
}

/// 2^63 and 2^64: powers of two, so exact.
const SIGNED_END: f64 = 9_223_372_036_854_775_808.0;
const UNSIGNED_END: f64 = 18_446_744_073_709_551_616.0;

impl From<i64> for Number {
    fn from(n: i64) -> Self {
        Self(Form::Signed(n))
    }
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self(i64::try_from(n).map_or(Form::Unsigned(n), Form::Signed))
    }
}

impl From<f64> for Number {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "guarded: whole and within the type")]
    fn from(x: f64) -> Self {
        Self(match x {
            // Minus zero is zero to a person, and has no form of its own among whole numbers.
            x if x.fract() == 0.0 && (-SIGNED_END..SIGNED_END).contains(&x) => Form::Signed(x as i64),
            x if x.fract() == 0.0 && (SIGNED_END..UNSIGNED_END).contains(&x) => Form::Unsigned(x as u64),
            x => Form::Float(x),
        })
    }
}

impl Number {
    /// The whole number that it is, if it is one of 64 bits.
    pub fn whole(self) -> Option<i128> {
        match self.0 {
            Form::Signed(n) => Some(n.into()),
            Form::Unsigned(n) => Some(n.into()),
            Form::Float(_) => None,
        }
    }

    /// The float that it is, if it is not a whole number of 64 bits.
    pub fn float(self) -> Option<f64> {
        match self.0 {
            Form::Float(x) => Some(x),
            Form::Signed(_) | Form::Unsigned(_) => None,
        }
    }

    /// Whether it is not a number at all (NaN), which nothing equals and nothing orders against.
    pub fn is_nan(self) -> bool {
        self.float().is_some_and(f64::is_nan)
    }

    /// As JSON: a whole number without a fraction. NaN and infinities, which JSON has not, are null.
    pub fn to_json(self) -> serde_json::Value {
        match self.0 {
            Form::Signed(n) => n.into(),
            Form::Unsigned(n) => n.into(),
            Form::Float(x) => x.into(),
        }
    }

    /// Two numbers whose order, compared one after the other, is that of the values: for indexes. The first is the
    /// nearest float that is not above, the second how far the value lies above that. `None` for NaN.
    pub fn order_key(self) -> Option<(u64, u32)> {
        if self.is_nan() {
            return None;
        }
        let Some(n) = self.whole() else { return self.float().map(|x| (order(x), 0)) };
        #[expect(clippy::cast_precision_loss, reason = "what is lost stands in the second number")]
        let mut near = n as f64;
        if exact(near) > n {
            near = near.next_down();
        }
        let above = u32::try_from(n - exact(near)).unwrap_or(u32::MAX);
        Some((order(near), above))
    }
}

/// The value of a whole float of at most 2^64 in magnitude.
#[expect(clippy::cast_possible_truncation, reason = "an i128 holds it")]
fn exact(x: f64) -> i128 {
    x as i128
}

/// Order of floats as a whole number, with one zero.
fn order(x: f64) -> u64 {
    let bits = if x == 0.0 { 0 } else { x.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.whole(), other.whole()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            (Some(a), None) => other.float().and_then(|b| beside(a, b)),
            (None, Some(b)) => self.float().and_then(|a| beside(b, a)).map(Ordering::reverse),
            (None, None) => self.float()?.partial_cmp(&other.float()?),
        }
    }
}

/// How a whole number of 64 bits compares with a float.
fn beside(n: i128, x: f64) -> Option<Ordering> {
    if x.is_nan() {
        return None;
    }
    if x >= UNSIGNED_END {
        return Some(Ordering::Less);
    }
    if x < -SIGNED_END {
        return Some(Ordering::Greater);
    }
    let floor = x.floor();
    // A fraction puts the float above its floor.
    Some(n.cmp(&exact(floor)).then(if x > floor { Ordering::Less } else { Ordering::Equal }))
}

#[cfg(test)]
mod tests;
