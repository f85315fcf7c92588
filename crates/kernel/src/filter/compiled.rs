//! [`CompiledFilter`]: a filter that is compiled once for a request, so that evaluating a document costs about the
//! bytes of its values, not the product of these with the values of the filter.
//!
//! Leaves on one field share their work on its values: each value is hashed once for all `in`, split into words once
//! for all `match`, scanned once for all substrings and prefixes, and parsed once as a time. A compiled filter accepts
//! exactly what [`Filter::matches`] accepts (a property test compares them), and checks the request's interrupt while
//! it runs.

mod substrings;
mod words;

use super::{DocumentView, Field, Filter, MatchWords};
use crate::{AttrValue, Comparison, Instant, Interrupted, Number, Scalar, checkpoint};
use std::collections::HashMap;
use substrings::{FoundPatterns, Substrings};
use words::{FoundWords, WordTable};

/// A compiled filter, as [`Filter::compile`] returns it.
pub struct CompiledFilter {
    root: Node,
    columns: Vec<Column>,
}

/// Boolean combination of the results of leaves.
pub enum Node {
    /// True if all of these are.
    And(Vec<Node>),
    /// True if any of these is.
    Or(Vec<Node>),
    /// True if this is false.
    Not(Box<Node>),
    /// The result of one leaf.
    Leaf {
        /// Index in [`CompiledFilter::columns`].
        column: usize,
        /// Index in [`Column::leaves`].
        leaf: usize,
    },
}

/// All leaves on one field, with the tables that they share.
pub struct Column {
    field: Field,
    leaves: Vec<Leaf>,
    /// Values of all `in`, with the leaves that compare with them.
    equal: HashMap<TableKey, Bits>,
    /// Values of all `contains` as members of a list.
    members: HashMap<TableKey, Bits>,
    /// Strings of all `contains` as substrings of a single string.
    substrings: Substrings,
    prefixes: Substrings,
    words: WordTable,
    has_numbers: bool,
    has_instants: bool,
}

/// One comparison. Its values are in the tables of its column.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// The field is present.
    Exists,
    /// The field is equal to one of several values.
    In,
    /// The field compares to a number.
    Number(Comparison, Number),
    /// The field compares to an instant.
    Instant(Comparison, Instant),
    /// The field is a list with this member, or a string with this substring.
    Contains,
    /// The field is a string with this prefix.
    Prefix(String),
    /// The field has all of several words.
    Match,
}

/// A value as a key of a table. Two keys are equal if and only if the values are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum TableKey {
    Str(Box<str>),
    Num((u64, u32)),
    Bool(bool),
    Time(Instant),
}

/// Set of a column's leaves: masks of 64 leaves each, with the index of the mask.
type Bits = Vec<(u32, u64)>;

/// Field, operator and values of a leaf. Leaves of equal identity are evaluated once. It borrows from the filter, whose
/// values may be megabytes.
#[derive(PartialEq, Eq, Hash)]
struct LeafIdentity<'f>(&'f Field, u8, Vec<FilterValue<'f>>);

impl Filter {
    /// Compiles the filter. The cost is about its bytes.
    pub fn compile(&self) -> CompiledFilter {
        let mut compiler = Compiler::default();
        let root = compiler.node(self);
        let Compiler { columns, .. } = compiler;
        CompiledFilter { root, columns: columns.into_iter().map(ColumnBuilder::finish).collect() }
    }
}

impl CompiledFilter {
    /// Root of the combination of leaves.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Columns, one for each field that the filter names.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Matcher that evaluates documents one by one.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher { filter: self, scratch: self.columns.iter().map(|column| column.scratch()).collect() }
    }
}

/// State while a filter is compiled.
#[derive(Default)]
struct Compiler<'f> {
    columns: Vec<ColumnBuilder<'f>>,
    by_field: HashMap<&'f Field, usize>,
    known: HashMap<LeafIdentity<'f>, (usize, usize)>,
}

/// A column under construction.
struct ColumnBuilder<'f> {
    field: Field,
    leaves: Vec<Leaf>,
    equal: HashMap<TableKey, Bits>,
    members: HashMap<TableKey, Bits>,
    substrings: HashMap<&'f str, Bits>,
    prefixes: HashMap<&'f str, Bits>,
    words: Vec<(usize, &'f MatchWords)>,
}

impl<'f> Compiler<'f> {
    fn node(&mut self, filter: &'f Filter) -> Node {
        let field = match filter {
            Filter::And(list) => return Node::And(list.iter().map(|f| self.node(f)).collect()),
            Filter::Or(list) => return Node::Or(list.iter().map(|f| self.node(f)).collect()),
            Filter::Not(inner) => return Node::Not(Box::new(self.node(inner))),
            Filter::In(field, _)
            | Filter::Number(field, ..)
            | Filter::Instant(field, ..)
            | Filter::Contains(field, _)
            | Filter::Prefix(field, _)
            | Filter::Match(field, _)
            | Filter::Exists(field) => field,
        };
        let identity = identity(field, filter);
        if let Some((column, leaf)) = self.known.get(&identity) {
            return Node::Leaf { column: *column, leaf: *leaf };
        }
        let column = *self.by_field.entry(field).or_insert_with(|| {
            self.columns.push(ColumnBuilder::of(field.clone()));
            self.columns.len() - 1
        });
        let leaf = self.columns[column].add(filter);
        self.known.insert(identity, (column, leaf));
        Node::Leaf { column, leaf }
    }
}

/// Identity of a leaf. It is equal for leaves that accept the same values by the same operator.
fn identity<'f>(field: &'f Field, leaf: &'f Filter) -> LeafIdentity<'f> {
    let (kind, mut values) = match leaf {
        Filter::In(_, value) => (0, value.iter().filter_map(|w| FilterValue::of(w, field.is_time())).collect()),
        Filter::Number(_, op, x) => (1 + *op as u8, x.order_key().map(FilterValue::Num).into_iter().collect()),
        Filter::Instant(_, op, t) => (5 + *op as u8, vec![FilterValue::Time(*t)]),
        Filter::Contains(_, value) => (9, FilterValue::of(value, false).into_iter().collect()),
        Filter::Prefix(_, prefix) => (10, vec![FilterValue::Str(prefix)]),
        Filter::Match(_, words) => (11, vec![FilterValue::Str(words.joined())]),
        Filter::Exists(_) | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => (12, Vec::new()),
    };
    values.sort_unstable();
    values.dedup();
    LeafIdentity(field, kind, values)
}

impl<'f> FilterValue<'f> {
    /// The value in comparable form; `None` for a value that equals nothing: NaN, and where times are compared a string
    /// that is no time.
    fn of(scalar: &'f Scalar, times: bool) -> Option<Self> {
        match scalar {
            Scalar::Str(text) if times => Instant::parse(text).map(FilterValue::Time),
            Scalar::Str(text) => Some(FilterValue::Str(text)),
            Scalar::Num(x) => x.order_key().map(FilterValue::Num),
            Scalar::Bool(b) => Some(FilterValue::Bool(*b)),
        }
    }
}

impl From<FilterValue<'_>> for TableKey {
    fn from(value: FilterValue<'_>) -> Self {
        match value {
            FilterValue::Str(text) => TableKey::Str(text.into()),
            FilterValue::Num(key) => TableKey::Num(key),
            FilterValue::Bool(b) => TableKey::Bool(b),
            FilterValue::Time(instant) => TableKey::Time(instant),
        }
    }
}

impl<'f> ColumnBuilder<'f> {
    fn of(field: Field) -> Self {
        Self {
            field,
            leaves: Vec::new(),
            equal: HashMap::new(),
            members: HashMap::new(),
            substrings: HashMap::new(),
            prefixes: HashMap::new(),
            words: Vec::new(),
        }
    }

    /// Adds a leaf and returns its number.
    fn add(&mut self, leaf: &'f Filter) -> usize {
        let number = self.leaves.len();
        self.leaves.push(match leaf {
            Filter::In(field, value) => {
                for value in value.iter().filter_map(|w| FilterValue::of(w, field.is_time())) {
                    set(self.equal.entry(value.into()).or_default(), number);
                }
                Leaf::In
            }
            Filter::Number(_, op, x) => Leaf::Number(*op, *x),
            Filter::Instant(_, op, t) => Leaf::Instant(*op, *t),
            Filter::Contains(_, value) => {
                if let Scalar::Str(text) = value {
                    set(self.substrings.entry(text).or_default(), number);
                }
                if let Some(value) = FilterValue::of(value, false) {
                    set(self.members.entry(value.into()).or_default(), number);
                }
                Leaf::Contains
            }
            Filter::Prefix(_, prefix) => {
                set(self.prefixes.entry(prefix).or_default(), number);
                Leaf::Prefix(prefix.clone())
            }
            Filter::Match(_, words) => {
                self.words.push((number, words));
                Leaf::Match
            }
            Filter::Exists(_) | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => Leaf::Exists,
        });
        number
    }

    fn finish(self) -> Column {
        Column {
            has_numbers: self.leaves.iter().any(|leaf| matches!(leaf, Leaf::Number(..))),
            has_instants: self.leaves.iter().any(|leaf| matches!(leaf, Leaf::Instant(..))),
            field: self.field,
            leaves: self.leaves,
            equal: self.equal,
            members: self.members,
            substrings: Substrings::new(self.substrings),
            prefixes: Substrings::new(self.prefixes),
            words: WordTable::new(&self.words),
        }
    }
}

/// Adds a leaf to a set. The caller adds leaves in ascending order.
fn set(bits: &mut Bits, leaf: usize) {
    let (block, mask) = ((leaf / 64) as u32, 1 << (leaf % 64));
    match bits.last_mut() {
        Some(last) if last.0 == block => last.1 |= mask,
        _ => bits.push((block, mask)),
    }
}

/// Numbers of the leaves in a set.
fn numbers(bits: &[(u32, u64)]) -> impl Iterator<Item = usize> + '_ {
    bits.iter().flat_map(|(block, mask)| {
        (0..64).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| *block as usize * 64 + bit)
    })
}

/// Set of the leaves of one column that accept a document, as a bitmap.
#[derive(Clone, Default)]
struct LeafSet(Vec<u64>);

impl LeafSet {
    fn of(leaves: usize) -> Self {
        Self(vec![0; leaves.div_ceil(64)])
    }

    fn add(&mut self, bits: &[(u32, u64)]) {
        for (block, mask) in bits {
            if let Some(mine) = self.0.get_mut(*block as usize) {
                *mine |= mask;
            }
        }
    }

    fn insert(&mut self, leaf: usize) {
        self.add(&[((leaf / 64) as u32, 1 << (leaf % 64))]);
    }

    fn has(&self, leaf: usize) -> bool {
        self.0.get(leaf / 64).is_some_and(|block| block >> (leaf % 64) & 1 == 1)
    }

    fn drain(&mut self, mut visit: impl FnMut(usize)) {
        for (at, block) in self.0.iter_mut().enumerate() {
            let mut left = std::mem::take(block);
            while left != 0 {
                visit(at * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

/// Buffers of one column that are reused from value to value.
#[derive(Default)]
struct MatchScratch {
    accepted: LeafSet,
    words: FoundWords,
    substrings: FoundPatterns,
    /// Whether `accepted` holds the results for the current document.
    is_current: bool,
}

/// A borrowed value, as a column evaluates it.
#[derive(Clone, Copy)]
enum ValueRef<'a> {
    Str(&'a str),
    Num(Number),
    Bool(bool),
}

impl<'a> From<&'a Scalar> for ValueRef<'a> {
    fn from(scalar: &'a Scalar) -> Self {
        match scalar {
            Scalar::Str(text) => ValueRef::Str(text),
            Scalar::Num(x) => ValueRef::Num(*x),
            Scalar::Bool(b) => ValueRef::Bool(*b),
        }
    }
}

/// Least and greatest of several values. If any of the values satisfies a bound, one of these two does.
struct Extremes<T>(Option<(T, T)>);

impl<T: Copy + PartialOrd> Extremes<T> {
    fn add(&mut self, value: T) {
        self.0 = Some(match self.0 {
            None => (value, value),
            Some((least, most)) => (if value < least { value } else { least }, if value > most { value } else { most }),
        });
    }

    fn any(&self, op: Comparison, bound: &T) -> bool {
        self.0.is_some_and(|(least, most)| match op {
            Comparison::Gt | Comparison::Gte => op.holds(&most, bound),
            Comparison::Lt | Comparison::Lte => op.holds(&least, bound),
        })
    }
}

impl Column {
    /// Field that the leaves compare.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Leaves of the column, each once.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Values that `in` leaves compare with, and the numbers of these leaves. On a field of times the values are
    /// instants.
    pub fn equal(&self) -> impl Iterator<Item = (FilterValue<'_>, impl Iterator<Item = usize> + '_)> {
        self.equal.iter().map(|(key, bits)| (key.filter_value(), numbers(bits)))
    }

    /// Values that `contains` leaves look for in a list, and the numbers of these leaves.
    pub fn members(&self) -> impl Iterator<Item = (FilterValue<'_>, impl Iterator<Item = usize> + '_)> {
        self.members.iter().map(|(key, bits)| (key.filter_value(), numbers(bits)))
    }

    /// Whether leaves search strings for words or substrings.
    pub fn searches_strings(&self) -> bool {
        !self.words.is_empty() || !self.substrings.is_empty()
    }

    /// A scanner of strings for [`Column::searches_strings`]. It reports the leaves that each string satisfies;
    /// `contains` leaves are judged as if the string were the only value.
    pub fn reader(&self) -> impl FnMut(&str, &mut dyn FnMut(usize)) -> Result<(), Interrupted> {
        let mut scratch = self.scratch();
        move |text, visit| {
            let steps = self.look_inside(text, true, &mut scratch);
            scratch.accepted.drain(visit);
            checkpoint(steps)
        }
    }

    fn scratch(&self) -> MatchScratch {
        MatchScratch {
            accepted: LeafSet::of(self.leaves.len()),
            words: self.words.found_words(),
            substrings: self.substrings.found_patterns(),
            is_current: false,
        }
    }

    /// Searches a string for words, and if it is the only value also for substrings. Returns the cost in steps.
    fn look_inside(&self, text: &str, alone: bool, scratch: &mut MatchScratch) -> u64 {
        let MatchScratch { accepted, words, substrings, .. } = scratch;
        let mut steps = 1;
        if !self.words.is_empty() {
            steps += self.words.search(text, words, |leaf| accepted.insert(leaf));
        }
        if alone && !self.substrings.is_empty() {
            steps += self.substrings.search(text, substrings, |bits| accepted.add(bits));
        }
        steps
    }

    /// Evaluates all leaves of the column on a document, into `scratch.accepted`.
    fn evaluate(&self, doc: &DocumentView<'_>, scratch: &mut MatchScratch) -> Result<(), Interrupted> {
        scratch.accepted.0.fill(0);
        scratch.is_current = true;
        let time_text;
        match &self.field {
            Field::Attribute(key) => match doc.attributes.get(key) {
                None => checkpoint(1),
                Some(AttrValue::One(value)) => self.values(std::iter::once(value.into()), true, scratch),
                Some(AttrValue::Many(list)) => self.values(list.iter().map(ValueRef::from), false, scratch),
            },
            Field::Id => self.values(std::iter::once(ValueRef::Str(doc.id)), true, scratch),
            Field::Uri if doc.uri.is_empty() => checkpoint(1),
            Field::Uri => self.values(std::iter::once(ValueRef::Str(doc.uri)), true, scratch),
            Field::Status => self.values(std::iter::once(ValueRef::Str(doc.status.as_str())), true, scratch),
            Field::CreatedAt | Field::UpdatedAt | Field::ExpiresAt => {
                let time = match self.field {
                    Field::CreatedAt => Some(doc.created_at),
                    Field::UpdatedAt => Some(doc.updated_at),
                    _ => doc.expires_at,
                };
                let Some(time) = time else { return checkpoint(1) };
                time_text = time.to_string();
                self.values(std::iter::once(ValueRef::Str(&time_text)), true, scratch)
            }
        }
    }

    /// Evaluates all leaves on the values of a field that is present. `alone`: the value is not in a list.
    fn values<'a>(
        &self,
        values: impl Iterator<Item = ValueRef<'a>>,
        alone: bool,
        scratch: &mut MatchScratch,
    ) -> Result<(), Interrupted> {
        let (mut numbers, mut instants) = (Extremes(None), Extremes(None));
        let times = self.field.is_time();
        // Tables and automata answer all leaves at once; orderings only need the extremes, compared at the end.
        for value in values {
            let mut steps = 8;
            let key = match value {
                ValueRef::Str(text) => {
                    steps += text.len() as u64 + self.look_inside(text, alone, scratch);
                    if !self.prefixes.is_empty() {
                        self.prefixes.prefixes_of(text, |bits| scratch.accepted.add(bits));
                    }
                    let instant = if times || self.has_instants { Instant::parse(text) } else { None };
                    instant.filter(|_| self.has_instants).into_iter().for_each(|t| instants.add(t));
                    match instant {
                        Some(instant) if times => Some(TableKey::Time(instant)),
                        _ if times || (self.equal.is_empty() && (alone || self.members.is_empty())) => None,
                        _ => Some(TableKey::Str(text.into())),
                    }
                }
                ValueRef::Num(x) => {
                    if self.has_numbers && !x.is_nan() {
                        numbers.add(x);
                    }
                    x.order_key().map(TableKey::Num)
                }
                ValueRef::Bool(b) => Some(TableKey::Bool(b)),
            };
            if let Some(key) = key {
                let tables = [Some(&self.equal), Some(&self.members).filter(|_| !alone)];
                let bits = tables.into_iter().flatten().filter_map(|table| table.get(&key));
                bits.for_each(|bits| scratch.accepted.add(bits));
            }
            checkpoint(steps)?;
        }
        for (number, leaf) in self.leaves.iter().enumerate() {
            let is_accepted = match leaf {
                Leaf::Exists => true,
                Leaf::Number(op, x) => numbers.any(*op, x),
                Leaf::Instant(op, t) => instants.any(*op, t),
                Leaf::In | Leaf::Contains | Leaf::Prefix(_) | Leaf::Match => false,
            };
            if is_accepted {
                scratch.accepted.insert(number);
            }
        }
        checkpoint(self.leaves.len() as u64)
    }
}

/// A value that a leaf compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FilterValue<'a> {
    /// A string.
    Str(&'a str),
    /// A number, as its [`Number::order_key`].
    Num((u64, u32)),
    /// True or false.
    Bool(bool),
    /// An instant; only for fields that hold times.
    Time(Instant),
}

impl TableKey {
    fn filter_value(&self) -> FilterValue<'_> {
        match self {
            TableKey::Str(text) => FilterValue::Str(text),
            TableKey::Num(key) => FilterValue::Num(*key),
            TableKey::Bool(b) => FilterValue::Bool(*b),
            TableKey::Time(t) => FilterValue::Time(*t),
        }
    }
}

/// A compiled filter that evaluates one document after another.
pub struct Matcher<'a> {
    filter: &'a CompiledFilter,
    scratch: Vec<MatchScratch>,
}

impl Matcher<'_> {
    /// Whether the filter accepts a document, as [`Filter::matches`] defines it. Each field is evaluated once, when the
    /// first leaf on it is reached.
    ///
    /// # Errors
    /// The request was interrupted, or its time was up.
    pub fn matches(&mut self, doc: &DocumentView<'_>) -> Result<bool, Interrupted> {
        self.scratch.iter_mut().for_each(|scratch| scratch.is_current = false);
        let filter = self.filter;
        self.node(&filter.root, doc)
    }

    /// Reports the numbers of the leaves of a column that a document satisfies.
    ///
    /// # Errors
    /// The same as of [`Matcher::matches`].
    pub fn leaves(
        &mut self,
        column: usize,
        doc: &DocumentView<'_>,
        visit: impl FnMut(usize),
    ) -> Result<(), Interrupted> {
        let (Some(of), Some(scratch)) = (self.filter.columns.get(column), self.scratch.get_mut(column)) else {
            return Ok(());
        };
        of.evaluate(doc, scratch)?;
        scratch.accepted.drain(visit);
        Ok(())
    }

    fn node(&mut self, node: &Node, doc: &DocumentView<'_>) -> Result<bool, Interrupted> {
        checkpoint(1)?;
        match node {
            Node::And(all) => {
                for node in all {
                    if !self.node(node, doc)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Node::Or(any) => {
                for node in any {
                    if self.node(node, doc)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Node::Not(inner) => Ok(!self.node(inner, doc)?),
            Node::Leaf { column, leaf } => self.leaf(*column, *leaf, doc),
        }
    }

    fn leaf(&mut self, column: usize, leaf: usize, doc: &DocumentView<'_>) -> Result<bool, Interrupted> {
        let (Some(of), Some(scratch)) = (self.filter.columns.get(column), self.scratch.get_mut(column)) else {
            return Ok(false);
        };
        if !scratch.is_current {
            of.evaluate(doc, scratch)?;
        }
        Ok(scratch.accepted.has(leaf))
    }
}

#[cfg(test)]
mod tests;
