//! What can be told without the database: settings, secret, disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kernel::config::SAMPLE_SECRET;

use super::report::{Report, Verdict};
use crate::settings::Settings;

/// A full disk stops the database; below this it may stop within the day.
const SCARCE_MIB: u64 = 1024;
/// A new database needs about as much.
const TOO_LITTLE_MIB: u64 = 100;

pub(super) fn settings(settings: &Settings, report: &mut Report) {
    match settings.config.validate() {
        Ok(()) => {
            let environment = format!("{:?}", settings.config.environment).to_lowercase();
            report.ok("settings", format!("valid for ENVIRONMENT={environment}"));
        }
        Err(faults) => faults.iter().for_each(|fault| report.fail("settings", fault)),
    }
}

/// The secret of tokens and role passwords. A missing one is told by whoever needs it.
pub(super) fn secret(settings: &Settings, report: &mut Report) {
    let file = settings.data_dir.join("secret");
    match &settings.config.auth.app_secret_string {
        Some(secret) => report.add("secret", strength("APP_SECRET_STRING", secret)),
        None => {
            if let Ok(secret) = std::fs::read_to_string(&file) {
                report.add("secret", strength(&file.display().to_string(), &secret));
                privacy(&file, report);
            }
        }
    }
}

fn strength(source: &str, secret: &str) -> (Verdict, String) {
    const REPLACE: &str = "choose your own (openssl rand -hex 32)";
    if secret == SAMPLE_SECRET {
        (
            Verdict::Warn,
            format!("{source} is the guide's sample, which everybody knows: {REPLACE}"),
        )
    } else if secret.len() < 32 {
        (
            Verdict::Warn,
            format!(
                "{source} has {} bytes, at least 32 are safe: {REPLACE}",
                secret.len()
            ),
        )
    } else {
        (Verdict::Ok, format!("{source} has {} bytes", secret.len()))
    }
}

fn privacy(file: &Path, report: &mut Report) {
    let mode = file.metadata().map_or(0, |file| file.permissions().mode());
    if mode & 0o077 != 0 {
        let file = file.display();
        report.fail(
            "secret",
            format!("{file} can be read by other users: chmod 600 {file}, and make a new one if they did"),
        );
    }
}

/// Space for the embedded database: of the data directory, or of where it will be.
pub(super) fn disk(settings: &Settings, report: &mut Report) {
    let dir = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    let free = dir
        .ancestors()
        .find_map(|dir| rustix::fs::statvfs(dir).ok())
        .map(|fs| fs.f_bavail * fs.f_frsize / 1024 / 1024);
    match free {
        Some(mib) => report.add("disk", space(&settings.data_dir, mib)),
        None => report.warn(
            "disk",
            format!("the free space of {} cannot be told", dir.display()),
        ),
    }
}

fn space(dir: &Path, free_mib: u64) -> (Verdict, String) {
    let verdict = match free_mib {
        0..TOO_LITTLE_MIB => Verdict::Fail,
        TOO_LITTLE_MIB..SCARCE_MIB => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let advice = if verdict == Verdict::Ok {
        ""
    } else {
        ": free some space, a full disk stops the database"
    };
    (
        verdict,
        format!("{free_mib} MiB free in {}{advice}", dir.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_and_short_secrets_are_warned_of() {
        assert_eq!(strength("S", SAMPLE_SECRET).0, Verdict::Warn);
        assert_eq!(strength("S", &"x".repeat(31)).0, Verdict::Warn);
        let (verdict, text) = strength("S", &"x".repeat(32));
        assert_eq!(verdict, Verdict::Ok);
        assert!(!text.contains("xx"), "the secret is not shown: {text}");
    }

    #[test]
    fn scarce_space_warns_and_none_fails() {
        let verdict = |mib| space(Path::new("data"), mib).0;
        assert_eq!(
            [verdict(0), verdict(100), verdict(1023), verdict(1024)],
            [Verdict::Fail, Verdict::Warn, Verdict::Warn, Verdict::Ok]
        );
    }
}
