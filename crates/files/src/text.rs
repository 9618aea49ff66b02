//! Text of one line.

use std::borrow::Cow;

use kernel::prelude::plain_text;
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
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX))
            .pattern(Some(
                r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$",
            ))
            .into()
    }
}
impl<const MAX: usize> ToSchema for Line<MAX> {
    fn name() -> Cow<'static, str> {
        format!("Line{MAX}").into()
    }
}
