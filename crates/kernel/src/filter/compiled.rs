//! [`CompiledFilter`]: a filter that is compiled once for a request, so that evaluating a document costs about the
//! bytes of its values, not their product with the values of the filter.
//!
//! Leaves on one field share their work on its values: each value is hashed once for all `in`, split into words once
//! for all `match`, scanned once for all substrings and prefixes, parsed once as a time. Promises: accepts exactly what
//! [`Filter::matches`] accepts (a property test compares), and checks the request's interrupt while it runs.

mod substrings;
mod words;

use super::{DocumentView, Field, Filter, MatchWords};
use crate::{AttrValue, Comparison, Instant, Interrupted, Number, Scalar, checkpoint};
use std::collections::HashMap;
use substrings::{Seen, Substrings};
use words::{Found, Words};

/// See the module. Made by [`Filter::compile`].
pub struct CompiledFilter {
    root: Node,
    columns: Vec<Column>,
}

/// How the results of leaves are combined.
pub enum Node {
    /// Every one of these.
    And(Vec<Node>),
    /// Any of these.
    Or(Vec<Node>),
    /// Not this.
    Not(Box<Node>),
    /// The result of this leaf of this column.
    Leaf {
        /// Index in [`CompiledFilter::columns`].
        column: usize,
        /// Index in [`Column::leaves`].
        leaf: usize,
    },
}

/// All leaves on one field.
pub struct Column {
    field: Field,
    leaves: Vec<Leaf>,
    /// Values of all `in`, with the leaves that ask for them.
    equal: HashMap<Key, Bits>,
    /// Values of all `contains`, as members of a list.
    members: HashMap<Key, Bits>,
    /// Strings of all `contains`, as substrings of a single string.
    substrings: Substrings,
    prefixes: Substrings,
    words: Words,
    has_numbers: bool,
    has_instants: bool,
}

/// One comparison. Its values are in the tables of its column.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// Present.
    Exists,
    /// Equal to one of several values.
    In,
    /// Ordering against a number.
    Number(Comparison, Number),
    /// Ordering against an instant.
    Instant(Comparison, Instant),
    /// List membership or substring.
    Contains,
    /// Prefix of a string.
    Prefix(String),
    /// All of several words.
    Match,
}

/// A value as a key of a table; keys are equal if and only if values are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Str(Box<str>),
    Num((u64, u32)),
    Bool(bool),
    Time(Instant),
}

/// A set of a column's leaves: masks of 64 leaves each, with the number of the mask.
type Bits = Vec<(u32, u64)>;

/// What makes two leaves one. Borrowed from the filter: its values may be megabytes.
#[derive(PartialEq, Eq, Hash)]
struct Identity<'f>(&'f Field, u8, Vec<Wanted<'f>>);

impl Filter {
    /// Compiles the filter. Costs about its bytes.
    pub fn compile(&self) -> CompiledFilter {
        let mut compiler = Compiler::default();
        let root = compiler.node(self);
        let Compiler { columns, .. } = compiler;
        CompiledFilter { root, columns: columns.into_iter().map(Draft::finish).collect() }
    }
}

impl CompiledFilter {
    /// How its leaves are combined.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Its fields, each once.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A matcher that evaluates documents one by one.
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher { filter: self, scratch: self.columns.iter().map(|column| column.scratch()).collect() }
    }
}

/// State while a filter is compiled.
#[derive(Default)]
struct Compiler<'f> {
    columns: Vec<Draft<'f>>,
    by_field: HashMap<&'f Field, usize>,
    known: HashMap<Identity<'f>, (usize, usize)>,
}

/// A column in the making.
struct Draft<'f> {
    field: Field,
    leaves: Vec<Leaf>,
    equal: HashMap<Key, Bits>,
    members: HashMap<Key, Bits>,
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
            self.columns.push(Draft::of(field.clone()));
            self.columns.len() - 1
        });
        let leaf = self.columns[column].add(filter);
        self.known.insert(identity, (column, leaf));
        Node::Leaf { column, leaf }
    }
}

/// Equal for leaves that accept the same by the same comparison.
fn identity<'f>(field: &'f Field, leaf: &'f Filter) -> Identity<'f> {
    let (kind, mut values) = match leaf {
        Filter::In(_, wanted) => (0, wanted.iter().filter_map(|w| Wanted::of(w, field.is_time())).collect()),
        Filter::Number(_, op, x) => (1 + *op as u8, x.order_key().map(Wanted::Num).into_iter().collect()),
        Filter::Instant(_, op, t) => (5 + *op as u8, vec![Wanted::Time(*t)]),
        Filter::Contains(_, wanted) => (9, Wanted::of(wanted, false).into_iter().collect()),
        Filter::Prefix(_, prefix) => (10, vec![Wanted::Str(prefix)]),
        Filter::Match(_, words) => (11, vec![Wanted::Str(words.joined())]),
        Filter::Exists(_) | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => (12, Vec::new()),
    };
    values.sort_unstable();
    values.dedup();
    Identity(field, kind, values)
}

impl<'f> Wanted<'f> {
    /// `None` for what equals nothing: NaN, and what is no time where times are compared.
    fn of(scalar: &'f Scalar, times: bool) -> Option<Self> {
        match scalar {
            Scalar::Str(text) if times => Instant::parse(text).map(Wanted::Time),
            Scalar::Str(text) => Some(Wanted::Str(text)),
            Scalar::Num(x) => x.order_key().map(Wanted::Num),
            Scalar::Bool(b) => Some(Wanted::Bool(*b)),
        }
    }
}

impl From<Wanted<'_>> for Key {
    fn from(wanted: Wanted<'_>) -> Self {
        match wanted {
            Wanted::Str(text) => Key::Str(text.into()),
            Wanted::Num(key) => Key::Num(key),
            Wanted::Bool(b) => Key::Bool(b),
            Wanted::Time(instant) => Key::Time(instant),
        }
    }
}

impl<'f> Draft<'f> {
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

    /// Adds a leaf; gives its number.
    fn add(&mut self, leaf: &'f Filter) -> usize {
        let number = self.leaves.len();
        self.leaves.push(match leaf {
            Filter::In(field, wanted) => {
                for wanted in wanted.iter().filter_map(|w| Wanted::of(w, field.is_time())) {
                    set(self.equal.entry(wanted.into()).or_default(), number);
                }
                Leaf::In
            }
            Filter::Number(_, op, x) => Leaf::Number(*op, *x),
            Filter::Instant(_, op, t) => Leaf::Instant(*op, *t),
            Filter::Contains(_, wanted) => {
                if let Scalar::Str(text) = wanted {
                    set(self.substrings.entry(text).or_default(), number);
                }
                if let Some(wanted) = Wanted::of(wanted, false) {
                    set(self.members.entry(wanted.into()).or_default(), number);
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
            words: Words::new(&self.words),
        }
    }
}

/// Adds a leaf to a set. Leaves are added in ascending order.
fn set(bits: &mut Bits, leaf: usize) {
    let (block, mask) = ((leaf / 64) as u32, 1 << (leaf % 64));
    match bits.last_mut() {
        Some(last) if last.0 == block => last.1 |= mask,
        _ => bits.push((block, mask)),
    }
}

/// Numbers of the leaves in these.
fn numbers(bits: &[(u32, u64)]) -> impl Iterator<Item = usize> + '_ {
    bits.iter().flat_map(|(block, mask)| {
        (0..64).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| *block as usize * 64 + bit)
    })
}

/// Results of the leaves of one column.
#[derive(Clone, Default)]
struct Met(Vec<u64>);

impl Met {
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

/// Buffers that are reused from value to value.
#[derive(Default)]
struct Scratch {
    met: Met,
    words: Found,
    inside: Seen,
    /// Whether `met` belongs to the present document.
    fresh: bool,
}

/// A value as a column evaluates it.
#[derive(Clone, Copy)]
enum Val<'a> {
    Str(&'a str),
    Num(Number),
    Bool(bool),
}

impl<'a> From<&'a Scalar> for Val<'a> {
    fn from(scalar: &'a Scalar) -> Self {
        match scalar {
            Scalar::Str(text) => Val::Str(text),
            Scalar::Num(x) => Val::Num(*x),
            Scalar::Bool(b) => Val::Bool(*b),
        }
    }
}

/// Least and greatest of several values: if any value lies on one side of a bound, one of these does.
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
    /// The field.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// The comparisons, each once.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Values that leaves want to be equal to, with the numbers of those leaves. Not of times.
    pub fn equal(&self) -> impl Iterator<Item = (Wanted<'_>, impl Iterator<Item = usize> + '_)> {
        self.equal.iter().map(|(key, bits)| (key.wanted(), numbers(bits)))
    }

    /// The same for values that leaves want in a list.
    pub fn members(&self) -> impl Iterator<Item = (Wanted<'_>, impl Iterator<Item = usize> + '_)> {
        self.members.iter().map(|(key, bits)| (key.wanted(), numbers(bits)))
    }

    /// Whether leaves search strings for words or substrings.
    pub fn looks_inside(&self) -> bool {
        !self.words.is_empty() || !self.substrings.is_empty()
    }

    /// A scanner of strings for [`Column::looks_inside`]. It reports the leaves that each string satisfies, those of
    /// `contains` as if the string were the only value.
    pub fn reader(&self) -> impl FnMut(&str, &mut dyn FnMut(usize)) -> Result<(), Interrupted> {
        let mut scratch = self.scratch();
        move |text, visit| {
            let steps = self.look_inside(text, true, &mut scratch);
            scratch.met.drain(visit);
            checkpoint(steps)
        }
    }

    fn scratch(&self) -> Scratch {
        Scratch {
            met: Met::of(self.leaves.len()),
            words: self.words.found(),
            inside: self.substrings.seen(),
            fresh: false,
        }
    }

    /// Searches a string for words, and a string that is the only value for substrings. Returns the cost.
    fn look_inside(&self, text: &str, alone: bool, scratch: &mut Scratch) -> u64 {
        let Scratch { met, words, inside, .. } = scratch;
        let mut steps = 1;
        if !self.words.is_empty() {
            steps += self.words.look(text, words, |leaf| met.insert(leaf));
        }
        if alone && !self.substrings.is_empty() {
            steps += self.substrings.inside(text, inside, |bits| met.add(bits));
        }
        steps
    }

    /// Evaluates all leaves on a document.
    fn ask(&self, doc: &DocumentView<'_>, scratch: &mut Scratch) -> Result<(), Interrupted> {
        scratch.met.0.fill(0);
        scratch.fresh = true;
        let spelled;
        match &self.field {
            Field::Attribute(key) => match doc.attributes.get(key) {
                None => checkpoint(1),
                Some(AttrValue::One(value)) => self.values(std::iter::once(value.into()), true, scratch),
                Some(AttrValue::Many(list)) => self.values(list.iter().map(Val::from), false, scratch),
            },
            Field::Id => self.values(std::iter::once(Val::Str(doc.id)), true, scratch),
            Field::Uri if doc.uri.is_empty() => checkpoint(1),
            Field::Uri => self.values(std::iter::once(Val::Str(doc.uri)), true, scratch),
            Field::Status => self.values(std::iter::once(Val::Str(doc.status.as_str())), true, scratch),
            Field::CreatedAt | Field::UpdatedAt | Field::ExpiresAt => {
                let time = match self.field {
                    Field::CreatedAt => Some(doc.created_at),
                    Field::UpdatedAt => Some(doc.updated_at),
                    _ => doc.expires_at,
                };
                let Some(time) = time else { return checkpoint(1) };
                spelled = time.to_string();
                self.values(std::iter::once(Val::Str(&spelled)), true, scratch)
            }
        }
    }

    /// The values of a field that is present.
    fn values<'a>(
        &self,
        values: impl Iterator<Item = Val<'a>>,
        alone: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Interrupted> {
        let (mut numbers, mut instants) = (Extremes(None), Extremes(None));
        let times = self.field.is_time();
        for value in values {
            let mut steps = 8;
            let key = match value {
                Val::Str(text) => {
                    steps += text.len() as u64 + self.look_inside(text, alone, scratch);
                    if !self.prefixes.is_empty() {
                        self.prefixes.prefixes_of(text, |bits| scratch.met.add(bits));
                    }
                    let instant = if times || self.has_instants { Instant::parse(text) } else { None };
                    instant.filter(|_| self.has_instants).into_iter().for_each(|t| instants.add(t));
                    match instant {
                        Some(instant) if times => Some(Key::Time(instant)),
                        _ if times || (self.equal.is_empty() && (alone || self.members.is_empty())) => None,
                        _ => Some(Key::Str(text.into())),
                    }
                }
                Val::Num(x) => {
                    if self.has_numbers && !x.is_nan() {
                        numbers.add(x);
                    }
                    x.order_key().map(Key::Num)
                }
                Val::Bool(b) => Some(Key::Bool(b)),
            };
            if let Some(key) = key {
                let tables = [Some(&self.equal), Some(&self.members).filter(|_| !alone)];
                let bits = tables.into_iter().flatten().filter_map(|table| table.get(&key));
                bits.for_each(|bits| scratch.met.add(bits));
            }
            checkpoint(steps)?;
        }
        for (number, leaf) in self.leaves.iter().enumerate() {
            let met = match leaf {
                Leaf::Exists => true,
                Leaf::Number(op, x) => numbers.any(*op, x),
                Leaf::Instant(op, t) => instants.any(*op, t),
                Leaf::In | Leaf::Contains | Leaf::Prefix(_) | Leaf::Match => false,
            };
            if met {
                scratch.met.insert(number);
            }
        }
        checkpoint(self.leaves.len() as u64)
    }
}

/// A value that a leaf wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wanted<'a> {
    /// A string.
    Str(&'a str),
    /// A number, by [`Number::order_key`].
    Num((u64, u32)),
    /// True or false.
    Bool(bool),
    /// Of a field of times, an instant.
    Time(Instant),
}

impl Key {
    fn wanted(&self) -> Wanted<'_> {
        match self {
            Key::Str(text) => Wanted::Str(text),
            Key::Num(key) => Wanted::Num(*key),
            Key::Bool(b) => Wanted::Bool(*b),
            Key::Time(t) => Wanted::Time(*t),
        }
    }
}

/// A compiled filter that evaluates one document after another.
pub struct Matcher<'a> {
    filter: &'a CompiledFilter,
    scratch: Vec<Scratch>,
}

impl Matcher<'_> {
    /// Whether the filter accepts a document, as [`Filter::matches`] defines. A field is read once, when the first leaf
    /// on it is reached.
    ///
    /// # Errors
    /// The request was interrupted.
    pub fn matches(&mut self, doc: &DocumentView<'_>) -> Result<bool, Interrupted> {
        self.scratch.iter_mut().for_each(|scratch| scratch.fresh = false);
        let filter = self.filter;
        self.node(&filter.root, doc)
    }

    /// Reports the leaves of a column that a document satisfies.
    ///
    /// # Errors
    /// As [`Matcher::matches`].
    pub fn leaves(
        &mut self,
        column: usize,
        doc: &DocumentView<'_>,
        visit: impl FnMut(usize),
    ) -> Result<(), Interrupted> {
        let (Some(of), Some(scratch)) = (self.filter.columns.get(column), self.scratch.get_mut(column)) else {
            return Ok(());
        };
        of.ask(doc, scratch)?;
        scratch.met.drain(visit);
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
            Node::Leaf { column, leaf } => self.met(*column, *leaf, doc),
        }
    }

    fn met(&mut self, column: usize, leaf: usize, doc: &DocumentView<'_>) -> Result<bool, Interrupted> {
        let (Some(of), Some(scratch)) = (self.filter.columns.get(column), self.scratch.get_mut(column)) else {
            return Ok(false);
        };
        if !scratch.fresh {
            of.ask(doc, scratch)?;
        }
        Ok(scratch.met.has(leaf))
    }
}

#[cfg(test)]
mod tests;
