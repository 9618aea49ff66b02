//! Ends server processes of a predecessor that was killed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::StartError;

/// Ends every server process that works on `pgdata` and removes the pid file they leave. The caller holds the data
/// directory's lock, so whoever still works there has lost its supervisor. Without /proc nothing is done and
/// PostgreSQL's own check of its pid file decides.
pub(crate) async fn end(pgdata: &Path) -> Result<(), StartError> {
    if !Path::new("/proc/self").exists() || !pgdata.exists() {
        return Ok(());
    }
    let running = processes(pgdata);
    let postmaster = postmaster_pid(pgdata).filter(|pid| running.contains(pid));
    if let Some(postmaster) = postmaster {
        tracing::info!(
            pid = postmaster.as_raw_pid(),
            "shutting down the PostgreSQL server of a killed predecessor"
        );
        let _ = kill_process(postmaster, Signal::INT);
        wait_until_gone(pgdata, Duration::from_secs(10)).await;
    }
    // Backends without a postmaster: QUIT ends them at once, KILL those that are stuck. The shared memory they share
    // is thrown away, and what was committed is in the log.
    for signal in [Signal::QUIT, Signal::KILL] {
        let stuck = processes(pgdata);
        if stuck.is_empty() {
            break;
        }
        for pid in stuck {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, signal);
        }
        wait_until_gone(pgdata, Duration::from_secs(3)).await;
    }
    if let Some(pid) = processes(pgdata).first() {
        return Err(StartError::Leftover {
            pid: pid.as_raw_pid(),
            dir: pgdata.to_owned(),
        });
    }
    // The pid in it may belong to an unrelated process by now, which would make the server refuse to start.
    let pid_file = pgdata.join("postmaster.pid");
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StartError::at(&pid_file)(error)),
        _ => Ok(()),
    }
}

async fn wait_until_gone(pgdata: &Path, limit: Duration) {
    let deadline = Instant::now() + limit;
    while !processes(pgdata).is_empty() && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

fn postmaster_pid(pgdata: &Path) -> Option<Pid> {
    let content = fs::read_to_string(pgdata.join("postmaster.pid")).ok()?;
    parse_pid(content.lines().next()?)
}

/// A server in single-user mode, as initdb starts, writes its pid negated: it is no postmaster to shut down.
fn parse_pid(text: &str) -> Option<Pid> {
    let raw = text.trim().parse().ok().filter(|raw| *raw > 0)?;
    Pid::from_raw(raw)
}

/// The living server processes on `pgdata`, told by their program's name and their working directory (which a
/// server process always has there), or by the command line where the kernel hides the former from us.
fn processes(pgdata: &Path) -> Vec<Pid> {
    let Ok(wanted) = fs::metadata(pgdata) else {
        return Vec::new();
    };
    let works_there = |process: &Path| {
        if !fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "postgres") {
            return false;
        }
        match fs::metadata(process.join("cwd")) {
            Ok(cwd) => cwd.dev() == wanted.dev() && cwd.ino() == wanted.ino(),
            Err(_) => fs::read(process.join("cmdline")).is_ok_and(|arguments| {
                arguments
                    .split(|byte| *byte == 0)
                    .any(|argument| argument == pgdata.as_os_str().as_encoded_bytes())
            }),
        }
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
        .filter(|pid| works_there(&Path::new("/proc").join(pid.as_raw_pid().to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Pid, parse_pid};

    #[test]
    fn only_positive_numbers_are_pids() {
        assert_eq!(parse_pid("123\n").map(Pid::as_raw_pid), Some(123));
        for text in ["-123", "0", "", "self", "99999999999"] {
            assert_eq!(parse_pid(text), None, "{text}");
        }
    }
}
