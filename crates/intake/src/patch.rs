//! Patches of a document's metadata, screened like the document itself.
//!
//! Promises that a string of a patch passes the same screens as a string of a document. A patch never changes the text,
//! so nothing is embedded again.

use crate::{
    Error, raw,
    screen::{ScreenReport, Stream, merge_finding, scan_and_mask},
};
use kernel::{
    AttrValue, Attributes, Document, Finding, Principal, Scalar, ScreenAction, Screening, Status, Timestamp, Untrusted,
    limits,
};
use std::{collections::BTreeMap, fmt};

/// A patch as it was sent. An outer `None` leaves a member unchanged, an inner `None` removes it.
#[derive(Default)]
pub struct RawPatch {
    /// Attributes to set, or to remove.
    pub attributes: BTreeMap<String, Option<AttrValue>>,
    /// Principals that may read the document.
    pub readers: Option<Option<Vec<Principal>>>,
    /// URI of the source.
    pub uri: Option<Option<Untrusted>>,
    /// Time at which the document expires.
    pub expires_at: Option<Option<Timestamp>>,
}

/// A patch that was screened. Only [`screen_patch`] makes it.
pub struct ScreenedPatch {
    patch: RawPatch,
    findings: Vec<Finding>,
}

impl fmt::Debug for RawPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawPatch").field("attributes", &self.attributes.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ScreenedPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScreenedPatch").field("patch", &self.patch).field("findings", &self.findings).finish()
    }
}

/// Checks and screens a patch.
///
/// # Errors
/// `invalid_request` with the name of the member: for an exceeded limit, an empty list of readers, or a finding that
/// the namespace's policy rejects.
pub fn screen_patch(mut raw: RawPatch, policy: &Screening) -> Result<ScreenedPatch, Error> {
    raw.attributes.keys().try_for_each(|key| raw::check_key(key, "attributes"))?;
    raw::check_readers(raw.readers.as_ref().and_then(|r| r.as_deref()), "readers")?;
    raw::check_uri(raw.uri.as_ref().and_then(Option::as_ref), "uri")?;
    let mut report = ScreenReport::new(*policy);
    if let Some(Some(uri)) = &mut raw.uri {
        *uri = Untrusted::new(scan_and_mask(uri.expose(), Stream::Field, &mut report));
    }
    for value in raw.attributes.values_mut().flatten() {
        screen_value(value, &mut report);
    }
    let findings = report.into_findings();
    if findings.iter().any(|f| f.action == ScreenAction::Reject) {
        let rules: Vec<_> =
            findings.iter().filter(|f| f.action == ScreenAction::Reject).map(|f| f.rule.as_str()).collect();
        let remedy = format!("the namespace's screening rejects it ({}); change the value", rules.join(", "));
        return Err(Error::invalid("attributes", remedy));
    }
    Ok(ScreenedPatch { patch: raw, findings })
}

/// Screens every string of a value in place.
pub(crate) fn screen_value(value: &mut AttrValue, report: &mut ScreenReport) {
    let scalars = match value {
        AttrValue::One(s) => std::slice::from_mut(s),
        AttrValue::Many(list) => list.as_mut_slice(),
    };
    for scalar in scalars {
        if let Scalar::Str(text) = scalar {
            *text = scan_and_mask(text, Stream::Field, report);
        }
    }
}

impl ScreenedPatch {
    /// Findings of the screens in the patch.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Merges the patch into a document. Its findings are added to the document's; if both have a rule, the larger
    /// count is kept. A finding that quarantines changes the document's status.
    ///
    /// # Errors
    /// `invalid_request` when the document would have too many attributes. The document is then unchanged.
    pub fn apply(&self, doc: &mut Document) -> Result<(), Error> {
        let attributes = self.merged(&doc.attributes);
        if attributes.len() > limits::ATTRIBUTES_MAX {
            let remedy = format!("a document may have at most {} keys; remove some", limits::ATTRIBUTES_MAX);
            return Err(Error::invalid("attributes", remedy));
        }
        doc.attributes = attributes;
        if let Some(readers) = &self.patch.readers {
            doc.readers.clone_from(readers);
        }
        if let Some(uri) = &self.patch.uri {
            doc.uri = uri.clone().unwrap_or_default();
        }
        if let Some(expires_at) = self.patch.expires_at {
            doc.expires_at = expires_at;
        }
        for finding in &self.findings {
            merge_finding(&mut doc.findings, finding, u32::max);
        }
        if self.findings.iter().any(|f| f.action == ScreenAction::Quarantine) {
            doc.status = Status::Quarantined;
        }
        Ok(())
    }

    fn merged(&self, old: &Attributes) -> Attributes {
        let mut merged = old.clone();
        for (key, value) in &self.patch.attributes {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        merged
    }
}

#[cfg(test)]
mod tests;
