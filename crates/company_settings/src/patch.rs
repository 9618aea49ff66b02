//! From defaults, what is stored and what a request changes to the document, and back to what is stored.
//!
//! A request and what is stored have the same form: the settings that differ. They are merged as RFC 7396 has
//! it, so that null takes a choice back, of one setting or of a whole section.

use garde::Validate;
use kernel::error::{Error, Result};
use kernel::language::Language;
use kernel::patch::{Patch, patch_object};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::document::{CompanySettings, CurrencyDisplay, DecimalSeparator, GroupSeparator, Receivers};

macro_rules! patch {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Deserialize, Serialize, Validate, ToSchema)]
        $(#[$meta])*
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(default, skip_serializing_if = "Patch::is_kept")]
                #[garde(skip)]
                #[schema(value_type = Option<$type>)]
                $field: Patch<Option<$type>>,
            )*
        }
    };
}

patch! {
    /// What changes: an absent setting stays, null takes the default again.
    #[schema(example = json!({"language": "en", "numbers": {"decimals": 2}, "prices": null,
        "files": {"products": {"max_bytes": 5_242_880}}}))]
    SettingsPatch {
        language: Language,
        #[schema(example = "America/Bogota", max_length = 64)]
        time_zone: String,
        #[serde(deserialize_with = "patch_object")]
        numbers: NumbersPatch,
        #[serde(deserialize_with = "patch_object")]
        prices: PricesPatch,
        #[serde(deserialize_with = "patch_object")]
        files: FilesPatch,
        #[serde(deserialize_with = "patch_object")]
        retention: RetentionPatch,
        #[serde(deserialize_with = "patch_object")]
        notifications: NotificationsPatch,
    }
}

patch! {
    NumbersPatch {
        decimal_separator: DecimalSeparator,
        group_separator: GroupSeparator,
        #[schema(minimum = 0, maximum = 2)]
        decimals: u8,
    }
}

patch! {
    PricesPatch {
        tax_included: bool,
        currency: CurrencyDisplay,
    }
}

patch! {
    FilesPatch {
        #[serde(deserialize_with = "patch_object")]
        products: FileRulesPatch,
        #[serde(deserialize_with = "patch_object")]
        companies: FileRulesPatch,
        #[serde(deserialize_with = "patch_object")]
        users: FileRulesPatch,
        #[serde(deserialize_with = "patch_object")]
        other: FileRulesPatch,
    }
}

patch! {
    FileRulesPatch {
        #[schema(max_items = 20)]
        content_types: Vec<MediaType>,
        #[schema(minimum = 1, example = 5_242_880)]
        max_bytes: i64,
    }
}

/// One of those that the installation takes in the module.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(example = "image/jpeg")]
pub struct MediaType(String);

patch! {
    RetentionPatch {
        #[schema(minimum = 1, maximum = 3650)]
        deleted_files_days: u16,
    }
}

patch! {
    NotificationsPatch {
        infected_file: Receivers,
        storage_nearly_full: Receivers,
    }
}

/// What a company has chosen, as it is stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen(pub Map<String, Value>);

impl Chosen {
    /// The document that holds.
    ///
    /// # Errors
    /// When what is stored cannot be read, as after a later release has written it.
    pub fn over(&self, defaults: &CompanySettings) -> Result<CompanySettings> {
        let mut document = object(defaults)?;
        merge(&mut document, &self.0);
        let mut settings: CompanySettings =
            serde_json::from_value(Value::Object(document)).map_err(Error::internal)?;
        settings.files.narrow();
        Ok(settings)
    }

    /// What is chosen after a request.
    ///
    /// # Errors
    /// 422 with the values that may not be.
    pub fn patched(&self, patch: &SettingsPatch, defaults: &CompanySettings) -> Result<Chosen> {
        let defaults = object(defaults)?;
        let mut chosen = self.0.clone();
        merge(&mut chosen, &object(patch)?);
        let mut document = defaults.clone();
        merge(&mut document, &chosen);
        let settings: CompanySettings =
            serde_json::from_value(Value::Object(document)).map_err(Error::internal)?;
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        drop_defaults(&mut chosen, &defaults);
        Ok(Chosen(chosen))
    }
}

fn object(of: &impl Serialize) -> Result<Map<String, Value>> {
    match serde_json::to_value(of).map_err(Error::internal)? {
        Value::Object(object) => Ok(object),
        _ => Ok(Map::new()),
    }
}

/// RFC 7396.
fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match (target.get_mut(name), value) {
            (_, Value::Null) => {
                target.remove(name);
            }
            (Some(Value::Object(target)), Value::Object(patch)) => merge(target, patch),
            (_, Value::Object(patch)) => {
                let mut section = Map::new();
                merge(&mut section, patch);
                target.insert(name.clone(), Value::Object(section));
            }
            _ => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Takes out what is as the defaults have it, and sections that are empty then.
fn drop_defaults(chosen: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    chosen.retain(|name, value| match (value, defaults.get(name)) {
        (Value::Object(section), Some(Value::Object(defaults))) => {
            drop_defaults(section, defaults);
            !section.is_empty()
        }
        (value, default) => default != Some(value),
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Installation;

    fn patched(chosen: &Chosen, patch: Value) -> Result<Chosen> {
        let patch: SettingsPatch = serde_json::from_value(patch).expect("a patch");
        chosen.patched(&patch, &defaults(30))
    }

    fn defaults(deleted_files_days: u16) -> CompanySettings {
        CompanySettings::defaults(&Installation { deleted_files_days })
    }

    fn stored(chosen: &Chosen) -> Value {
        Value::Object(chosen.0.clone())
    }

    #[test]
    fn only_what_differs_is_stored_and_null_takes_it_back() {
        let nothing = Chosen::default();
        let whole = serde_json::to_value(defaults(30)).expect("a document");
        assert_eq!(
            stored(&patched(&nothing, whole).expect("all defaults")),
            json!({})
        );

        let change = json!({"language": "en", "numbers": {"decimals": 2, "group_separator": "."},
                            "files": {"products": {"max_bytes": 1000}}});
        let chosen = patched(&nothing, change).expect("a change");
        let expected =
            json!({"language": "en", "numbers": {"decimals": 2}, "files": {"products": {"max_bytes": 1000}}});
        assert_eq!(stored(&chosen), expected);

        let back = json!({"language": null, "numbers": {"decimals": null}});
        let chosen = patched(&chosen, back).expect("a change");
        assert_eq!(
            stored(&chosen),
            json!({"files": {"products": {"max_bytes": 1000}}})
        );
        let chosen = patched(&chosen, json!({"files": null})).expect("a change");
        assert_eq!(chosen, nothing);
    }

    #[test]
    fn new_defaults_reach_who_has_not_chosen() {
        let chosen = patched(&Chosen::default(), json!({"language": "en"})).expect("a change");
        let settings = chosen.over(&defaults(90)).expect("a document");
        assert_eq!(settings.retention.deleted_files_days, 90);
        assert_eq!(settings.language, Language::En);
    }

    #[test]
    fn what_a_later_release_stores_besides_does_no_harm() {
        let Value::Object(later) = json!({"language": "en", "invoices": {"prefix": "F"}}) else {
            unreachable!("an object")
        };
        let settings = Chosen(later).over(&defaults(30)).expect("a document");
        assert_eq!(settings.language, Language::En);
    }

    #[test]
    fn faults_are_told_where_they_are() {
        for (patch, expected) in [
            (json!({"time_zone": "America/Macondo"}), "/time_zone time-zone"),
            (json!({"numbers": {"decimals": 3}}), "/numbers/decimals range"),
            (
                json!({"numbers": {"group_separator": ","}}),
                "/numbers/group_separator same-separator",
            ),
            (
                json!({"numbers": {"decimal_separator": "."}}),
                "/numbers/group_separator same-separator",
            ),
            (
                json!({"retention": {"deleted_files_days": 0}}),
                "/retention/deleted_files_days range",
            ),
            (
                json!({"files": {"products": {"max_bytes": 15_728_641}}}),
                "/files/products/max_bytes range",
            ),
            (
                json!({"files": {"other": {"max_bytes": 0}}}),
                "/files/other/max_bytes range",
            ),
            (
                json!({"files": {"users": {"content_types": ["image/png", "application/pdf"]}}}),
                "/files/users/content_types/1 file-type-not-allowed",
            ),
            (
                json!({"files": {"users": {"content_types": ["image/png", "image/png"]}}}),
                "/files/users/content_types/1 unique",
            ),
            (
                json!({"files": {"users": {"content_types": vec!["image/png"; 21]}}}),
                "/files/users/content_types length",
            ),
        ] {
            let refused = patched(&Chosen::default(), patch).expect_err(expected);
            assert_eq!(refused.code(), "validation-failed");
            let shown = format!("{refused:?}");
            let (pointer, code) = expected.split_once(' ').expect("two words");
            assert!(
                shown.contains(&format!("{pointer:?}")) && shown.contains(&format!("{code:?}")),
                "{expected}: {shown}"
            );
        }
    }
}
