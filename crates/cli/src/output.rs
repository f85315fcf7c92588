//! Output of the client commands: text on stdout, notes, questions and progress bars on stderr, and tables.

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;
use std::{
    borrow::Cow,
    io::{IsTerminal, Write},
};

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

/// A value as one cell of a table.
pub(crate) trait Cell {
    fn cell(&self) -> String;
}

impl Cell for str {
    fn cell(&self) -> String {
        printable(self)
    }
}

impl Cell for String {
    fn cell(&self) -> String {
        printable(self)
    }
}

impl Cell for Cow<'_, str> {
    fn cell(&self) -> String {
        printable(self)
    }
}

impl<T: Cell> Cell for Option<T> {
    fn cell(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), Cell::cell)
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn cell(&self) -> String {
        self.iter().map(Cell::cell).collect::<Vec<_>>().join(",")
    }
}

macro_rules! number_cells {
    ($($number:ty),*) => {
        $(impl Cell for $number {
            fn cell(&self) -> String {
                self.to_string()
            }
        })*
    };
}
number_cells!(u32, u64, usize);

/// Formats rows as aligned columns.
pub(crate) fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let lines: Vec<[String; N]> = std::iter::once(columns.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0));
    let print = |line: &[String; N]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(c, w)| format!("{c:<w$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    lines.iter().map(print).collect::<Vec<_>>().join("\n")
}

/// Formats a reply's members, one per line, as the API names them.
pub(crate) fn members<T: Serialize>(reply: &T) -> String {
    let value = serde_json::to_value(reply).unwrap_or_default();
    let Some(object) = value.as_object() else { return value.to_string() };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    let line = |(key, value): (&String, &Value)| format!("{key:<width$}  {}", display_value(value));
    object.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A text without control characters that would move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// Formats a value for a terminal.
fn display_value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(s) => printable(s),
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
