//! The document: every setting, its default, and what it may be.

use kernel::error::FieldError;
use kernel::etag::Versioned;
use kernel::language::Language;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time_zones::time_zone_name;
use crate::uploads::{FileRules, FileSettings};

/// Where a company is unless it says otherwise.
pub const DEFAULT_TIME_ZONE: &str = "America/Bogota";

/// Of one list.
const MOST_CONTENT_TYPES: usize = 20;

/// What the installation decides of the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Installation {
    pub deleted_files_days: u16,
}

/// The settings of a company as they hold: its own where it has chosen, defaults elsewhere.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct CompanySettings {
    /// Of mails to people who have not chosen one, such as invitations.
    pub language: Language,
    /// IANA. Times in the company's mails are of it; clients show times in it.
    #[schema(example = "America/Bogota")]
    pub time_zone: String,
    pub numbers: Numbers,
    pub prices: Prices,
    /// What may be uploaded, by module; never more than the installation takes.
    pub files: FileSettings,
    pub retention: Retention,
    pub notifications: Notifications,
    #[serde(skip)]
    pub version: i64,
}

/// How clients write numbers. The API itself always speaks of decimals with a point.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Numbers {
    pub decimal_separator: DecimalSeparator,
    pub group_separator: GroupSeparator,
    /// Decimals that amounts of money are shown with.
    #[schema(minimum = 0, maximum = 2, example = 0)]
    pub decimals: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub enum DecimalSeparator {
    #[serde(rename = ",")]
    Comma,
    #[serde(rename = ".")]
    Point,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub enum GroupSeparator {
    #[serde(rename = ".")]
    Point,
    #[serde(rename = ",")]
    Comma,
    #[serde(rename = " ")]
    Space,
    #[serde(rename = "'")]
    Apostrophe,
    #[serde(rename = "")]
    None,
}

/// How clients show prices to customers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Prices {
    /// Whether prices are shown with taxes included.
    pub tax_included: bool,
    pub currency: CurrencyDisplay,
}

/// What stands beside an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CurrencyDisplay {
    /// `$`.
    Symbol,
    /// `COP`.
    Code,
    None,
}

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Retention {
    /// Days that a deleted file can be restored; it takes room until then.
    #[schema(minimum = 1, maximum = 3650, example = 30)]
    pub deleted_files_days: u16,
}

/// Who is told by mail.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
pub struct Notifications {
    /// Of an upload with malware, besides who uploaded it; `nobody` spares him as well.
    pub infected_file: Receivers,
    /// When nine tenths of the company's room for files are taken.
    pub storage_nearly_full: Receivers,
}

/// Members of the company who get a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Receivers {
    Owners,
    /// Owners and administrators.
    Managers,
    Nobody,
}

impl Receivers {
    /// Their roles.
    pub fn roles(self) -> &'static [&'static str] {
        match self {
            Receivers::Owners => &["owner"],
            Receivers::Managers => &["owner", "admin"],
            Receivers::Nobody => &[],
        }
    }
}

impl Versioned for CompanySettings {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        "/company/settings".to_owned()
    }
}

impl CompanySettings {
    /// What holds for a company that has chosen nothing.
    pub fn defaults(installation: &Installation) -> CompanySettings {
        CompanySettings {
            language: Language::default(),
            time_zone: DEFAULT_TIME_ZONE.to_owned(),
            numbers: Numbers {
                decimal_separator: DecimalSeparator::Comma,
                group_separator: GroupSeparator::Point,
                decimals: 0,
            },
            prices: Prices {
                tax_included: true,
                currency: CurrencyDisplay::Symbol,
            },
            files: FileSettings::installation(),
            retention: Retention {
                deleted_files_days: installation.deleted_files_days,
            },
            notifications: Notifications {
                infected_file: Receivers::Owners,
                storage_nearly_full: Receivers::Managers,
            },
            version: 0,
        }
    }

    /// What is wrong with values of the right form. Defaults are right, so a fault is of something chosen.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut fault = |wrong: bool, pointer: &str, code: &str, detail: &str| {
            if wrong {
                faults.push(FieldError::body(pointer, code, detail));
            }
        };
        let zone = time_zone_name(&self.time_zone);
        fault(
            zone.is_none(),
            "/time_zone",
            "time-zone",
            "must be an IANA time zone such as America/Bogota",
        );
        let numbers = &self.numbers;
        fault(numbers.decimals > 2, "/numbers/decimals", "range", "at most 2");
        let same = matches!(
            (numbers.decimal_separator, numbers.group_separator),
            (DecimalSeparator::Comma, GroupSeparator::Comma)
                | (DecimalSeparator::Point, GroupSeparator::Point)
        );
        let differ = "must differ from the decimal separator";
        fault(same, "/numbers/group_separator", "same-separator", differ);
        let days = self.retention.deleted_files_days;
        fault(
            !(1..=3650).contains(&days),
            "/retention/deleted_files_days",
            "range",
            "1 to 3650",
        );
        let installation = FileSettings::installation();
        for (module, rules) in self.files.named() {
            wider(module, rules, installation.rules(module), &mut fault);
        }
        faults
    }
}

fn wider(module: &str, rules: &FileRules, most: &FileRules, fault: &mut impl FnMut(bool, &str, &str, &str)) {
    let range = format!("1 to {}", most.max_bytes);
    let fits = (1..=most.max_bytes).contains(&rules.max_bytes);
    fault(!fits, &format!("/files/{module}/max_bytes"), "range", &range);
    let pointer = format!("/files/{module}/content_types");
    // Before a look at each: what is compared with all others must be few.
    if rules.content_types.len() > MOST_CONTENT_TYPES {
        let detail = format!("at most {MOST_CONTENT_TYPES}");
        return fault(true, &pointer, "length", &detail);
    }
    let taken = format!("taken are {}", most.content_types.join(", "));
    for (i, name) in rules.content_types.iter().enumerate() {
        let pointer = format!("{pointer}/{i}");
        fault(
            !most.content_types.contains(name),
            &pointer,
            "file-type-not-allowed",
            &taken,
        );
        let repeated = rules.content_types[..i].contains(name);
        fault(repeated, &pointer, "unique", "must name each once");
    }
}
