//! intake: turns foreign bytes into screened text, divided into passages.
//!
//! There is one path, and each stage is a type: [`RawDocument`] -> [`parse`] -> [`Draft`] -> [`screen`] -> [`Screened`]
//! (divided by [`Screened::chunk`]) -> [`admit`] -> [`Admitted`]. Only `screen` makes `Screened` and only `admit` makes
//! `Admitted`, so unscreened text cannot be stored. The crate is synchronous and does no I/O; other crates decide who
//! may write and where.

mod admit;
mod chunk;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod parse;
mod patch;
mod raw;
mod screen;
#[cfg(test)]
mod testing;

pub use admit::{Admitted, VectorProfile, admit};
pub use error::Error;
pub use parse::{Draft, UnsupportedFormat, parse, unsupported_extension, unsupported_format};
pub use patch::{RawPatch, ScreenedPatch, screen_patch};
pub use raw::{RawBody, RawDocument, identify};
pub use screen::{Screened, Verdict, screen};
