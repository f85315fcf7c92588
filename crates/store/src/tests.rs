//! The store against a reference model, against crashes, and against its neighbours.

mod codecs;
mod faults;
mod fixture;
mod layout;
mod model;
mod rooms;

pub(crate) use fixture::Steps;
