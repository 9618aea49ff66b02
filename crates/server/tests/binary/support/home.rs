//! A directory of one test, in memory where there is some, and the demo installation to copy into it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tempfile::TempDir;

use super::Program;

/// A test's own directory: the program's working directory, with its data directory `data` below.
/// When dropped it waits until no database server works there any more.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// Nothing in it.
    pub fn empty() -> Home {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let dir = TempDir::with_prefix_in("ally360-binary-", base).expect("a directory");
        // As root the database runs as another user, who must pass through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("permissions");
        Home { dir }
    }

    /// With a data directory that `ally360 dev` has filled.
    pub fn seeded() -> Home {
        let home = Home::empty();
        copy(&template(), &home.data());
        home
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// `ally360 ARGUMENTS` with this data directory, ports of its own choice, as many requests as a test sends
    /// and no other setting.
    pub fn program<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Program {
        let program = Program::new(arguments, self.path());
        let program = program
            .env("ALLY360_DATA_DIR", self.data())
            .env("ALLY360_LISTEN", "127.0.0.1:0")
            .env("ALLY360_RATE_LIMIT_PERCENT", "0");
        program.env("ALLY360_STORE_LISTEN", "127.0.0.1:0")
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).expect(name);
    }

    /// Connects to the running embedded server as its superuser.
    pub async fn connect(&self) -> PgConnection {
        let password = fs::read_to_string(self.data().join("postgres/ally360.password")).expect("a password");
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.data().join("postgres.run"))
            .port(5432)
            .username("ally_root")
            .password(password.trim())
            .database("ally_db");
        options.connect().await.expect("the embedded server answers")
    }

    /// Server processes that work in the data directory.
    pub fn database_processes(&self) -> Vec<u32> {
        let Ok(wanted) = fs::metadata(self.data().join("postgres")) else {
            return Vec::new();
        };
        let works_there = |pid: u32| {
            fs::metadata(format!("/proc/{pid}/cwd"))
                .is_ok_and(|cwd| (cwd.dev(), cwd.ino()) == (wanted.dev(), wanted.ino()))
        };
        let entries = fs::read_dir("/proc").expect("Linux").flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| works_there(*pid))
            .collect()
    }

    pub fn postmaster_pid(&self) -> u32 {
        let content = fs::read_to_string(self.data().join("postgres/postmaster.pid")).expect("a pid file");
        content
            .lines()
            .next()
            .expect("a first line")
            .parse()
            .expect("a pid")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let deadline = std::time::Instant::now() + Duration::from_secs(15);
        while !self.database_processes().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A seeded data directory, made once per build of the program and shared by all test processes.
fn template() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-installation");
    fs::create_dir_all(&place).expect("a directory");
    let built = fs::metadata(env!("CARGO_BIN_EXE_ally360")).expect("the program");
    let template = place.join(format!("{}-{}", built.mtime(), built.len()));
    let lock = File::create(place.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    if !template.exists() {
        for entry in fs::read_dir(&place)
            .expect("a directory")
            .flatten()
            .filter(|e| e.path().is_dir())
        {
            fs::remove_dir_all(entry.path()).expect("an older build's is removed");
        }
        let home = Home::empty();
        home.program(["dev"]).start().stop();
        let unfinished = place.join("unfinished");
        copy(&home.data(), &unfinished);
        fs::rename(unfinished, &template).expect("a rename");
    }
    template
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .expect("cp");
    assert!(status.success(), "{} is copied", from.display());
}
