//! The store against a reference model, against crashes, and against its neighbours.

mod bound;
mod candidates;
mod codecs;
mod costs;
mod erasing;
mod evicting;
mod faults;
mod filters;
mod fixture;
mod hidden;
mod layout;
mod layouts;
mod merges;
mod merging;
mod model;
mod paged;
mod quotas;
mod returning;
mod rollback;
mod rooms;
mod shelf;
mod steps;
mod unseen;

pub(crate) use fixture::{Draft, Steps};
