//! Creates the cluster, completely or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::Path;

use rand::Rng;

use crate::binaries::Binaries;
use crate::cluster::PASSWORD_FILE;
use crate::launcher::{Account, Launcher};
use crate::{SUPERUSER, StartError, leftovers, server_log};

/// How the names of the directories begin in which clusters are built.
const WORK_PREFIX: &str = "postgres.new-";

/// The same order of text on every host and every version of its C library; macOS has no C.UTF-8.
const LOCALE: &str = if cfg!(target_os = "macos") {
    "--locale=C"
} else {
    "--locale=C.UTF-8"
};

/// Creates the cluster `pgdata`, with a random password for its superuser in [`PASSWORD_FILE`]. It is built in a
/// directory beside it that is renamed at the end, so whoever is killed half-way leaves no half cluster.
pub(crate) async fn create(
    pgdata: &Path,
    binaries: &Binaries,
    launcher: &Launcher,
    account: Account,
    durable: bool,
) -> Result<(), StartError> {
    // A name of its own, because programs of a killed predecessor may still be writing below theirs.
    let data_dir = pgdata.parent().unwrap_or(pgdata);
    let work = data_dir.join(format!("{WORK_PREFIX}{:016x}", rand::rng().random::<u64>()));
    let result = create_in(&work, pgdata, binaries, launcher, account, durable).await;
    // Also a failed attempt holds space. Should it stay, the next start removes it.
    let _ = fs::remove_dir_all(&work);
    result
}

/// Removes what attempts that were killed left in `data_dir`. A failure only costs space until the next start.
pub(crate) async fn remove_remains(data_dir: &Path) {
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(WORK_PREFIX.as_bytes())
        {
            continue;
        }
        let ended = leftovers::end(&entry.path().join("cluster")).await;
        let removed = fs::remove_dir_all(entry.path()).map_err(StartError::at(&entry.path()));
        if let Err(error) = ended.and(removed) {
            tracing::warn!(%error, "an unfinished cluster remains");
        }
    }
}

async fn create_in(
    work: &Path,
    pgdata: &Path,
    binaries: &Binaries,
    launcher: &Launcher,
    account: Account,
    durable: bool,
) -> Result<(), StartError> {
    let at_work = StartError::at(work);
    DirBuilder::new().mode(0o700).create(work).map_err(&at_work)?;
    let (cluster, password) = (work.join("cluster"), work.join("password"));
    let mut password_file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&password)
        .map_err(&at_work)?;
    password_file
        .write_all(random_password().as_bytes())
        .and_then(|()| password_file.sync_all())
        .map_err(&at_work)?;
    for path in [work, &password] {
        chown(path, Some(account.uid), Some(account.gid)).map_err(&at_work)?;
    }

    let mut command = launcher.command(&binaries.program("initdb"), "KILL");
    command
        .arg("--pgdata")
        .arg(&cluster)
        .arg("--pwfile")
        .arg(&password);
    command.args([
        "--username",
        SUPERUSER,
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
    ]);
    command.args([
        "--encoding=UTF8",
        LOCALE,
        "--lc-messages=C",
        "--data-checksums",
        "--no-instructions",
    ]);
    if !durable {
        command.arg("--no-sync");
    }
    let mut command = tokio::process::Command::from(command);
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .map_err(StartError::at(&binaries.dir))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let known = StartError::from_output(&said, pgdata);
        return Err(known.unwrap_or_else(|| StartError::InitDb {
            reason: server_log::telling_line(&said),
        }));
    }

    // The password travels inside the cluster, so the two cannot be separated.
    fs::rename(&password, cluster.join(PASSWORD_FILE)).map_err(&at_work)?;
    sync_dir(&cluster)?;
    fs::rename(&cluster, pgdata).map_err(StartError::at(pgdata))?;
    sync_dir(pgdata.parent().unwrap_or(pgdata))
}

fn sync_dir(dir: &Path) -> Result<(), StartError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(StartError::at(dir))
}

/// 256 random bits as 64 hexadecimal digits.
fn random_password() -> String {
    let bits: [u128; 2] = rand::rng().random();
    format!("{:032x}{:032x}", bits[0], bits[1])
}
