//! What a PATCH body says of a field.

use garde::rules::inner::Inner;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::input::JsonObject;

/// A field of a PATCH body: absent keeps the value. `Patch<Option<T>>` can be cleared with null,
/// `Patch<T>` refuses null. Fields of this type carry `#[serde(default)]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Keep,
    Set(T),
}

impl<T> Patch<T> {
    /// Whether the body lacks the field.
    pub fn is_kept(&self) -> bool {
        !self.is_set()
    }

    /// Whether the body has the field.
    pub fn is_set(&self) -> bool {
        matches!(self, Patch::Set(_))
    }

    /// The new value, if any.
    pub fn value(&self) -> Option<&T> {
        match self {
            Patch::Keep => None,
            Patch::Set(value) => Some(value),
        }
    }
}

impl<T> Patch<Option<T>> {
    /// The new value; `None` when absent or cleared ([`is_set`](Patch::is_set) tells which).
    pub fn flat(&self) -> Option<&T> {
        self.value().and_then(Option::as_ref)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        T::deserialize(deserializer).map(Patch::Set)
    }
}

/// What is kept is to be left out: `skip_serializing_if = "Patch::is_kept"`.
impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<T> Inner<T> for Patch<T> {
    type Key = garde::error::NoKey;

    fn validate_inner<F: FnMut(&T, &Self::Key)>(&self, mut f: F) {
        if let Patch::Set(value) = self {
            f(value, &garde::error::NoKey::default());
        }
    }
}

impl<T: PartialSchema> PartialSchema for Patch<T> {
    fn schema() -> RefOr<Schema> {
        T::schema()
    }
}

impl<T: ToSchema> ToSchema for Patch<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        T::name()
    }
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

/// A struct of a PATCH body that null clears, as an object and nothing else:
/// `#[serde(deserialize_with = "patch_object")]`.
///
/// # Errors
/// When it is neither object nor null.
pub fn patch_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Patch<Option<T>>, D::Error> {
    let object: Option<JsonObject<T>> = Deserialize::deserialize(deserializer)?;
    Ok(Patch::Set(object.map(|JsonObject(value)| value)))
}
