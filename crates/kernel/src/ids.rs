//! Typed identifiers: UUIDs of version 7 made by the server, never by a client.

/// A fresh id. Version 7 carries its time: an id is a name, never a secret.
#[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
pub fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// `typed_id!(BrandId)`: a UUID newtype for SQL, JSON, paths and the OpenAPI document.
#[macro_export]
macro_rules! typed_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
            sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(value_type = uuid::Uuid)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A fresh id.
            #[expect(clippy::new_without_default, reason = "an id has no default value")]
            pub fn new() -> Self {
                Self($crate::ids::new_id())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
