//! Certificates: signed notes about destroyed keys, verified without a server.

use crate::connection::ConnectionArgs;
use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fmt::{Display, Write as _},
    fs,
    io::Read as _,
    path::Path,
};
use vault::PublicKey;

/// Maximum number of bytes read of a file that may be a certificate, which usually has a few thousand.
const NOTE_BYTES_MAX: u64 = 4 << 20;

/// Reads the note in the file; `None` for a file of audit records.
pub(super) fn read(file: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let open = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    open.take(NOTE_BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", file.display()))?;
    let note = String::from_utf8(bytes).ok().filter(|text| text.contains("\n\n\u{2014} "));
    Ok(note)
}

/// Checks the signature and prints what the certificate states.
pub(super) fn verify(file: &Path, note: &str, key: Option<&str>, connection: &ConnectionArgs) -> Result<()> {
    let key = key.context(
        "a certificate is checked with the public key of the server that signed it: give --key, as 'ringfence key \
         public' showed it at that time",
    )?;
    let key = PublicKey::parse(key).context("--key is not a public key: it must have the form name+id+key")?;
    let text = key.open(note).map_err(|e| anyhow!("{}: {e}", file.display()))?;
    let unexpected = || format!("{}: the signed text is not a certificate", file.display());
    let stated: Value = serde_json::from_str(text).with_context(unexpected)?;
    let statement = Statement::deserialize(&stated).with_context(unexpected)?;
    let tried = statement.attempts.iter().map(|a| a.refused).chain(statement.rechecks().map(|r| r.refused));
    let (tried, failed) = (tried.clone().count(), tried.filter(|refused| !refused).count());
    let remains = statement.remains.len();
    // If nothing was tried, there is only the server's word and no proof.
    let proven = tried > 0 && failed == 0 && remains == 0;
    let by = key.to_string();
    let value = json!({ "signed": true, "by": by, "proven": proven, "tried": tried, "stated": stated });
    connection.print(&value, |_| statement.text(&by, tried))?;
    if failed > 0 || remains > 0 {
        bail!(
            "the signature holds, but the certificate itself shows that the destruction is not proven: {failed} \
             attempts were not refused, and {remains} objects remain"
        );
    }
    Ok(())
}

/// A certificate of any kind. Each kind has some of these members; the rest are empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Statement {
    statement: String,
    tenant: Option<String>,
    incarnation: Option<String>,
    keys: Vec<DestroyedKey>,
    destroyed: Vec<DestroyedKey>,
    provider_receipts: Vec<StatedReceipt>,
    documents: Vec<String>,
    attempts: Vec<StatedAttempt>,
    canary: Option<RecheckedObject>,
    sampled_objects: Vec<RecheckedObject>,
    keyspaces_removed: Vec<String>,
    keyspaces_found_by_id: Vec<String>,
    remains: Vec<RemainingObject>,
    cannot_be_proven: Vec<String>,
}

#[derive(Deserialize)]
struct DestroyedKey {
    /// Epoch of a tenant's key.
    epoch: Option<u32>,
    /// What a key of the server protected.
    of: Option<String>,
    key: String,
    provider: String,
}

#[derive(Deserialize)]
struct StatedReceipt {
    key: String,
    provider: String,
    said: String,
}

#[derive(Deserialize)]
struct StatedAttempt {
    tried: String,
    outcome: String,
    refused: bool,
}

/// The canary or a sampled object, opened before the keys were destroyed and tried again afterwards.
#[derive(Deserialize)]
struct RecheckedObject {
    #[serde(default)]
    kind: String,
    object: String,
    /// Of a sampled object.
    #[serde(default)]
    sha256: String,
    /// Of the canary.
    #[serde(default)]
    sealed_sha256: String,
    opened_before: bool,
    before: String,
    refused: bool,
    after: String,
}

#[derive(Deserialize)]
struct RemainingObject {
    object: String,
    sha256: String,
}

impl Statement {
    fn rechecks(&self) -> impl Iterator<Item = &RecheckedObject> + Clone {
        self.sampled_objects.iter().chain(&self.canary)
    }

    /// The statement as text for people. `tried` is the number of attempts of all kinds.
    fn text(&self, by: &str, tried: usize) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut out = format!(
            "the signature holds, by {by}\n{}: tenant {}, incarnation {}\n",
            self.statement,
            or_none(&self.tenant),
            or_none(&self.incarnation)
        );
        add_list(&mut out, "keys destroyed:", self.keys.iter().chain(&self.destroyed).map(DestroyedKey::text));
        let receipt = |r: &StatedReceipt| format!("{} of {}: {}", r.key, r.provider, r.said);
        add_list(&mut out, "what the providers did:", self.provider_receipts.iter().map(receipt));
        if tried == 0 {
            out.push_str("tried: nothing; the certificate rests on the server's word\n");
        }
        add_list(&mut out, "documents:", &self.documents);
        let attempt = |a: &StatedAttempt| format!("{}: {} ({})", a.tried, outcome(a.refused), a.outcome);
        add_list(&mut out, "tried:", self.attempts.iter().map(attempt));
        let canary = |c: &RecheckedObject| format!("{}: {}", c.sealed_sha256, c.text());
        add_list(&mut out, "canary:", self.canary.iter().map(canary));
        let sample = |s: &RecheckedObject| format!("{} {} sha256 {}: {}", s.kind, s.object, s.sha256, s.text());
        add_list(&mut out, "sampled objects:", self.sampled_objects.iter().map(sample));
        add_list(&mut out, "removed keyspaces:", &self.keyspaces_removed);
        add_list(&mut out, "found only by their ids:", &self.keyspaces_found_by_id);
        let remaining = |r: &RemainingObject| format!("{} sha256 {}", r.object, r.sha256);
        add_list(&mut out, "remains:", self.remains.iter().map(remaining));
        add_list(&mut out, "cannot be proven:", &self.cannot_be_proven);
        out
    }
}

impl DestroyedKey {
    fn text(&self) -> String {
        let protected = match (self.epoch, &self.of) {
            (Some(epoch), _) => format!("epoch {epoch}"),
            (None, Some(of)) => of.clone(),
            (None, None) => "a key".to_owned(),
        };
        format!("{protected} under key {} of provider {}", self.key, self.provider)
    }
}

impl RecheckedObject {
    /// The results before and after the keys were destroyed.
    fn text(&self) -> String {
        let before = match self.opened_before {
            true => "opened before".to_owned(),
            false => format!("not opened before ({})", self.before),
        };
        format!("{before}, then {} ({})", outcome(self.refused), self.after)
    }
}

fn outcome(refused: bool) -> &'static str {
    if refused { "refused" } else { "NOT REFUSED" }
}

/// Adds a list with its title, if it has items.
fn add_list(out: &mut String, title: &str, items: impl IntoIterator<Item: Display>) {
    let mut items = items.into_iter().peekable();
    if items.peek().is_some() {
        let _ = writeln!(out, "{title}");
    }
    for item in items {
        let _ = writeln!(out, "  {item}");
    }
}
