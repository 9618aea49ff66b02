//! Starts PostgreSQL's programs: as whom, with which environment, and how they end when we end.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::StartError;

/// The user a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Whom the server runs as when we are root: `postgres`, or `nobody` where that does not exist.
    pub(crate) fn unprivileged() -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::lookup(&passwd, "postgres")
            .or_else(|| Self::lookup(&passwd, "nobody"))
            .unwrap_or(Self {
                uid: 65_534,
                gid: 65_534,
            })
    }

    fn lookup(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }
}

/// How programs are started.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// Whether `setpriv` is there. Without it (not on Linux) a server outlives a killed parent until the next start.
    setpriv: bool,
    /// The user to become; `None` stays who we are.
    account: Option<Account>,
    /// Whether directories closed to that user (a checkout below /root) are opened to it by CAP_DAC_READ_SEARCH.
    read_search: bool,
}

impl Launcher {
    /// A launcher for ourselves.
    pub(crate) fn for_us() -> Self {
        let with_setpriv = Self {
            setpriv: true,
            account: None,
            read_search: false,
        };
        Self {
            setpriv: with_setpriv.succeeds(&mut with_setpriv.command(Path::new("true"), "KILL")),
            ..with_setpriv
        }
    }

    /// A launcher for `account`, for which we are root; `paths` are what it must reach.
    pub(crate) fn for_account(account: Account, paths: &[PathBuf]) -> Result<Self, StartError> {
        let plain = Self {
            setpriv: true,
            account: Some(account),
            read_search: false,
        };
        if !plain.succeeds(&mut plain.command(Path::new("true"), "KILL")) {
            return Err(StartError::NoSetpriv);
        }
        let capable = Self {
            read_search: true,
            ..plain
        };
        let mut launcher = plain;
        for path in paths {
            if launcher.reaches(path) {
                continue;
            }
            if !capable.reaches(path) {
                return Err(StartError::Unreachable {
                    path: path.clone(),
                    uid: account.uid,
                });
            }
            launcher = capable.clone();
        }
        Ok(launcher)
    }

    fn reaches(&self, path: &Path) -> bool {
        // By stat(2): access(2), as in `test -x`, leaves capabilities out of account.
        self.succeeds(self.command(Path::new("test"), "KILL").arg("-e").arg(path))
    }

    fn succeeds(&self, command: &mut Command) -> bool {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// `program` with no environment of ours, in a process group of its own (an interrupt typed at the terminal is
    /// for us to handle), and to be sent the signal `on_parent_death` when the thread that starts it ends.
    pub(crate) fn command(&self, program: &Path, on_parent_death: &str) -> Command {
        let mut command;
        if self.setpriv {
            command = Command::new("setpriv");
            command.arg(format!("--pdeathsig={on_parent_death}"));
            if let Some(Account { uid, gid }) = self.account {
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"));
                command.args(["--clear-groups", "--no-new-privs"]);
                command.args(match self.read_search {
                    true => [
                        "--inh-caps=-all,+dac_read_search",
                        "--ambient-caps=-all,+dac_read_search",
                    ],
                    false => ["--inh-caps=-all", "--ambient-caps=-all"],
                });
            }
            command.arg("--").arg(program);
        } else {
            command = Command::new(program);
        }
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.current_dir("/").stdin(Stdio::null()).process_group(0);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_by_their_whole_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\npostgres:x:101:104:,,,:/:/bin/sh\n";
        assert_eq!(
            Account::lookup(passwd, "postgres"),
            Some(Account { uid: 101, gid: 104 })
        );
        assert_eq!(Account::lookup(passwd, "nobody"), None);
    }
}
