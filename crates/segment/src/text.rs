//! skeleton
use crate::TextQuery;
/// Corpus statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextStats {
    /// Live rows.
    pub rows: u64,
    /// Their tokens.
    pub tokens: u64,
    /// For each term of the query, live rows that hold it.
    pub document_frequency: Vec<u64>,
}
impl TextStats {
    /// Zero.
    pub fn for_query(query: &TextQuery) -> Self {
        Self { rows: 0, tokens: 0, document_frequency: vec![0; query.terms.len()] }
    }
}
impl std::ops::AddAssign for TextStats { fn add_assign(&mut self, _other: Self) { unimplemented!() } }
/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Row.
    pub row: u32,
    /// Score.
    pub score: f32,
}
