//! Permissions: types that a handler names in its arguments.

/// A permission as a type; `permissions!` makes them.
pub trait Permission: Send + Sync + 'static {
    /// Stable name, `noun.verb`.
    const NAME: &'static str;
    /// The transaction may only read.
    const READ_ONLY: bool;
}

/// Declares the permissions of a module and `PERMISSIONS`, the list of their names.
///
/// ```
/// kernel::permissions! {
///     /// See brands.
///     BrandsRead = "brands.read", read_only;
///     /// Create, change and delete brands.
///     BrandsWrite = "brands.write";
/// }
/// assert_eq!(PERMISSIONS, ["brands.read", "brands.write"]);
/// ```
#[macro_export]
macro_rules! permissions {
    ($($(#[$meta:meta])* $name:ident = $value:literal $(, $read_only:ident)?;)*) => {
        $(
            $(#[$meta])*
            pub struct $name;
            impl $crate::perm::Permission for $name {
                const NAME: &'static str = $value;
                const READ_ONLY: bool = $crate::permissions!(@read_only $($read_only)?);
            }
        )*
        /// Names of the permissions declared here.
        pub const PERMISSIONS: &[&str] = &[$($value),*];
    };
    (@read_only read_only) => { true };
    (@read_only) => { false };
}

permissions! {
    /// Held by nobody: for examples and tests of the kernel.
    Nothing = "nothing";
}
