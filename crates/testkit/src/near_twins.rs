//! Two tenants whose documents differ in little but their owner: the case in which a leak is most likely and easiest to
//! overlook.

use crate::Rng;
use serde_json::{Value, json};

/// One of the two tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TwinTenant {
    /// The tenant whose replies a test checks.
    Acme,
    /// The other tenant, whose documents are nearly equal.
    Zenith,
}

/// A document as it is sent, with the facts that a test checks.
#[derive(Clone, Debug)]
pub struct NearTwin {
    /// Id of the document: the same for both tenants.
    pub id: String,
    /// Owner of the document, named in its text, title and attributes.
    pub owner: TwinTenant,
    /// Readers of the document; empty for everybody.
    pub readers: Vec<String>,
    /// Vector of the document.
    pub vector: Vec<f32>,
    /// The document as JSON for the upsert.
    pub json: Value,
}

impl TwinTenant {
    /// Both tenants.
    pub const BOTH: [TwinTenant; 2] = [TwinTenant::Acme, TwinTenant::Zenith];

    /// Id of the tenant.
    pub fn id(self) -> &'static str {
        match self {
            TwinTenant::Acme => "acme",
            TwinTenant::Zenith => "zenith",
        }
    }
}

const TOPICS: [&str; 8] = [
    "holiday leave",
    "travel expenses",
    "password rules",
    "parental leave",
    "training budget",
    "office access",
    "on call duty",
    "laptop renewal",
];

/// Document number `n` of a tenant. Both tenants have the same ids, topics and readers, and nearly the same words and
/// vectors; each text names its owner.
pub fn near_twin(owner: TwinTenant, n: u64) -> NearTwin {
    let rng = Rng::new(n * 7 + 1);
    let topic = *rng.pick(&TOPICS);
    let readers = match n % 4 {
        0 | 1 => vec![],
        2 => vec!["group:staff".to_owned()],
        _ => vec!["group:board".to_owned()],
    };
    let mut vector: Vec<f32> = (0..16).map(|_| rng.signed()).collect();
    if owner == TwinTenant::Zenith {
        vector[15] += 0.001;
    }
    let owner_name = owner.id();
    let id = format!("handbook/{n}.md");
    let mut json = json!({
        "id": id,
        "title": format!("{topic} at {owner_name}"),
        "text": format!("The rule for {topic} number {n} holds for everybody at {owner_name}. Ask the desk about {topic}."),
        "attributes": {"topic": topic, "number": n, "owner": owner_name},
        "vector": vector,
    });
    if !readers.is_empty() {
        json["readers"] = json!(readers);
    }
    NearTwin { id, owner, readers, vector, json }
}
