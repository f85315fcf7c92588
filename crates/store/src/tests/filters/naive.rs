//! Reference implementation of filters from the API contract alone, on the JSON of the filter and of a document. It
//! uses none of the product's code, neither its parser nor its times.

use serde_json::Value;

/// Whether the document matches the filter.
pub(super) fn matches(filter: &Value, doc: &Value) -> bool {
    let filters = || filter["filters"].as_array().unwrap().iter();
    let operand = &filter["value"];
    match filter["type"].as_str().unwrap() {
        "and" => filters().all(|f| matches(f, doc)),
        "or" => filters().any(|f| matches(f, doc)),
        "not" => !filters().all(|f| matches(f, doc)),
        kind => leaf(kind, filter["key"].as_str().unwrap(), operand, doc),
    }
}

fn leaf(kind: &str, key: &str, operand: &Value, doc: &Value) -> bool {
    let value = value_of(key, doc);
    let is_time = key.ends_with("_at") && key.starts_with('$');
    let any = |test: &dyn Fn(&Value) -> bool| match value {
        Value::Array(list) => list.iter().any(test),
        one => test(one),
    };
    let equals = |operand: &Value| {
        if operand.is_null() {
            return value.is_null();
        }
        any(&|have| {
            if is_time { instant(have).is_some() && instant(have) == instant(operand) } else { equal(have, operand) }
        })
    };
    match kind {
        "eq" => equals(operand),
        "ne" => !equals(operand),
        "in" => operand.as_array().unwrap().iter().any(equals),
        "nin" => !operand.as_array().unwrap().iter().any(equals),
        "exists" => operand.as_bool().unwrap_or(true) != value.is_null(),
        "gt" | "gte" | "lt" | "lte" => any(&|have| {
            let order = match (have.as_f64(), operand.as_f64()) {
                (Some(have), Some(operand)) => have.partial_cmp(&operand),
                _ => instant(have).zip(instant(operand)).map(|(have, operand)| have.cmp(&operand)),
            };
            order.is_some_and(|order| match kind {
                "gt" => order.is_gt(),
                "gte" => order.is_ge(),
                "lt" => order.is_lt(),
                _ => order.is_le(),
            })
        }),
        "contains" => match value {
            Value::Array(list) => list.iter().any(|have| equal(have, operand)),
            one => one.as_str().zip(operand.as_str()).is_some_and(|(have, part)| have.contains(part)),
        },
        "prefix" => any(&|have| have.as_str().is_some_and(|have| have.starts_with(operand.as_str().unwrap()))),
        "match" => any(&|have| {
            let words = have.as_str().map(words).unwrap_or_default();
            self::words(operand.as_str().unwrap()).iter().all(|word| words.contains(word))
        }),
        other => panic!("{other} is no operator"),
    }
}

/// Value of a key; null if there is none.
fn value_of<'a>(key: &str, doc: &'a Value) -> &'a Value {
    match key.strip_prefix('$') {
        // An empty source means none.
        Some("uri") if doc["uri"] == "" => &Value::Null,
        Some(own) => &doc[own],
        None => &doc["attributes"][key],
    }
}

/// Whether two values are of the same type and equal; 1 and 1.0 are.
fn equal(have: &Value, operand: &Value) -> bool {
    match (have.as_f64(), operand.as_f64()) {
        (Some(have), Some(operand)) => have == operand,
        _ => have == operand,
    }
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Milliseconds since 1970 of `YYYY-MM-DDTHH:MM:SS[.fff](Z|±HH:MM)`; `None` for any other text.
fn instant(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok().map(i64::from);
    let at = |n: usize, what: char| text.get(n..=n).is_some_and(|c| c.chars().eq([what]));
    if ![(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')].iter().all(|(n, what)| at(*n, *what)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let (millis, zone) = if at(19, '.') { (number(20, 23)?, 23) } else { (0, 19) };
    let offset = match text.get(zone..)? {
        "Z" => 0,
        east if east.len() == 6 => {
            let minutes = number(zone + 1, zone + 3)? * 60 + number(zone + 4, zone + 6)?;
            if at(zone, '-') { -minutes } else { minutes }
        }
        _ => return None,
    };
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let before = |year: i64| 365 * (year - 1) + (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let months = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = before(year) - before(1970) + months.iter().take(month as usize - 1).sum::<i64>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + millis)
}

#[test]
fn instants_are_parsed_correctly() {
    let instant = |text: &str| instant(&Value::from(text));
    assert_eq!(instant("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(instant("1969-12-31T23:59:59.999Z"), Some(-1));
    assert_eq!(instant("2024-06-01T02:00:00+02:00"), instant("2024-06-01T00:00:00.000Z"));
    // `date -ud 2024-02-29T12:00:00 +%s`
    assert_eq!(instant("2024-02-29T12:00:00Z"), Some(1_709_208_000_000));
    assert_eq!([instant("yesterday"), instant("2024-06-01"), instant("")], [None; 3]);
}
