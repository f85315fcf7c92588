//! skeleton
use crate::{Error, Scored, TextQuery, TextStats};
use kernel::{Audience, Distance, Document, DocumentId, Filter, Status, Timestamp};
use roaring::RoaringBitmap;
use zeroize::Zeroizing;
/// What vectors a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec { /// Dimensions.
 pub dimensions: usize, /// Distance.
 pub distance: Distance }
/// A segment.
pub struct Segment { }
#[expect(unused_variables, missing_docs, clippy::missing_errors_doc, reason = "skeleton")]
impl Segment {
  pub fn in_memory(spec: &Spec, docs: Vec<Document>) -> Result<Segment, Error> { unimplemented!() }
  pub fn write(spec: &Spec, docs: &mut dyn Iterator<Item = Document>) -> Result<Zeroizing<Vec<u8>>, Error> { unimplemented!() }
  pub fn open(spec: &Spec, bytes: Zeroizing<Vec<u8>>) -> Result<Segment, Error> { unimplemented!() }
  pub fn documents(&self) -> u32 { unimplemented!() }
  pub fn rows(&self) -> u32 { unimplemented!() }
  pub fn bytes(&self) -> u64 { unimplemented!() }
  pub fn text_bytes(&self, doc: u32) -> u64 { unimplemented!() }
  pub fn find(&self, id: &DocumentId) -> Option<u32> { unimplemented!() }
  pub fn document(&self, doc: u32, vectors: bool) -> Result<Document, Error> { unimplemented!() }
  pub fn head(&self, doc: u32) -> Result<Document, Error> { unimplemented!() }
  pub fn row(&self, row: u32) -> Option<(u32, u32)> { unimplemented!() }
  pub fn evaluate(&self, filter: &Filter) -> RoaringBitmap { unimplemented!() }
  pub fn visible(&self, audience: &Audience) -> RoaringBitmap { unimplemented!() }
  pub fn with_status(&self, status: Status) -> RoaringBitmap { unimplemented!() }
  pub fn expired(&self, now: Timestamp) -> RoaringBitmap { unimplemented!() }
  pub fn has_attribute(&self, key: &str) -> bool { unimplemented!() }
  pub fn rows_of(&self, docs: &RoaringBitmap) -> RoaringBitmap { unimplemented!() }
  pub fn text_stats(&self, query: &TextQuery, live_rows: &RoaringBitmap) -> TextStats { unimplemented!() }
  pub fn search_text(&self, query: &TextQuery, stats: &TextStats, rows: &RoaringBitmap, k: usize) -> Vec<Scored> { unimplemented!() }
  pub fn search_vector(&self, query: &[f32], rows: &RoaringBitmap, k: usize) -> Vec<Scored> { unimplemented!() }
}
