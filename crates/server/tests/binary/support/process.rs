//! The program as a child process.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest time for a start with an empty data directory, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Longest time for any end.
const END: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} took longer than {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program with arguments, a clean environment and a working directory.
pub struct Program {
    command: Command,
    stderr: Option<File>,
}

impl Program {
    pub fn new<'a>(arguments: impl IntoIterator<Item = &'a str>, directory: &Path) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ally360"));
        command
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .stdin(Stdio::null());
        for name in ["PATH", "HOME", "ALLY360_PG_BIN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        Program {
            command,
            stderr: None,
        }
    }

    /// Standard error goes there, and is not captured.
    pub fn stderr(mut self, file: File) -> Program {
        self.stderr = Some(file);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    pub fn envs<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Program {
        self.command.envs(variables);
        self
    }

    /// In a mount namespace of its own, with an empty disk of that size at this place. Only root can.
    pub fn on_small_disk(mut self, place: &Path, megabytes: u32) -> Program {
        let script = r#"mount -t tmpfs -o size="$1"m,mode=711 tmpfs "$0" && shift && exec "$@""#;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(place)
            .arg(megabytes.to_string());
        command
            .arg(self.command.get_program())
            .args(self.command.get_args());
        command.env_clear().stdin(Stdio::null());
        let set = |(name, value): (_, Option<&OsStr>)| Some((name, value?.to_owned()));
        command.envs(self.command.get_envs().filter_map(set));
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        self.command = command;
        self
    }

    /// Starts it and returns at once.
    pub fn spawn(mut self) -> Server {
        let stderr = self.stderr.map_or_else(Stdio::piped, Stdio::from);
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("a process");
        let stdout = Captured::of(child.stdout.take().expect("piped"));
        let stderr = match child.stderr.take() {
            Some(piped) => Captured::of(piped),
            None => Captured::of(std::io::empty()),
        };
        Server {
            child,
            stdout,
            stderr,
        }
    }

    /// Starts it and waits for its `ready` line.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        server.wait_ready();
        server
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Finished {
        self.spawn().finish(END)
    }
}

/// What a finished run left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Finished {
    /// Asserts success.
    #[track_caller]
    pub fn success(self) -> Finished {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Asserts that it refused; returns the one line that says why.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert_eq!(self.stdout, "");
        let lines: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| !line.starts_with('{'))
            .collect();
        let [line] = lines[..] else {
            panic!("not one line: {}", self.stderr)
        };
        line.strip_prefix("ally360: ")
            .expect("names the program")
            .to_owned()
    }
}

/// A running program; ended when dropped.
pub struct Server {
    child: Child,
    stdout: Captured,
    stderr: Captured,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output until now.
    pub fn stdout(&self) -> String {
        self.stdout.text().clone()
    }

    /// What it has written to standard error until now.
    pub fn stderr(&self) -> String {
        self.stderr.text().clone()
    }

    /// Waits for the `ready` line.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        wait_until("the start", START, || {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none(),
                "ended while starting ({ended:?}): {}",
                self.stderr.text()
            );
            self.stdout.text().ends_with('\n')
        });
    }

    /// The address in the `ready` line.
    pub fn address(&self) -> SocketAddr {
        let stdout = self.stdout();
        let address = stdout
            .trim_end()
            .strip_prefix("ready http://")
            .expect("a ready line");
        address.parse().expect("an address")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// SIGTERM; returns what the run left.
    pub fn stop(self) -> Finished {
        self.signal(Signal::TERM);
        self.finish(END)
    }

    /// SIGKILL.
    pub fn kill9(mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("it ends");
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let started = Instant::now();
        let mut status: Option<ExitStatus> = None;
        wait_until("the end", limit, || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        let status = status.expect("it ended");
        assert_eq!(status.signal(), None, "killed by a signal");
        let took = started.elapsed();
        Finished {
            code: status.code(),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
            took,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.stderr();
            let tail = log.char_indices().nth_back(4000).map_or(0, |(at, _)| at);
            eprintln!("standard error of the program:\n{}", &log[tail..]);
        }
    }
}

/// Sends a signal to a process of ours.
pub fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a pid")).expect("not 0");
    kill_process(pid, signal).expect("the process is there");
}

/// A stream that a thread reads to its end.
struct Captured {
    text: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Captured {
    fn of(stream: impl Read + Send + 'static) -> Captured {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                lock(&sink).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Captured {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> MutexGuard<'_, String> {
        lock(&self.text)
    }

    /// All of it, once the program has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
        self.text().clone()
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}
