//! Parses just enough CSS to decide whether a declaration block hides text from a reader.
//!
//! Values are compared in lower case and without spaces. Anything unknown counts as visible, which is safe because
//! visible text is screened too.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// Effect of an inline style on visibility.
#[derive(Default)]
pub(super) struct Style {
    /// Whether the style hides the element regardless of its surroundings.
    pub(super) hides: bool,
    /// Text colour.
    pub(super) color: Option<Color>,
    /// Background colour.
    pub(super) background: Option<Color>,
}

/// A colour, for comparison: red, green, blue and opacity, or the hash of any other value. It is small because every
/// open element has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Rgba([u8; 4]),
    Other(u64),
}

/// A class or an id with its prefix (`.x`, `#y`), as a hash under a key of this process, because style sheets may name
/// millions.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Selector(u64);

/// The key is random for each process, so that colliding texts cannot be prepared.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Returns the selector of a class (`.`) or an id (`#`).
pub(super) fn selector(mark: char, name: &str) -> Selector {
    Selector(HASHER.hash_one((mark, name)))
}

/// Reads a declaration block such as `display:none; color: #fff`.
pub(super) fn declarations(block: &str) -> Style {
    let mut style = Style::default();
    let (mut out_of_flow, mut far, mut clipped, mut flat) = (false, false, false, false);
    for declaration in block.split(';') {
        let Some((name, value)) = declaration.split_once(':') else { continue };
        let name = name.trim().to_ascii_lowercase();
        let value: String = value.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        let value = value.trim_end_matches("!important");
        match name.as_str() {
            "display" => style.hides |= value == "none",
            "visibility" => style.hides |= matches!(value, "hidden" | "collapse"),
            "opacity" => style.hides |= number(value).is_some_and(|x| x < 0.05),
            "font-size" => style.hides |= number(value).is_some_and(|x| x <= 1.0 && tiny_unit(value, x)),
            "color" => style.color = Some(color(value)),
            "background" | "background-color" => style.background = Some(color(value)),
            "position" => out_of_flow = matches!(value, "absolute" | "fixed"),
            "left" | "top" | "right" | "bottom" | "margin-left" | "margin-top" => far |= far_away(value),
            "text-indent" => style.hides |= far_away(value),
            "clip" => style.hides |= value.starts_with("rect(0") || value.starts_with("rect(1px,1px,1px,1px"),
            "clip-path" => style.hides |= matches!(value, "inset(50%)" | "inset(100%)" | "circle(0)" | "circle(0px)"),
            "overflow" => clipped = value == "hidden",
            "height" | "width" | "max-height" | "max-width" => {
                flat |= number(value).is_some_and(|x| x <= 1.0 && tiny_unit(value, x))
            }
            "transform" => style.hides |= value.contains("scale(0)") || value.contains("translate(-9"),
            _ => {}
        }
    }
    let transparent = matches!(style.color, Some(Color::Rgba([.., 0])));
    style.hides |= transparent || (out_of_flow && far) || (clipped && flat);
    style
}

/// Whether a size makes text unreadable: `1px`, `0` and `0.1em` do, `1em` does not.
fn tiny_unit(value: &str, x: f64) -> bool {
    x == 0.0 || value.ends_with("px") || value.ends_with("pt") || x < 0.2
}

fn number(value: &str) -> Option<f64> {
    let end = value.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-')).unwrap_or(value.len());
    value[..end].parse().ok()
}

/// Whether an offset is larger than any screen.
fn far_away(value: &str) -> bool {
    number(value).is_some_and(|x| if value.ends_with("em") { x.abs() >= 60.0 } else { x <= -500.0 || x >= 9_000.0 })
}

/// Parses a colour. An unknown colour equals only the same text.
pub(super) fn color(value: &str) -> Color {
    let value: String = value.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).take(64).collect();
    let known = match value.strip_prefix('#') {
        Some(digits) => hex(digits),
        None => named(&value).or_else(|| function(&value)),
    };
    known.map_or_else(|| Color::Other(HASHER.hash_one(&value)), Color::Rgba)
}

/// Parses `fff`, `ffff`, `ffffff` and `ffffffff`.
fn hex(digits: &str) -> Option<[u8; 4]> {
    let digits = digits.chars().map(|c| c.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let pair = |high: u32, low: u32| u8::try_from(high * 16 + low).unwrap_or(u8::MAX);
    Some(match digits[..] {
        [r, g, b] => [pair(r, r), pair(g, g), pair(b, b), u8::MAX],
        [r, g, b, a] => [pair(r, r), pair(g, g), pair(b, b), pair(a, a)],
        [r, s, g, h, b, c] => [pair(r, s), pair(g, h), pair(b, c), u8::MAX],
        [r, s, g, h, b, c, a, z] => [pair(r, s), pair(g, h), pair(b, c), pair(a, z)],
        _ => return None,
    })
}

/// Colours by name, those that hide text in practice.
fn named(name: &str) -> Option<[u8; 4]> {
    Some(match name {
        "transparent" => [0, 0, 0, 0],
        "black" => [0, 0, 0, 255],
        "white" => [255, 255, 255, 255],
        "red" => [255, 0, 0, 255],
        "lime" => [0, 255, 0, 255],
        "blue" => [0, 0, 255, 255],
        "yellow" => [255, 255, 0, 255],
        "cyan" | "aqua" => [0, 255, 255, 255],
        "magenta" | "fuchsia" => [255, 0, 255, 255],
        "silver" => [192, 192, 192, 255],
        "gray" | "grey" => [128, 128, 128, 255],
        "maroon" => [128, 0, 0, 255],
        "olive" => [128, 128, 0, 255],
        "green" => [0, 128, 0, 255],
        "purple" => [128, 0, 128, 255],
        "teal" => [0, 128, 128, 255],
        "navy" => [0, 0, 128, 255],
        "whitesmoke" => [245, 245, 245, 255],
        "snow" => [255, 250, 250, 255],
        "ivory" => [255, 255, 240, 255],
        _ => return None,
    })
}

/// Parses `rgb(255,255,255)`, `rgba(0,0,0,0)` and `rgb(100%,0%,0%/0.5)`, from which spaces were removed.
fn function(value: &str) -> Option<[u8; 4]> {
    let inner = value.strip_prefix("rgba(").or_else(|| value.strip_prefix("rgb("))?.strip_suffix(')')?;
    let mut out = [0, 0, 0, u8::MAX];
    let mut parts = inner.split([',', '/']);
    for (at, byte) in out.iter_mut().enumerate() {
        let Some(part) = parts.next() else { return (at == 3).then_some(out) };
        let whole = if at == 3 { 1.0 } else { 255.0 };
        let share = match part.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().ok()? / 100.0,
            None => part.parse::<f64>().ok()? / whole,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        let level = (share.clamp(0.0, 1.0) * 255.0).round() as u8;
        *byte = level;
    }
    parts.next().is_none().then_some(out)
}

/// Adds the classes and ids (`.x`, `#y`) that a style sheet hides. Rules inside `@` blocks are ignored, because they
/// apply only under conditions.
pub(super) fn hidden_selectors(sheet: &str, into: &mut HashSet<Selector>) {
    let mut rest = sheet;
    while let Some(open) = rest.find('{') {
        let selectors = &rest[..open];
        if selectors.trim_start().starts_with('@') {
            rest = skip_block(&rest[open..]);
            continue;
        }
        let Some(close) = rest[open..].find('}') else { return };
        if declarations(&rest[open + 1..open + close]).hides {
            into.extend(selectors.split(',').filter_map(simple));
        }
        rest = &rest[open + close + 1..];
    }
}

/// Returns the text after the block with which `text` starts.
fn skip_block(text: &str) -> &str {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return &text[at + 1..],
            b'}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// Parses a simple selector `.x`, `#x` or `p.x`, of which only the part from `.` or `#` counts.
fn simple(written: &str) -> Option<Selector> {
    let written = written.trim();
    let mark = written.find(['.', '#'])?;
    let name = &written[mark + 1..];
    let plain = |s: &str| s.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    let sign = if written[mark..].starts_with('.') { '.' } else { '#' };
    (plain(&written[..mark]) && plain(name) && !name.is_empty()).then(|| selector(sign, name))
}
