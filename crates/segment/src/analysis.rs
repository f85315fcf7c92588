//! skeleton
/// A query.
#[derive(Clone)]
pub struct TextQuery { pub(crate) terms: Vec<String> }
impl TextQuery {
    /// Analyses.
    pub fn new(_text: &str) -> Self { unimplemented!() }
    /// Whether there is no term.
    pub fn is_empty(&self) -> bool { self.terms.is_empty() }
}
