//! Three API processes behind HAProxy with the configuration that is shipped, two workers and a scheduler.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::task::block_in_place;

use crate::files::support::Installation;
use crate::support::{Client, Helper, Server, wait_until};

const HAPROXY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/haproxy/haproxy.cfg");
pub const APIS: usize = 3;
const WORKERS: usize = 2;
/// Columns of the balancer's table.
const REDISPATCHED: usize = 16;
const STATUS: usize = 17;

/// Processes that share nothing but database and object store.
pub struct Fleet {
    pub place: Installation,
    /// Through the balancer.
    pub client: Client,
    apis: Vec<Api>,
    workers: Vec<Server>,
    scheduler: Option<Server>,
    /// Where the balancer tells how it sees the processes.
    socket: PathBuf,
    _balancer: Helper,
    _listener: TcpListener,
}

struct Api {
    address: SocketAddr,
    server: Option<Server>,
}

impl Fleet {
    /// `None` without HAProxy on this host.
    pub async fn start(settings: &[(&'static str, String)]) -> Option<Fleet> {
        let mut haproxy = Helper::find("haproxy")?;
        let place = Installation::start(settings).await;
        let apis: Vec<Api> = (0..APIS)
            .map(|_| place.program("api").spawn())
            .collect::<Vec<Server>>()
            .into_iter()
            .map(|mut server| {
                server.wait_ready();
                Api {
                    address: server.address(),
                    server: Some(server),
                }
            })
            .collect();
        let socket = place.external.home.path().join("haproxy");
        // Ours from the start, and inherited: nobody else can take the port.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        fcntl_setfd(&listener, FdFlags::empty()).expect("a flag");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&listener);
        haproxy
            .args(["-db", "-f", HAPROXY])
            .env("ALLY360_BIND", format!("fd@{descriptor}"))
            .env("ALLY360_HAPROXY_SOCKET", &socket);
        for (number, api) in apis.iter().enumerate() {
            haproxy.env(format!("ALLY360_API_{}", number + 1), api.address.to_string());
        }
        let balancer = Helper::start(haproxy);
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let client = Client::owner(&url).await;
        Some(Fleet {
            workers: (0..WORKERS).map(|_| place.worker()).collect(),
            scheduler: Some(place.program("scheduler").spawn()),
            place,
            client,
            apis,
            socket,
            _balancer: balancer,
            _listener: listener,
        })
    }

    /// One API process is told to end, and another takes its place when it has. Returns when that gets requests.
    pub fn roll_api(&mut self, number: usize) {
        let server = self.apis[number].server.take().expect("it runs");
        block_in_place(|| server.stop().success());
        self.start_api(number);
        block_in_place(|| {
            wait_until("the balancer's notice", Duration::from_secs(30), || {
                self.balanced()
                    .iter()
                    .filter(|row| row[STATUS].starts_with("UP"))
                    .count()
                    == APIS
            });
        });
    }

    /// How often the balancer had to send a request to another process than it had chosen.
    pub fn redispatched(&self) -> u32 {
        let rows = self.balanced();
        rows.iter()
            .map(|row| row[REDISPATCHED].parse::<u32>().expect("a number"))
            .sum()
    }

    /// What the balancer tells of each process, in the columns of its `show stat`.
    fn balanced(&self) -> Vec<Vec<String>> {
        let mut stream = UnixStream::connect(&self.socket).expect("the balancer's socket");
        stream.write_all(b"show stat\n").expect("written");
        let mut table = String::new();
        stream.read_to_string(&mut table).expect("a table");
        let rows = table.lines().filter(|line| line.starts_with("api,api-"));
        rows.map(|line| line.split(',').map(str::to_owned).collect())
            .collect()
    }

    /// One API process is killed, and another takes its place.
    pub fn kill_api(&mut self, number: usize) {
        self.apis[number].server.take().expect("it runs").kill9();
        self.start_api(number);
    }

    fn start_api(&mut self, number: usize) {
        let address = self.apis[number].address;
        let program = self
            .place
            .program("api")
            .env("ALLY360_LISTEN", address.to_string());
        self.apis[number].server = Some(block_in_place(|| program.start()));
    }

    /// The same with a worker.
    pub fn roll_worker(&mut self, number: usize) {
        let next = self.place.worker();
        let worker = std::mem::replace(&mut self.workers[number], next);
        block_in_place(|| worker.stop().success());
    }

    /// And with the scheduler.
    pub fn roll_scheduler(&mut self) {
        let next = self.place.program("scheduler").spawn();
        let scheduler = self.scheduler.replace(next).expect("it runs");
        block_in_place(|| scheduler.stop().success());
    }

    /// Asserts that all ended as they should, and that none panicked.
    pub fn stop(self) {
        block_in_place(|| {
            let apis = self.apis.into_iter().filter_map(|api| api.server);
            let all: Vec<Server> = apis.chain(self.workers).chain(self.scheduler).collect();
            for server in &all {
                server.signal(rustix::process::Signal::INT);
            }
            for server in all {
                let ended = server.finish(Duration::from_secs(30)).success();
                assert!(!ended.stderr.contains("panic"), "{}", ended.stderr);
            }
        });
    }
}
