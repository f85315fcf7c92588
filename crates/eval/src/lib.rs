//! eval: retrieval quality of a running server on a collection in BEIR layout, one line a mode,
//! measured through the same HTTP that applications use.

mod collection;
mod error;
mod measures;
mod retrieval;

pub use collection::{Collection, Item};
pub use error::Error;
pub use measures::{Measures, measure};
pub use retrieval::{ModeReport, Options, Report, retrieval};
