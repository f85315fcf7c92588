//! Options of every client command: the addresses of the server, the credentials and the output format. Also the
//! requests that several commands share.

use super::output::{bar, print_text};
use anyhow::{Context, Result, bail};
use client::Client;
use serde_json::Value;
use std::time::Duration;

/// Addresses, credentials and output format. Two fields are secrets, so there is no `Debug`.
#[derive(Clone, clap::Args)]
pub(crate) struct ConnectionArgs {
    /// URL of the data plane.
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_URL",
        default_value = "http://127.0.0.1:7171",
        help_heading = "Server"
    )]
    pub(crate) url: String,
    /// URL of the control plane.
    #[arg(
        long,
        global = true,
        env = "RINGFENCE_ADMIN_URL",
        default_value = "http://127.0.0.1:7172",
        help_heading = "Server"
    )]
    pub(crate) admin_url: String,
    /// API key of a tenant (rf_…). Prefer the environment variable: other users can see arguments.
    #[arg(long, global = true, env = "RINGFENCE_API_KEY", hide_env_values = true, help_heading = "Server")]
    pub(crate) api_key: Option<String>,
    /// Operator token (rfop_…). Prefer the environment variable.
    #[arg(long, global = true, env = "RINGFENCE_OPERATOR_TOKEN", hide_env_values = true, help_heading = "Server")]
    pub(crate) operator_token: Option<String>,
    /// Write one JSON document to stdout.
    #[arg(long, global = true, help_heading = "Server")]
    pub(crate) json: bool,
}

impl ConnectionArgs {
    /// A client of the data plane with the API key.
    pub(crate) fn data(&self) -> Result<Client> {
        let key = secret(self.api_key.clone(), "RINGFENCE_API_KEY_FILE")?.context(
            "there is no API key: set RINGFENCE_API_KEY (create one with `ringfence api-key create --tenant ID`)",
        )?;
        Ok(Client::new(&self.url, &key))
    }

    /// A client of the control plane with the operator token.
    pub(crate) fn control(&self) -> Result<Client> {
        let token = secret(self.operator_token.clone(), "RINGFENCE_OPERATOR_TOKEN_FILE")?.context(
            "there is no operator token: set RINGFENCE_OPERATOR_TOKEN (the server shows the first one on its first \
             start, on a terminal or in the file that RINGFENCE_OPERATOR_TOKEN_FILE names; `ringfence operator \
             recover` creates another)",
        )?;
        Ok(Client::new(&self.admin_url, &token))
    }

    /// Prints JSON if `--json` is given, otherwise the result of `text`.
    pub(crate) fn print(&self, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { text(value) };
        print_text(text.trim_end())
    }
}

/// A secret from its argument or variable, or from the file that another variable names.
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

/// Waits until an operation ends.
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
                    "the operation ended with status {}: {}",
                    view["status"],
                    view["error"]["message"].as_str().unwrap_or("no reason given")
                );
            }
        }
    }
}

/// Reads all pages of a list; `member` is the name of the member that holds the rows.
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

/// Parses a JSON object that was given as an argument.
pub(crate) fn object(argument: &str, text: &str) -> Result<Value> {
    match api::exact_json(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Err(why) if api::has_long_integer(text) => bail!("{argument}: {why}"),
        _ => bail!("{argument} takes a JSON object"),
    }
}
