//! Lists whose parsing ends at their limit, and strings that are parsed immediately: a body takes no memory for
//! elements that are refused anyway.

use kernel::{DocumentId, Error, NamespaceName, Principal, Scope};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{fmt, marker::PhantomData};

/// Beginning of the error for a list that is too long.
pub(super) const SURPLUS: &str = "may have at most ";
/// Beginning of the error for too many elements in all lists together.
pub(super) const TOO_MANY_IN_ALL: &str = "has more than ";

/// A list of at most `MAX` elements; one more is an error that ends the parsing.
#[derive(Serialize)]
pub struct BoundedList<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> FromIterator<T> for BoundedList<T, MAX> {
    /// A list to send. The server refuses more than `MAX` elements.
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedList<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = BoundedList<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while list.len() < MAX {
                    match elements.next_element()? {
                        Some(element) => list.push(element),
                        None => return Ok(BoundedList(list)),
                    }
                }
                // One more element is an error; otherwise the list ends here.
                elements.next_element_seed(Surplus(MAX))?;
                Ok(BoundedList(list))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// Seed of one surplus element, which always fails.
pub(super) struct Surplus(pub(super) usize);

impl<'de> DeserializeSeed<'de> for Surplus {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Err(de::Error::custom(format_args!("{SURPLUS}{} members", self.0)))
    }
}

/// A string that is parsed into a name.
pub struct Parsed<T>(pub T);

/// A type that a string is parsed into.
pub trait ParseName: Sized {
    /// # Errors
    /// `invalid_request`, with a rule that quotes nothing of the text.
    fn read(text: &str) -> Result<Self, Error>;
    /// The text that is parsed into this name.
    fn text(&self) -> &str;
}

macro_rules! name {
    ($($name:ident),*) => {
        $(impl ParseName for $name {
            fn read(text: &str) -> Result<Self, Error> {
                $name::parse(text)
            }

            fn text(&self) -> &str {
                self.as_str()
            }
        })*
    };
}
name!(DocumentId, NamespaceName, Principal, Scope);

impl<T: ParseName> Serialize for Parsed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.text())
    }
}

impl<'de, T: ParseName> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoundedText<T>(PhantomData<T>);
        impl<T: ParseName> Visitor<'_> for BoundedText<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::read(text).map(Parsed).map_err(|error| E::custom(error.message))
            }
        }
        deserializer.deserialize_str(BoundedText(PhantomData))
    }
}

impl<T, const MAX: usize> BoundedList<Parsed<T>, MAX> {
    /// The parsed values.
    pub fn names(self) -> Vec<T> {
        // The wrapper has one field, so the elements stay in the same allocation and nothing is copied.
        self.0.into_iter().map(|Parsed(name)| name).collect()
    }
}

/// An object that may be present but must be empty. Its content is not kept.
pub struct IgnoredObject {
    /// Whether the object has members.
    pub has_members: bool,
}

impl Serialize for IgnoredObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<((), ())>())
    }
}

impl<'de> Deserialize<'de> for IgnoredObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = IgnoredObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<IgnoredObject, A::Error> {
                let mut has_members = false;
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    has_members = true;
                }
                Ok(IgnoredObject { has_members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}
