//! Just enough of CSS to tell whether a declaration block hides text from a reader.
//!
//! Values are compared after lower-casing and without spaces. What it does not know counts as
//! visible, which is safe: visible text is screened too.

use std::collections::HashSet;

/// What an inline style says of visibility.
#[derive(Default)]
pub(super) struct Style {
    /// Hidden whatever surrounds it.
    pub(super) hides: bool,
    /// Text colour, in one spelling.
    pub(super) color: Option<String>,
    /// Background colour, in one spelling.
    pub(super) background: Option<String>,
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
    let invisible_ink =
        style.color.as_deref().is_some_and(|c| c == "transparent" || (c.starts_with("rgba(") && c.ends_with(",0)")));
    style.hides |= invisible_ink || (out_of_flow && far) || (clipped && flat);
    style
}

/// `1px`, `0`, `0.1em` are tiny; `1em` is not.
fn tiny_unit(value: &str, x: f64) -> bool {
    x == 0.0 || value.ends_with("px") || value.ends_with("pt") || x < 0.2
}

fn number(value: &str) -> Option<f64> {
    let end = value.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-')).unwrap_or(value.len());
    value[..end].parse().ok()
}

/// Further out than any screen is wide.
fn far_away(value: &str) -> bool {
    number(value).is_some_and(|x| if value.ends_with("em") { x.abs() >= 60.0 } else { x <= -500.0 || x >= 9_000.0 })
}

/// One spelling for the colours that hide text in practice.
pub(super) fn color(value: &str) -> String {
    match value {
        "white" | "#fff" | "#ffff" | "#ffffffff" | "rgb(255,255,255)" => "#ffffff".to_owned(),
        "black" | "#000" | "#000f" | "rgb(0,0,0)" => "#000000".to_owned(),
        short if short.len() == 4 && short.is_ascii() && short.starts_with('#') => {
            short[1..].chars().fold("#".to_owned(), |all, c| all + &c.to_string().repeat(2))
        }
        other => other.to_owned(),
    }
}

/// Adds the classes and ids (`.x`, `#y`) that a style sheet hides. Rules inside `@` blocks hold
/// only sometimes and are left out.
pub(super) fn hidden_selectors(sheet: &str, into: &mut HashSet<String>) {
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

/// What follows the block that `text` starts with.
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

/// `.x`, `#x`, `p.x`: the part from the mark on, if that is all there is.
fn simple(selector: &str) -> Option<String> {
    let selector = selector.trim();
    let mark = selector.find(['.', '#'])?;
    let name = &selector[mark + 1..];
    let plain = |s: &str| s.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    (plain(&selector[..mark]) && plain(name) && !name.is_empty()).then(|| selector[mark..].to_owned())
}
