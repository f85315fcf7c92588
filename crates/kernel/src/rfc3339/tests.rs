//! Tests which texts are times, and the round trip.

use super::*;
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case("1970-01-01T00:00:00Z", 0)]
#[case("1985-04-12T23:20:50.52Z", 482_196_050_520)]
#[case("1996-12-19T16:39:57-08:00", 851_042_397_000)]
#[case("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130)]
#[case("2026-11-21t10:00:00z", 1_795_255_200_000)]
#[case("2026-11-21 10:00:00.000000000000001Z", 1_795_255_200_000)]
#[case("2024-02-29T00:00:00-00:00", 1_709_164_800_000)]
#[case("0000-01-01T00:00:00Z", -62_167_219_200_000)]
#[case("0000-02-29T00:00:00Z", -62_162_121_600_000)]
#[case("9999-12-31T23:59:59Z", 253_402_300_799_000)]
#[case("9999-12-31T23:59:59.999-23:59", 253_402_387_139_999)]
#[case("1990-12-31T23:59:60Z", 662_688_000_000)]
#[case("1990-12-31T15:59:60-08:00", 662_688_000_000)]
fn a_time(#[case] text: &str, #[case] ms: i64) {
    assert_eq!(Instant::parse(text).expect(text).as_millis(), ms);
}

#[rstest]
#[case::short("2026-11-21")]
#[case::no_offset("2026-11-21T10:00:00")]
#[case::no_seconds("2026-11-21T10:00Z")]
#[case::month("2026-13-01T00:00:00Z")]
#[case::no_leap_year("2023-02-29T00:00:00Z")]
#[case::century("2100-02-29T00:00:00Z")]
#[case::day("2026-04-31T00:00:00Z")]
#[case::hour("2026-04-30T24:00:00Z")]
#[case::leap_second_at_noon("2026-04-30T12:00:60Z")]
#[case::point("2026-04-30T12:00:00.Z")]
#[case::offset("2026-04-30T12:00:00+24:00")]
#[case::offset_without_colon("2026-04-30T12:00:00+0200")]
#[case::sign("+2026-04-30T12:00:00Z")]
#[case::rest("2026-04-30T12:00:00Z ")]
#[case::letters("2026-0x-30T12:00:00Z")]
#[case::wide("２026-04-30T12:00:00Z")]
#[case::empty("")]
fn no_time(#[case] text: &str) {
    assert_eq!(Instant::parse(text), None, "{text}");
}

#[test]
fn a_leap_second_lies_between_its_neighbours() {
    let [before, leap, after] =
        ["2016-12-31T23:59:59.999999999Z", "2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00Z"].map(Instant::parse);
    assert!(before < leap && leap < after);
    assert!(Instant::parse("2026-01-01T00:00:00.000000001Z") > Instant::parse("2026-01-01T00:00:00Z"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn formatted_times_parse_to_the_same_time(ms in YEARS_BEGIN - FURTHEST_OFFSET..YEARS_END + FURTHEST_OFFSET) {
        let text = format(ms).unwrap();
        prop_assert_eq!(Instant::parse(&text).map(Instant::as_millis), Some(ms), "{}", text);
        prop_assert_eq!(Instant::parse(&text), Some(Instant::from_millis(ms)));
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,40}") {
        Instant::parse(&text);
    }
}

#[test]
fn times_out_of_range_are_not_formatted() {
    assert_eq!(format(YEARS_END + FURTHEST_OFFSET), None);
    assert_eq!(format(YEARS_BEGIN - FURTHEST_OFFSET - 1), None);
    assert_eq!(format(i64::MIN), None);
    assert_eq!(format(i64::MAX), None);
    assert_eq!(format(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
}
