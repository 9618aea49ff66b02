//! What may be uploaded: media types and sizes per module, as the installation takes them and as a company
//! narrows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const MIB: i64 = 1024 * 1024;

/// Types of pictures that browsers show.
pub const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/webp", "image/gif"];
const DOCUMENTS: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "application/pdf",
    "text/csv",
    "text/plain",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/zip",
];

/// What the files of a module may be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct FileRules {
    /// Media types; none at all takes no files.
    #[schema(example = json!(["image/jpeg", "image/webp"]))]
    pub content_types: Vec<String>,
    /// Largest file in bytes; a plan may allow less.
    #[schema(example = 5_242_880)]
    pub max_bytes: i64,
}

impl FileRules {
    fn of(content_types: &[&str], max_bytes: i64) -> FileRules {
        FileRules {
            content_types: content_types.iter().map(|&name| name.to_owned()).collect(),
            max_bytes,
        }
    }

    /// No more than the installation takes, whatever was chosen when it took more.
    fn narrow(&mut self, installation: &FileRules) {
        self.content_types
            .retain(|name| installation.content_types.contains(name));
        self.max_bytes = self.max_bytes.min(installation.max_bytes);
    }
}

/// Files by module.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub struct FileSettings {
    pub products: FileRules,
    pub companies: FileRules,
    pub users: FileRules,
    /// Every other module.
    pub other: FileRules,
}

impl FileSettings {
    /// What the installation takes, the most that a company can.
    pub fn installation() -> FileSettings {
        let pictures = || FileRules::of(PICTURES, 15 * MIB);
        FileSettings {
            products: pictures(),
            companies: pictures(),
            users: pictures(),
            other: FileRules::of(DOCUMENTS, 50 * MIB),
        }
    }

    /// The rules of a module.
    pub fn rules(&self, module: &str) -> &FileRules {
        match module {
            "products" => &self.products,
            "companies" => &self.companies,
            "users" => &self.users,
            _ => &self.other,
        }
    }

    /// No more than the installation takes.
    pub fn narrow(&mut self) {
        let installation = FileSettings::installation();
        self.products.narrow(&installation.products);
        self.companies.narrow(&installation.companies);
        self.users.narrow(&installation.users);
        self.other.narrow(&installation.other);
    }

    /// Every module's rules by its name.
    pub fn named(&self) -> [(&'static str, &FileRules); 4] {
        ["products", "companies", "users", "other"].map(|name| (name, self.rules(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_installation_takes_no_more_a_company_does_not_take_either() {
        let mut files = FileSettings::installation();
        files.products = FileRules::of(&["image/png", "image/tiff"], 99 * MIB);
        files.narrow();
        assert_eq!(files.products, FileRules::of(&["image/png"], 15 * MIB));
        assert_eq!(files.other, FileSettings::installation().other);
    }
}
