//! Text as requests carry it.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// What `plain_text` accepts, for `pattern`: no control character except the line feed, none that turns text around,
/// and at least one character that can be seen.
const PLAIN_TEXT: &str = concat!(
    r"^[^\x00-\x09\x0B-\x1F\x7F-\x9F\u202A-\u202E\u2066-\u2069]*",
    r"[^\s\x00-\x1F\x7F-\x9F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF]",
    r"[^\x00-\x09\x0B-\x1F\x7F-\x9F\u202A-\u202E\u2066-\u2069]*$"
);

/// Zero-width characters, and those that change the direction of text.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Those with which text reads otherwise than it is written.
pub(crate) fn turns_text(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Schema of a field with the rules `length(chars, min = 1, max = MAX), custom(plain_text)`.
pub struct PlainText<const MAX: usize>;

impl<const MAX: usize> PartialSchema for PlainText<MAX> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX))
            .pattern(Some(PLAIN_TEXT))
            .into()
    }
}
impl<const MAX: usize> ToSchema for PlainText<MAX> {
    fn name() -> Cow<'static, str> {
        format!("PlainText{MAX}").into()
    }
}

/// A letter of Spanish without its accent; any other character as it is.
pub fn unaccented(c: char) -> char {
    match c {
        'á' => 'a',
        'é' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' | 'ü' => 'u',
        'ñ' => 'n',
        'Á' => 'A',
        'É' => 'E',
        'Í' => 'I',
        'Ó' => 'O',
        'Ú' | 'Ü' => 'U',
        'Ñ' => 'N',
        other => other,
    }
}

/// The `search` parameter of a list: at most 100 characters, blanks around it cut off.
pub struct SearchTerm(String);

impl SearchTerm {
    const MAX: usize = 100;

    /// The term; empty text finds everything.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SearchTerm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.chars().count() > Self::MAX {
            return Err(D::Error::custom("longer than 100 characters"));
        }
        Ok(SearchTerm(text.trim().to_owned()))
    }
}

impl PartialSchema for SearchTerm {
    fn schema() -> RefOr<Schema> {
        // No request can carry NUL to the database.
        ObjectBuilder::new()
            .schema_type(Type::String)
            .max_length(Some(Self::MAX))
            .pattern(Some(r"^[^\x00]*$"))
            .into()
    }
}
impl ToSchema for SearchTerm {}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error;

    use super::*;

    #[test]
    fn search_terms_are_trimmed_and_bounded() {
        let parse = |text: &str| SearchTerm::deserialize(IntoDeserializer::<Error>::into_deserializer(text));
        assert_eq!(parse(" café ").expect("term").as_str(), "café");
        assert_eq!(parse(" ").expect("blank").as_str(), "");
        assert!(parse(&"ñ".repeat(100)).is_ok());
        assert!(parse(&"ñ".repeat(101)).is_err());
    }
}
