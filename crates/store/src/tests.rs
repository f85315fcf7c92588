//! Tests of the store against a reference model, against crashes, and for isolation from other namespaces.

mod bound;
mod candidates;
mod codecs;
mod costs;
mod erasing;
mod evicting;
mod faults;
mod filters;
mod fixture;
mod handles;
mod hidden;
mod layout;
mod layout_fixture;
mod layouts;
mod merges;
mod merging;
mod model;
mod paged;
mod quotas;
mod returning;
mod rollback;
mod steps;
mod unseen;

pub(crate) use fixture::{Draft, Steps};
