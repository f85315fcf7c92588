//! Decodes character references (HTML standard, 13.2.5.72 and the following sections) in linear time.

use html5ever::data::{C1_REPLACEMENTS, NAMED_ENTITIES};

/// Where a character reference occurs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReferenceContext {
    Text,
    /// In an attribute, where `&copy=1` stays as it is.
    Attribute,
}

/// Appends the text to `out` with its references decoded.
pub(super) fn decode(text: &str, context: ReferenceContext, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let inner = &from[1..];
        let used = match inner.as_bytes().first() {
            Some(b'#') => numeric(inner, out),
            Some(b) if b.is_ascii_alphanumeric() => named(inner, context, out),
            _ => None,
        };
        rest = match used {
            Some(used) => &inner[used..],
            None => {
                out.push('&');
                inner
            }
        };
    }
    out.push_str(rest);
}

/// Decodes a numeric reference such as `#38;` or `#x26;`. Returns its length in bytes, or `None` if it is no reference.
fn numeric(text: &str, out: &mut String) -> Option<usize> {
    let hex = text.as_bytes().get(1).is_some_and(|b| b.eq_ignore_ascii_case(&b'x'));
    let (base, from) = if hex { (16, 2) } else { (10, 1) };
    let digits = text[from..].bytes().take_while(|b| char::from(*b).is_digit(base)).count();
    if digits == 0 {
        return None;
    }
    let value = text[from..from + digits]
        .chars()
        .filter_map(|c| c.to_digit(base))
        .fold(0_u32, |all, digit| all.saturating_mul(base).saturating_add(digit));
    let known = match value {
        0x80..=0x9F => C1_REPLACEMENTS[(value - 0x80) as usize].or(char::from_u32(value)),
        0 => None,
        _ => char::from_u32(value),
    };
    out.push(known.unwrap_or('\u{fffd}'));
    let end = from + digits;
    Some(end + usize::from(text[end..].starts_with(';')))
}

/// Decodes the longest named reference such as `amp;` or `amp`. Returns its length in bytes, or `None` if it is no
/// reference.
fn named(text: &str, context: ReferenceContext, out: &mut String) -> Option<usize> {
    let mut best: Option<(usize, (u32, u32))> = None;
    for end in 1..=text.len() {
        // The table also contains every prefix of a name, so the loop ends after the length of one name.
        let Some(found) = text.get(..end).and_then(|name| NAMED_ENTITIES.get(name)) else { break };
        if found.0 != 0 {
            best = Some((end, *found));
        }
    }
    let (end, (first, second)) = best?;
    let next = text.as_bytes().get(end);
    let legacy = !text[..end].ends_with(';');
    if context == ReferenceContext::Attribute && legacy && next.is_some_and(|b| *b == b'=' || b.is_ascii_alphanumeric())
    {
        return None;
    }
    out.extend([first, second].into_iter().filter(|n| *n != 0).filter_map(char::from_u32));
    Some(end)
}
