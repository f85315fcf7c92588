//! Where a command's server is and who asks: options that every client command has.

use anyhow::{Context, Result, bail};
use client::Client;
use serde_json::Value;
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// Server, credential, form of output. Two of them are secrets, so there is no Debug.
#[derive(Clone, clap::Args)]
pub(crate) struct Remote {
    /// Data plane.
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_URL",
        default_value = "http://127.0.0.1:7171",
        help_heading = "Server"
    )]
    pub(crate) url: String,
    /// Control plane.
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_ADMIN_URL",
        default_value = "http://127.0.0.1:7172",
        help_heading = "Server"
    )]
    pub(crate) admin_url: String,
    /// A tenant's API key (rf_…). Better given by the environment: arguments are seen by other users.
    #[arg(long, global = true, env = "RINGFENCE_API_KEY", hide_env_values = true, help_heading = "Server")]
    pub(crate) api_key: Option<String>,
    /// An operator's token (rfop_…). Better given by the environment.
    #[arg(long, global = true, env = "RINGFENCE_OPERATOR_TOKEN", hide_env_values = true, help_heading = "Server")]
    pub(crate) operator_token: Option<String>,
    /// One JSON document on stdout.
    #[arg(long, global = true, help_heading = "Server")]
    pub(crate) json: bool,
}

impl Remote {
    /// The data plane with the API key.
    pub(crate) fn data(&self) -> Result<Client> {
        let key = secret(self.api_key.clone(), "RINGFENCE_API_KEY_FILE")?
            .context("no API key: set RINGFENCE_API_KEY (make one with `ringfence api-key create --tenant ID`)")?;
        Ok(Client::new(&self.url, &key))
    }

    /// The control plane with the operator's token.
    pub(crate) fn control(&self) -> Result<Client> {
        let token = secret(self.operator_token.clone(), "RINGFENCE_OPERATOR_TOKEN_FILE")?.context(
            "no operator token: set RINGFENCE_OPERATOR_TOKEN (the server tells it on its first start, on a terminal or in the file of RINGFENCE_OPERATOR_TOKEN_FILE; `ringfence operator recover` makes another)",
        )?;
        Ok(Client::new(&self.admin_url, &token))
    }

    /// Prints JSON if that is asked for, else what `text` makes of it.
    pub(crate) fn print(&self, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { text(value) };
        say(text.trim_end())
    }
}

/// A secret from its variable, or from the file that another variable names.
fn secret(given: Option<String>, file_variable: &str) -> Result<Option<String>> {
    // An empty variable counts as absent, as it does for the server.
    if let Some(secret) = given.filter(|text| !text.is_empty()) {
        return Ok(Some(secret));
    }
    let Some(path) = std::env::var_os(file_variable) else { return Ok(None) };
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("{file_variable} names a file that cannot be read"))?;
    Ok(Some(text.trim().to_owned()))
}

/// A line for people or programs on stdout. A closed pipe ends the command without a fuss.
pub(crate) fn say(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// A line for people on stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Asks before something is destroyed; without a terminal `--yes` is needed.
pub(crate) fn confirm(yes: bool, what: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{what}: needs --yes where there is no terminal to ask on");
    }
    let _ = write!(std::io::stderr(), "{what}. Type yes to continue: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}

/// A bar on stderr where a person looks; silent elsewhere.
pub(crate) fn bar(total: u64, what: &str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::with_draw_target(Some(total), indicatif::ProgressDrawTarget::stderr());
    let style = "{msg:>10} [{bar:40}] {pos}/{len} {per_sec} {eta}";
    if let Ok(style) = indicatif::ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    bar
}

/// Follows an operation to its end.
pub(crate) fn wait(client: &Client, path: &str) -> Result<Value> {
    let bar = bar(1, "operation");
    loop {
        let view = client.call("GET", path, None)?;
        bar.set_length(view["progress"]["total"].as_u64().unwrap_or(0).max(1));
        bar.set_position(view["progress"]["done"].as_u64().unwrap_or(0));
        let waits_for = view["waits_for"].as_str();
        bar.set_message(waits_for.map_or_else(|| "operation".to_owned(), |code| format!("waits: {code}")));
        match view["status"].as_str() {
            Some("pending" | "running") => std::thread::sleep(Duration::from_millis(200)),
            Some("succeeded") => {
                bar.finish_and_clear();
                return Ok(view);
            }
            _ => {
                bar.finish_and_clear();
                bail!(
                    "the operation ended as {}: {}",
                    view["status"],
                    view["error"]["message"].as_str().unwrap_or("no reason given")
                );
            }
        }
    }
}

/// Rows of a list as aligned columns.
pub(crate) fn table(rows: &Value, columns: &[&str]) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let cell = |row: &Value, column: &str| shown(&row[column]);
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

/// An object's members, one a line.
pub(crate) fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return value.to_string() };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    let line = |(key, value): (&String, &Value)| format!("{key:<width$}  {}", shown(value));
    object.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A value as a person reads it, without what would move a terminal's cursor.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(s) => s.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        Value::Object(object) => {
            let given = object.iter().filter(|(_, value)| !value.is_null());
            // A text of many lines, such as a certificate, would hide the rest.
            let short = |value: &Value| match value.as_str().map(|text| text.lines().count()) {
                Some(lines) if lines > 1 => format!("({lines} lines, see --json)"),
                _ => shown(value),
            };
            let text = given.map(|(key, value)| format!("{key}={}", short(value))).collect::<Vec<_>>().join(" ");
            if text.is_empty() { "-".to_owned() } else { text }
        }
        other => other.to_string(),
    }
}

/// Every page of a list; `member` is the one that holds the rows.
pub(crate) fn pages(client: &Client, path: &str, member: &str) -> Result<Value> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let next = after.as_ref().map_or_else(String::new, |a| format!("{mark}after={}", client::encode(a)));
        let mut page = client.call("GET", &format!("{path}{next}"), None)?;
        if let Value::Array(rows) = page[member].take() {
            all.extend(rows);
        }
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(Value::Array(all)),
        }
    }
}

/// A JSON object that was given as an argument.
pub(crate) fn object(argument: &str, text: &str) -> Result<Value> {
    match client::exact_json(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Err(why) if client::has_long_integer(text) => bail!("{argument}: {why}"),
        _ => bail!("{argument} takes a JSON object"),
    }
}
