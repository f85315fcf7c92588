//! Certificates: signed notes about destroyed keys, verified without a server.

use crate::cli::connection::ConnectionArgs;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, io::Read as _, path::Path};
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
    let stated: Value =
        serde_json::from_str(text).with_context(|| format!("{}: the signed text is not JSON", file.display()))?;
    let list = |name: &str| stated[name].as_array().map_or(&[][..], Vec::as_slice);
    let canary = Some(&stated["canary"]).filter(|canary| canary.is_object());
    let tried: Vec<&Value> = list("attempts").iter().chain(list("sampled_objects")).chain(canary).collect();
    let failed = tried.iter().filter(|a| a["refused"] != true).count();
    let remains = list("remains").len();
    // If nothing was tried, there is only the server's word and no proof.
    let proven = !tried.is_empty() && failed == 0 && remains == 0;
    let value = json!({
        "signed": true, "by": key.to_string(), "proven": proven, "tried": tried.len(), "stated": stated,
    });
    connection.print(&value, certificate_text)?;
    if failed > 0 || remains > 0 {
        bail!(
            "the signature holds, but the certificate itself shows that the destruction is not proven: {failed} \
             attempts were not refused, and {remains} objects remain"
        );
    }
    Ok(())
}

/// The results of an attempt before and after the keys were destroyed.
fn attempt_text(tried: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let before = if tried["opened_before"] == true {
        "opened before".to_owned()
    } else {
        format!("not opened before ({})", text(&tried["before"]))
    };
    let after = if tried["refused"] == true { "refused" } else { "NOT REFUSED" };
    format!("{before}, then {after} ({})", text(&tried["after"]))
}

fn certificate_text(value: &Value) -> String {
    let stated = &value["stated"];
    let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
    let mut out = format!(
        "the signature holds, by {}\n{}: tenant {}, incarnation {}\n",
        text(&value["by"]),
        text(&stated["statement"]),
        text(&stated["tenant"]),
        text(&stated["incarnation"])
    );
    let list = |out: &mut String, title: &str, items: &Value, line: &dyn Fn(&Value) -> String| {
        let Some(items) = items.as_array().filter(|items| !items.is_empty()) else { return };
        let _ = writeln!(out, "{title}");
        for item in items {
            let _ = writeln!(out, "  {}", line(item));
        }
    };
    let key =
        |k: &Value| format!("epoch {} under key {} of provider {}", k["epoch"], text(&k["key"]), text(&k["provider"]));
    list(&mut out, "keys destroyed:", &stated["keys"], &key);
    list(&mut out, "keys destroyed:", &stated["destroyed"], &key);
    list(&mut out, "what the providers did:", &stated["provider_receipts"], &|r| {
        format!("{} of {}: {}", text(&r["key"]), text(&r["provider"]), text(&r["said"]))
    });
    if value["tried"] == 0 {
        out.push_str("tried: nothing; the certificate rests on the server's word\n");
    }
    list(&mut out, "documents:", &stated["documents"], &text);
    list(&mut out, "tried:", &stated["attempts"], &|a| {
        let outcome = if a["refused"] == true { "refused" } else { "NOT REFUSED" };
        format!("{}: {outcome} ({})", text(&a["tried"]), text(&a["outcome"]))
    });
    if stated["canary"].is_object() {
        let canary = Value::Array(vec![stated["canary"].clone()]);
        list(&mut out, "canary:", &canary, &|c| format!("{}: {}", text(&c["sealed_sha256"]), attempt_text(c)));
    }
    list(&mut out, "sampled objects:", &stated["sampled_objects"], &|s| {
        format!("{} {} sha256 {}: {}", text(&s["kind"]), text(&s["object"]), text(&s["sha256"]), attempt_text(s))
    });
    list(&mut out, "removed keyspaces:", &stated["keyspaces_removed"], &text);
    list(&mut out, "found only by their ids:", &stated["keyspaces_found_by_id"], &text);
    list(&mut out, "remains:", &stated["remains"], &|r| {
        format!("{} sha256 {}", text(&r["object"]), text(&r["sha256"]))
    });
    list(&mut out, "cannot be proven:", &stated["cannot_be_proven"], &text);
    out.trim_end().to_owned()
}
