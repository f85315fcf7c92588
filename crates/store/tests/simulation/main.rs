//! The real store over the real journal, in a world that a seed makes.
#![allow(dead_code, reason = "being built")]

mod checker;
mod commits;
mod faulty;
mod rng;
