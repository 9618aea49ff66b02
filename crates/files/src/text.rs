//! Text as requests carry it.

use std::borrow::Cow;

use kernel::prelude::plain_text;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A garde rule: text of one line with a visible character.
///
/// # Errors
/// `blank` or `control-character`.
pub(crate) fn one_line(value: impl AsRef<str>, context: &()) -> garde::Result {
    if value.as_ref().contains('\n') {
        return Err(garde::Error::new(
            "control-character: must not contain control characters",
        ));
    }
    plain_text(value, context)
}

/// Schema of a field with the rules `length(chars, min = 1, max = MAX), custom(one_line)`.
pub(crate) struct Line<const MAX: usize>;

impl<const MAX: usize> PartialSchema for Line<MAX> {
    fn schema() -> RefOr<Schema> {
        text(
            MAX,
            r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$",
        )
        .min_length(Some(1))
        .into()
    }
}
impl<const MAX: usize> ToSchema for Line<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Line{MAX}").into()
    }
}

/// Schema of a field with the rules `length(chars, min = 1, max = MAX), custom(plain_text)`.
pub(crate) struct Lines<const MAX: usize>;

impl<const MAX: usize> PartialSchema for Lines<MAX> {
    fn schema() -> RefOr<Schema> {
        text(
            MAX,
            r"^[^\x00-\x09\x0B-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x09\x0B-\x1F\x7F-\x9F]*$",
        )
        .min_length(Some(1))
        .into()
    }
}
impl<const MAX: usize> ToSchema for Lines<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Lines{MAX}").into()
    }
}

/// A text parameter of the query: at most 100 characters.
pub(crate) struct Term(String);

impl Term {
    const MAX: usize = 100;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > Self::MAX {
            return Err(D::Error::custom("longer than 100 characters"));
        }
        Ok(Term(text))
    }
}

impl PartialSchema for Term {
    fn schema() -> RefOr<Schema> {
        // No request can carry NUL to the database.
        text(Self::MAX, r"^[^\x00]*$").into()
    }
}
impl ToSchema for Term {}

fn text(max: usize, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(max))
        .pattern(Some(pattern))
}
