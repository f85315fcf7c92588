//! Output of the client commands: text on stdout, notes, questions and progress bars on stderr, and tables.

use anyhow::{Result, bail};
use serde_json::Value;
use std::io::{IsTerminal, Write};

/// Prints text to stdout. A closed pipe ends the command without an error.
pub(crate) fn print_text(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints a line for people to stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Asks for confirmation before something is destroyed; without a terminal `--yes` is required.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{what}: give --yes if there is no terminal to confirm on");
    }
    let _ = write!(std::io::stderr(), "{what}. Type yes to continue: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => bail!("cancelled; nothing was changed"),
    }
}

/// A progress bar on stderr if that is a terminal; otherwise nothing is shown.
pub(crate) fn bar(total: u64, what: &str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::with_draw_target(Some(total), indicatif::ProgressDrawTarget::stderr());
    let style = "{msg:>10} [{bar:40}] {pos}/{len} {per_sec} {eta}";
    if let Ok(style) = indicatif::ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}

/// Formats rows of a list as aligned columns.
pub(crate) fn table(rows: &Value, columns: &[&str]) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let cell = |row: &Value, column: &str| display_value(&row[column]);
    let mut lines = vec![columns.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| columns.iter().map(|c| cell(row, c)).collect()));
    let width = |at: usize| lines.iter().map(|l| l[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let print = |line: &Vec<String>| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(print).collect::<Vec<_>>().join("\n")
}

/// Formats an object's members, one per line.
pub(crate) fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return value.to_string() };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    let line = |(key, value): (&String, &Value)| format!("{key:<width$}  {}", display_value(value));
    object.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Formats a value for a terminal, without control characters that would move its cursor.
fn display_value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(s) => s.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect(),
        Value::Array(items) => items.iter().map(display_value).collect::<Vec<_>>().join(","),
        Value::Object(object) => {
            let given = object.iter().filter(|(_, value)| !value.is_null());
            // A text of many lines, such as a certificate, would hide the rest.
            let short = |value: &Value| match value.as_str().map(|text| text.lines().count()) {
                Some(lines) if lines > 1 => format!("({lines} lines, see --json)"),
                _ => display_value(value),
            };
            let text = given.map(|(key, value)| format!("{key}={}", short(value))).collect::<Vec<_>>().join(" ");
            if text.is_empty() { "-".to_owned() } else { text }
        }
        other => other.to_string(),
    }
}
