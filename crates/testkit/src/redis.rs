//! A Redis server of a test, on a socket of its own, that can die, stall and come back.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server that lasts as long as this value.
pub struct RedisServer {
    process: Child,
    dir: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts `redis-server`, empty, with these arguments besides.
    ///
    /// # Panics
    /// When the program is not installed or does not start.
    pub fn start(arguments: &[&str]) -> RedisServer {
        let dir = TempDir::with_prefix("ally360-test-redis-").expect("a directory");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = run(&dir, &arguments);
        let server = RedisServer {
            process,
            dir,
            arguments,
        };
        server.wait();
        server
    }

    /// Its socket, for REDIS_HOST.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Dies at once, with all it knew.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
        // Else whoever waits for the next one finds the socket of this one.
        let _ = std::fs::remove_file(self.socket());
    }

    /// Comes back, empty, at the same address.
    pub fn restart(&mut self) {
        self.kill();
        self.process = run(&self.dir, &self.arguments);
        self.wait();
    }

    /// Answers nothing, and keeps its connections.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after [`stall`](RedisServer::stall).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("a running process");
    }

    fn wait(&self) {
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "redis-server did not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn run(dir: &TempDir, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(dir.path().join("redis.sock"))
        .arg("--dir")
        .arg(dir.path())
        .args(arguments)
        .stdout(Stdio::null());
    command
        .spawn()
        .expect("redis-server: run script/test, or install it (Debian package redis-server)")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
