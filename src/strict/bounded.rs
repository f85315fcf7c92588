//! Lists that end at their limit while they are read, and strings that are parsed at once: a body takes no memory for
//! elements that are refused anyway.

use kernel::{DocumentId, Error, NamespaceName, Principal, Scope};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// Beginning of the error for a list that is too long.
pub(super) const SURPLUS: &str = "may have at most ";
/// Beginning of the error for too many elements in all lists together.
pub(super) const TOO_MANY_IN_ALL: &str = "has more than ";

/// A list of at most `MAX` elements; one more ends the reading.
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while list.len() < MAX {
                    match elements.next_element()? {
                        Some(element) => list.push(element),
                        None => return Ok(List(list)),
                    }
                }
                elements.next_element_seed(Surplus(MAX))?;
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// Stands for one element too many.
pub(super) struct Surplus(pub(super) usize);

impl<'de> DeserializeSeed<'de> for Surplus {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(de::Error::custom(format_args!("{SURPLUS}{} members", self.0)))
    }
}

/// A string that is parsed into a name.
pub(crate) struct Parsed<T>(pub(crate) T);

/// A type that a string is parsed into.
pub(crate) trait Name: Sized {
    /// # Errors
    /// `invalid_request`, with a rule that holds nothing of the text.
    fn read(text: &str) -> Result<Self, Error>;
}

macro_rules! name {
    ($($name:ident),*) => {
        $(impl Name for $name {
            fn read(text: &str) -> Result<Self, Error> {
                $name::parse(text)
            }
        })*
    };
}
name!(DocumentId, NamespaceName, Principal, Scope);

impl<'de, T: Name> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: Name> Visitor<'_> for Text<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::read(text).map(Parsed).map_err(|error| E::custom(error.message))
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

impl<T, const MAX: usize> List<Parsed<T>, MAX> {
    /// The parsed values.
    pub(crate) fn names(self) -> Vec<T> {
        // The same bytes in the same place: a wrapper of one field takes no copy.
        self.0.into_iter().map(|Parsed(name)| name).collect()
    }
}

/// An object that may be present but empty. Its content is not kept.
pub(crate) struct Unread {
    /// Whether it has members.
    pub(crate) filled: bool,
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Unread;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unread, A::Error> {
                let mut filled = false;
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    filled = true;
                }
                Ok(Unread { filled })
            }
        }
        deserializer.deserialize_map(Members)
    }
}
