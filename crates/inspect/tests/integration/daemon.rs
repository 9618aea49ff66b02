//! The real clamd, with a signature database of one line.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What its one signature finds.
pub const MALWARE: &[u8] = b"ally360 test malware";

/// A clamd of this test; ends when dropped.
pub struct Daemon {
    command: PathBuf,
    directory: TempDir,
    process: Child,
}

impl Daemon {
    /// `None` without clamd on this host, which only continuous integration takes for an error.
    pub fn start(settings: &str) -> Option<Self> {
        let Some(command) = find_command("clamd") else {
            assert!(
                std::env::var_os("CI").is_none(),
                "clamd not found: install the Debian package clamav-daemon"
            );
            eprintln!("skipped: clamd not found (Debian package clamav-daemon)");
            return None;
        };
        let directory = TempDir::with_prefix("clamd").expect("a directory");
        let path = directory.path();
        let hex: String = MALWARE.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(path.join("test.ndb"), format!("Ally360.Test:0:*:{hex}\n")).expect("written");
        let config = format!(
            "Foreground yes\nLocalSocket {0}/socket\nDatabaseDirectory {0}\nAlertExceedsMax yes\nAlertEncrypted yes\n{settings}",
            path.display()
        );
        std::fs::write(path.join("clamd.conf"), config).expect("written");
        let process = spawn(&command, path);
        Some(Self {
            command,
            directory,
            process,
        })
    }

    /// For `CLAMD_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("own child");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill().expect("own child");
        self.process.wait().expect("own child");
    }

    /// Starts it again after [`kill`](Daemon::kill).
    pub fn restart(&mut self) {
        let socket = self.directory.path().join("socket");
        std::fs::remove_file(socket).expect("the old socket");
        self.process = spawn(&self.command, self.directory.path());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Returns when it answers.
fn spawn(command: &Path, directory: &Path) -> Child {
    let process = Command::new(command)
        .arg(format!("--config-file={}/clamd.conf", directory.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("clamd starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while UnixStream::connect(directory.join("socket")).is_err() {
        assert!(Instant::now() < deadline, "clamd listens within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

/// The command's path in the usual directories of daemons.
fn find_command(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/opt/homebrew/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
}
