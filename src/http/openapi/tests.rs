//! The committed document is current and complete.

use super::*;
use std::{collections::BTreeSet, path::Path};

#[test]
fn the_committed_document_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    let stored = std::fs::read_to_string(file).unwrap_or_default();
    let stored: Value = serde_json::from_str(&stored).unwrap_or_default();
    assert!(stored == openapi(), "schemas/openapi.json is out of date: run `ringfence schemas schemas`");
}

#[test]
fn every_reference_resolves_and_every_operation_has_its_own_id() {
    let document = openapi();
    let text = document.to_string();
    for part in text.split("\"$ref\":\"").skip(1) {
        let target = part.split('"').next().expect("closed");
        let pointer = target.strip_prefix('#').expect("local");
        assert!(document.pointer(pointer).is_some(), "{target} does not exist");
    }
    let mut ids = BTreeSet::new();
    for route in routes() {
        assert!(ids.insert(route.spec.id), "{} occurs twice", route.spec.id);
    }
}

#[test]
fn one_name_means_one_schema() {
    let mut schemas: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    for route in routes() {
        for (name, schema) in &route.schemas.components {
            let schema = serde_json::to_value(schema).expect("plain");
            let before = schemas.insert(name.clone(), schema.clone());
            assert!(before.is_none_or(|b| b == schema), "two types share the name {name}");
        }
    }
}
