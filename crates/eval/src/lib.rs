//! eval: measures the retrieval quality of a running server on a collection in the BEIR layout, with one line for each
//! mode, through the same HTTP API that applications use.

mod collection;
mod error;
mod measures;
mod retrieval;

pub use collection::{Collection, Item};
pub use error::Error;
pub use measures::{Measures, measure};
pub use retrieval::{Baseline, BaselineMode, ModeReport, Options, Report, retrieval};
