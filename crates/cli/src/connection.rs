//! Options of every client command: the addresses of the server, the credentials and the output format. Also the
//! requests that several commands share.

use super::output::{bar, print_text};
use anyhow::{Context, Result, bail};
use api::{
    common::PrincipalList,
    operations::Operation,
    search::ActingAs,
    strict::{FilterTree, Parsed},
};
use client::Client;
use kernel::Principal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;

/// Addresses, credentials and output format. Two fields are secrets, so there is no `Debug`.
#[derive(Clone, clap::Args)]
pub struct ConnectionArgs {
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
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn print<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
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
pub(crate) fn wait(client: &Client, path: &str) -> Result<Operation> {
    let bar = bar(1, "operation");
    loop {
        let view: Operation = client.call("GET", path)?;
        bar.set_length(view.progress.total.max(1));
        bar.set_position(view.progress.done);
        bar.set_message(
            view.waits_for.as_ref().map_or_else(|| "operation".to_owned(), |code| format!("waits: {code}")),
        );
        match &*view.status {
            "pending" | "running" => std::thread::sleep(Duration::from_millis(200)),
            "succeeded" => {
                bar.finish_and_clear();
                return Ok(view);
            }
            status => {
                bar.finish_and_clear();
                let why = view.error.as_ref().map_or("no reason given", |failure| &failure.message);
                bail!("the operation ended with status {status}: {why}");
            }
        }
    }
}

/// Reads all pages of a list; `split` takes a page apart into its rows and the value of `after` for the next page.
pub(crate) fn pages<P: DeserializeOwned, R>(
    client: &Client,
    path: &str,
    split: impl Fn(P) -> (Vec<R>, Option<String>),
) -> Result<Vec<R>> {
    let mut all = Vec::new();
    let mut query = String::new();
    loop {
        let (rows, next) = split(client.call("GET", &format!("{path}{query}"))?);
        all.extend(rows);
        match next {
            Some(next) => query = format!("?after={}", client::encode(&next)),
            None => return Ok(all),
        }
    }
}

/// Parses a filter that was given as an argument.
pub(crate) fn filter(argument: &str, text: &str) -> Result<FilterTree> {
    match api::exact_json(text) {
        Ok(value @ Value::Object(_)) => Ok(FilterTree(value)),
        Err(why) if api::has_long_integer(text) => bail!("{argument}: {why}"),
        _ => bail!("{argument} takes a JSON object"),
    }
}

/// The principals on whose behalf a request reads; `None` if none was given.
pub(crate) fn acting_as(principals: Vec<Principal>) -> Option<ActingAs> {
    let principals: PrincipalList = principals.into_iter().map(Parsed).collect();
    (!principals.0.is_empty()).then_some(ActingAs { principals, attributes: None })
}
