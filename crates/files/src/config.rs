//! Settings of files.

use std::time::Duration;

use clap::Args;
use company_settings::{CompanySettings, Installation};

use crate::avatars;

/// Files: how long URLs work, how much room there is, how long things are kept.
#[derive(Args, Clone, Debug)]
pub struct FilesConfig {
    /// Seconds that an upload URL works
    #[arg(long, env = "ALLY360_UPLOAD_URL_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub upload_url_seconds: u32,
    /// Seconds that a download URL works
    #[arg(long, env = "ALLY360_DOWNLOAD_URL_SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub download_url_seconds: u32,
    /// Seconds that the URL of a picture stays the same, to be cached; it works so long at least and twice as long at most
    #[arg(long, env = "ALLY360_PICTURE_URL_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub picture_url_seconds: u32,
    /// Bytes that a company may keep, unless its plan says otherwise
    #[arg(long, env = "ALLY360_COMPANY_QUOTA_BYTES", default_value_t = 10 * 1024 * 1024 * 1024, value_parser = clap::value_parser!(i64).range(0..))]
    pub company_quota_bytes: i64,
    /// Seconds after which a stream of a file's events ends; the client then connects again
    #[arg(long, env = "ALLY360_FILE_EVENTS_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub file_events_seconds: u32,
    /// Uploads that a company may have open at once
    #[arg(long, env = "ALLY360_MAX_OPEN_UPLOADS", default_value_t = 500, value_parser = clap::value_parser!(i32).range(1..))]
    pub max_open_uploads: i32,
    /// Leave infected uploads in quarantine for a day instead of deleting them at once
    #[arg(long, env = "ALLY360_KEEP_INFECTED", value_parser = kernel::config::parse_bool, default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub keep_infected: bool,
    /// Days that a deleted file can be restored, unless its company's settings say otherwise
    #[arg(long, env = "ALLY360_DELETED_FILES_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub deleted_files_days: u16,
    /// Days after which an object that belongs to no file is deleted from the clean bucket
    #[arg(long, env = "ALLY360_ORPHAN_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub orphan_days: u16,
    /// Token with which the object store reports uploads, at least 32 bytes [default: it cannot]
    #[arg(long, env = "ALLY360_STORE_EVENT_TOKEN", hide_env_values = true, value_parser = kernel::config::parse_token)]
    pub store_event_token: Option<String>,
}

impl FilesConfig {
    /// What companies that have chosen nothing get.
    pub fn installation(&self) -> Installation {
        Installation {
            deleted_files_days: self.deleted_files_days,
        }
    }

    /// The most bytes that any upload may have.
    pub fn largest_upload(&self) -> u64 {
        let rules = CompanySettings::defaults(&self.installation()).files;
        let modules = rules.named().map(|(_, rules)| rules.max_bytes);
        let largest = modules.into_iter().fold(avatars::MAX_BYTES, i64::max);
        u64::try_from(largest).unwrap_or_default()
    }

    pub(crate) fn upload_url(&self) -> Duration {
        Duration::from_secs(self.upload_url_seconds.into())
    }

    pub(crate) fn download_url(&self) -> Duration {
        Duration::from_secs(self.download_url_seconds.into())
    }

    pub(crate) fn picture_url(&self) -> Duration {
        Duration::from_secs(self.picture_url_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        files: FilesConfig,
    }

    #[test]
    fn infected_uploads_are_kept_by_the_words_of_every_switch() {
        let kept = |args: &[&str]| {
            let cli = Cli::try_parse_from(std::iter::once(&"ally360").chain(args));
            cli.expect("settings").files.keep_infected
        };
        for words in [&["--keep-infected"][..], &["--keep-infected", "yes"]] {
            assert!(kept(words), "{words:?}");
        }
        for words in [&[][..], &["--keep-infected", "off"], &["--keep-infected="]] {
            assert!(!kept(words), "{words:?}");
        }
    }

    #[test]
    fn no_upload_is_larger_than_the_largest_file_of_any_module() {
        let cli = Cli::parse_from(["ally360"]);
        assert_eq!(cli.files.largest_upload(), 50 * 1024 * 1024);
    }
}
