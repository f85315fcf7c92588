//! Two tenants whose documents differ in little but their owner: the case in which a leak is
//! likeliest and easiest to overlook.

use crate::Rng;
use serde_json::{Value, json};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// The one that is watched.
    Acme,
    /// Its twin.
    Zenith,
}

/// A document as it is sent, and what a test knows of it.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Its id: the same for both tenants.
    pub id: String,
    /// Whose it is: stands in text, title and attributes.
    pub owner: Tenant,
    /// Who may read it; empty is everybody.
    pub readers: Vec<String>,
    /// Its vector.
    pub vector: Vec<f32>,
    /// As JSON for the upsert.
    pub json: Value,
}

impl Tenant {
    /// Both.
    pub const BOTH: [Tenant; 2] = [Tenant::Acme, Tenant::Zenith];

    /// Its id.
    pub fn id(self) -> &'static str {
        match self {
            Tenant::Acme => "acme",
            Tenant::Zenith => "zenith",
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

/// Document number `n` of a tenant: both tenants have the same ids, topics, readers and nearly
/// the same words and vectors; each text names its owner.
pub fn twin(owner: Tenant, n: u64) -> Twin {
    let rng = Rng::new(n * 7 + 1);
    let topic = *rng.pick(&TOPICS);
    let readers = match n % 4 {
        0 | 1 => vec![],
        2 => vec!["group:staff".to_owned()],
        _ => vec!["group:board".to_owned()],
    };
    let mut vector: Vec<f32> = (0..16).map(|_| rng.signed()).collect();
    if owner == Tenant::Zenith {
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
    Twin { id, owner, readers, vector, json }
}
