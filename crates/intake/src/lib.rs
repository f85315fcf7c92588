//! intake: foreign bytes become screened text, cut into passages.
//!
//! One way through, and each stage is a type: [`RawDocument`] -> [`parse`] -> [`Draft`] ->
//! [`screen`] -> [`Screened`] (cut by [`Screened::chunk`]) -> [`admit`] -> [`Admitted`]. Nothing
//! but `screen` makes `Screened` and nothing but `admit` makes `Admitted`, so text that no screen
//! has seen cannot be stored. Synchronous, no I/O; who may write and where is other crates' work.

mod admit;
mod chunk;
mod error;
mod parse;
mod patch;
mod raw;
mod screen;
#[cfg(test)]
mod testing;

pub use admit::{Admitted, Profile, admit};
pub use error::Error;
pub use parse::{Draft, UnreadFormat, parse, unread_ending, unread_format};
pub use patch::{RawPatch, ScreenedPatch, screen_patch};
pub use raw::{Body, RawDocument, identify};
pub use screen::{Screened, Verdict, screen};
