//! What can be told without the database: settings, disk.

use std::path::{Path, PathBuf};

use super::report::{Report, Verdict};
use crate::settings::Settings;

/// A full disk stops the database; below this it may stop within the day.
const SCARCE_MIB: u64 = 1024;
/// A new database needs about as much.
const TOO_LITTLE_MIB: u64 = 100;

pub(super) fn settings(settings: &Settings, report: &mut Report) {
    match settings.validate() {
        Ok(()) => {
            let environment = format!("{:?}", settings.config.environment).to_lowercase();
            report.ok("settings", format!("valid for ENVIRONMENT={environment}"));
        }
        Err(faults) => faults.iter().for_each(|fault| report.fail("settings", fault)),
    }
}

/// Writing and space where this machine keeps something: below the data directory what is embedded, the database's log of
/// changes where it was put elsewhere, and the files that are being looked into.
pub(super) fn disk(settings: &Settings, embedded_database: bool, report: &mut Report) {
    let data = &settings.data_dir;
    let mut places = Vec::new();
    if embedded_database || settings.storage.is_embedded() {
        places.push((data.clone(), "a full disk stops database and uploads"));
    }
    let wal = data.join("postgres/pg_wal");
    if embedded_database && device(&wal) != device(data) {
        places.push((
            wal,
            "a full disk ends the database, and it does not start again before",
        ));
    }
    let temporary = std::env::temp_dir();
    if temporary.is_dir() {
        places.push((temporary, "files are copied here to be scanned"));
    } else {
        let text = "there is no directory {}, where files are copied to be scanned: make it, or set TMPDIR";
        report.fail("disk", text.replace("{}", &temporary.display().to_string()));
    }
    for (place, why) in places {
        if let Err(error) = writable(&place) {
            report.fail(
                "disk",
                format!("nothing can be written in {}: {error}", place.display()),
            );
            continue;
        }
        match free_mib(&place) {
            Some(mib) => report.add("disk", space(&place, mib, why)),
            None => report.warn(
                "disk",
                format!("the free space of {} cannot be told", place.display()),
            ),
        }
    }
}

/// Whether a file can be made there, by who asks; where the place is yet to come, in the directory above it.
fn writable(place: &Path) -> std::io::Result<()> {
    let dir = existing(place).ok_or(std::io::ErrorKind::NotFound)?;
    tempfile::tempfile_in(dir).map(drop)
}

/// The place, or where it will be.
fn existing(place: &Path) -> Option<PathBuf> {
    let place = std::path::absolute(place).ok()?;
    place.ancestors().find(|dir| dir.exists()).map(Path::to_owned)
}

fn free_mib(place: &Path) -> Option<u64> {
    let fs = rustix::fs::statvfs(&existing(place)?).ok()?;
    Some(fs.f_bavail * fs.f_frsize / 1024 / 1024)
}

fn device(place: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(existing(place)?.metadata().ok()?.dev())
}

fn space(dir: &Path, free_mib: u64, why: &str) -> (Verdict, String) {
    let verdict = match free_mib {
        0..TOO_LITTLE_MIB => Verdict::Fail,
        TOO_LITTLE_MIB..SCARCE_MIB => Verdict::Warn,
        _ => Verdict::Ok,
    };
    let advice = if verdict == Verdict::Ok {
        String::new()
    } else {
        format!(": free some space, {why}")
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
    fn scarce_space_warns_and_none_fails() {
        let verdict = |mib| space(Path::new("data"), mib, "because").0;
        assert_eq!(
            [verdict(0), verdict(100), verdict(1023), verdict(1024)],
            [Verdict::Fail, Verdict::Warn, Verdict::Warn, Verdict::Ok]
        );
    }

    #[test]
    fn a_directory_that_is_to_come_has_the_space_of_the_one_above_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let to_come = dir.path().join("data/postgres/pg_wal");
        assert_eq!(device(&to_come), device(dir.path()));
        assert!(free_mib(&to_come).is_some());
        assert_ne!(device(Path::new("/proc")), device(dir.path()));
        assert!(writable(&to_come).is_ok());
        assert!(writable(Path::new("/proc/x")).is_err(), "not even root");
    }
}
