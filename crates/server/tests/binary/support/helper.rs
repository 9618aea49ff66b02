//! Servers of other people that stand around ours: balancer, pooler.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::getuid;

/// A running one; ended when dropped.
pub struct Helper {
    command: Command,
    process: Child,
}

impl Helper {
    /// `None` without the program on this host, which only continuous integration takes for an error.
    pub fn find(program: &str) -> Option<Command> {
        let directories = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/opt/homebrew/bin"];
        let paths = directories
            .iter()
            .map(|directory| Path::new(directory).join(program));
        let found: Option<PathBuf> = paths.into_iter().find(|path| path.exists());
        if found.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{program} not found: install the Debian package of that name"
            );
            eprintln!("skipped: {program} not found (Debian package of that name)");
        }
        found.map(Command::new)
    }

    /// Starts it.
    pub fn start(mut command: Command) -> Helper {
        // What it says against its settings is shown with a test that fails.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().expect("it starts");
        Helper { command, process }
    }

    /// Makes the command run as the owner of the path when we are root.
    pub fn run_as_owner_of(path: &str, command: &mut Command) {
        let owner = std::fs::metadata(path).expect("a path");
        if getuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.process.kill().expect("own child");
        self.process.wait().expect("own child");
    }

    /// Starts it again after [`kill9`](Helper::kill9).
    pub fn restart(&mut self) {
        self.process = self.command.spawn().expect("it starts");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
