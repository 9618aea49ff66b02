//! API and workers as processes of their own, over a database and an object store that they share.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use storage::StorageConfig;
use testkit::TestStore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Client, External, Program, Server};

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    storage: StorageConfig,
}

/// An installation whose processes share nothing but the servers that its settings name.
pub struct Installation {
    pub external: External,
    pub store: TestStore,
    pub client: Client,
    settings: Vec<(&'static str, String)>,
    _api: Server,
}

impl Installation {
    /// With the demo companies, an API and no worker yet.
    pub async fn start(more: &[(&'static str, String)]) -> Installation {
        let external = External::create(false).await;
        external.program(["demo", "seed"]).run().success();
        let (store, _) = TestStore::start(&Defaults::parse_from(["test"]).storage).await;
        let running = store.running().expect("a store");
        let (address, credentials) = (running.addr(), running.credentials());
        let mut settings = vec![
            ("MINIO_HOST", address.ip().to_string()),
            ("MINIO_PORT", address.port().to_string()),
            ("MINIO_ACCESS_KEY", credentials.access_key.clone()),
            ("MINIO_SECRET_KEY", credentials.secret_key.clone()),
            ("ALLY360_JOB_LEASE_SECONDS", "2".to_owned()),
            ("ALLY360_MAX_OPEN_UPLOADS", "20000".to_owned()),
            ("ALLY360_COMPANY_QUOTA_BYTES", (1_i64 << 42).to_string()),
        ];
        let scratch = external.home.path().join("scratch");
        std::fs::create_dir(&scratch).expect("a directory");
        settings.push(("TMPDIR", scratch.to_str().expect("text").to_owned()));
        settings.extend_from_slice(more);
        let api = external.program(["api"]).envs(pairs(&settings)).start();
        let client = Client::owner(&api.url()).await;
        Installation {
            external,
            store,
            client,
            settings,
            _api: api,
        }
    }

    /// Another worker.
    pub fn worker(&self) -> Server {
        self.program("worker").spawn()
    }

    /// One more process of this role.
    pub fn program(&self, role: &str) -> Program {
        self.external.program([role]).envs(pairs(&self.settings))
    }

    /// Where its processes put temporary files.
    pub fn scratch(&self) -> PathBuf {
        self.external.home.path().join("scratch")
    }

    /// What `ally360 files sweep` reports.
    pub fn sweep(&self, dry_run: bool) -> Value {
        let arguments: &[&str] = if dry_run {
            &["files", "sweep", "--dry-run"]
        } else {
            &["files", "sweep"]
        };
        let sweep = self
            .external
            .program(arguments.iter().copied())
            .envs(pairs(&self.settings));
        serde_json::from_str(&sweep.run().success().stdout).expect("JSON")
    }

    /// The one number that a query gives.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let count = sqlx::query_scalar(sql)
            .fetch_one(&mut self.external.connect().await)
            .await;
        count.expect(sql)
    }

    pub async fn execute(&self, sql: &'static str) {
        sqlx::query(sql)
            .execute(&mut self.external.connect().await)
            .await
            .expect(sql);
    }

    /// Files that are still on their way.
    pub async fn open_files(&self) -> i64 {
        self.count("select count(*) from ally.files where state in ('pending', 'uploaded', 'scanning')")
            .await
    }

    /// Waits until all files have an outcome and what that leaves to do is done.
    pub async fn settle(&self, limit: Duration) {
        let began = Instant::now();
        let jobs = "select count(*) from ally.jobs where queue = 'files' and state in ('ready', 'running')";
        while self.open_files().await > 0 || self.count(jobs).await > 0 {
            assert!(
                began.elapsed() < limit,
                "{} files are open after {limit:?}",
                self.open_files().await
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every file is ready and whole, was finished once, and after a clean-up there is nothing else.
    pub async fn check_all_ready(&self, uploads: &[Upload]) {
        let count = i64::try_from(uploads.len()).expect("few");
        for upload in uploads {
            assert_eq!(
                download(&self.client, &upload.id).await,
                upload.bytes,
                "{}",
                upload.id
            );
        }
        let finished = "select count(*) from ally.job_runs where name = 'files.process' and outcome = 'done'";
        assert_eq!(self.count(finished).await, count, "each one once");
        let bytes: usize = uploads.iter().map(|upload| upload.bytes.len()).sum();
        let thumbnails = "select coalesce(sum((v->>'size')::bigint), 0)::bigint from ally.files, jsonb_array_elements(variants) as v";
        let bytes = i64::try_from(bytes).expect("few") + self.count(thumbnails).await;
        let usage = self.client.get("/files/usage").await.expect(200).json();
        assert_eq!(
            [
                &usage["used_bytes"],
                &usage["reserved_bytes"],
                &usage["open_uploads"]
            ],
            [&json!(bytes), &json!(0), &json!(0)]
        );
        self.check_nothing_besides().await;
    }

    /// After a clean-up there are the objects of the files that are ready, nothing else, and no temporary file.
    pub async fn check_nothing_besides(&self) {
        self.sweep(false);
        let objects = self
            .count("select coalesce(sum(1 + jsonb_array_length(variants)), 0) from ally.files where state = 'ready'")
            .await;
        let left = self.sweep(true);
        assert_eq!(left["objects"], objects, "{left}");
        for kind in ["quarantined", "unreferenced", "young", "foreign", "missing"] {
            assert_eq!(left[kind]["count"], 0, "{kind}: {left}");
        }
        let scratch = std::fs::read_dir(self.scratch()).expect("a directory");
        assert_eq!(scratch.count(), 0, "temporary files");
    }
}

fn pairs<'a>(settings: &'a [(&'static str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str()))
}

/// A file that was sent to the store, and nobody told.
pub struct Upload {
    pub id: String,
    pub bytes: Vec<u8>,
}

/// A file to upload: name, declared type, content.
#[derive(Clone)]
pub struct Sample {
    pub name: String,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// Uploads them, four at a time; in the order of the samples.
pub async fn upload_all(client: &Client, samples: Vec<Sample>) -> Vec<Upload> {
    let http = http();
    let mut running = JoinSet::new();
    let mut waiting = samples.into_iter().enumerate();
    let mut uploads = Vec::new();
    loop {
        while running.len() < 4
            && let Some((index, sample)) = waiting.next()
        {
            let (client, http) = (client.clone(), http.clone());
            running.spawn(async move { (index, upload(&client, &http, sample).await) });
        }
        match running.join_next().await {
            Some(uploaded) => uploads.push(uploaded.expect("an upload")),
            None => break,
        }
    }
    uploads.sort_by_key(|(index, _)| *index);
    uploads.into_iter().map(|(_, upload)| upload).collect()
}

/// A client of the store.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// Presigns and PUTs.
async fn upload(client: &Client, http: &reqwest::Client, sample: Sample) -> Upload {
    let new = json!({"filename": sample.name, "content_type": sample.content_type, "module": "documents"});
    let upload = client
        .post("/files/upload/presign", &new)
        .await
        .expect(201)
        .json();
    put(http, &upload, sample.bytes.clone()).await;
    Upload {
        id: upload["file_id"].as_str().expect("an id").to_owned(),
        bytes: sample.bytes,
    }
}

/// PUTs the bytes as the presign answer says.
pub async fn put(http: &reqwest::Client, upload: &Value, bytes: Vec<u8>) {
    let mut request = http
        .put(upload["upload_url"].as_str().expect("a URL"))
        .header("content-length", bytes.len());
    for (name, value) in upload["headers"].as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("text"));
    }
    let answer = request.body(bytes).send().await.expect("the store answers");
    assert_eq!(answer.status(), 200);
}

/// The bytes that the API and the store serve of a file.
pub async fn download(client: &Client, id: &str) -> Vec<u8> {
    let answer = client
        .get(&format!("/files/{id}/download"))
        .await
        .expect(200)
        .json();
    let url = answer["download_url"].as_str().expect("a URL");
    let answer = http().get(url).send().await.expect("the store answers");
    assert_eq!(answer.status(), 200);
    answer.bytes().await.expect("the bytes").to_vec()
}

/// The seed of a random test, printed; `ALLY360_TEST_SEED` repeats it.
pub fn seed() -> u64 {
    let given = std::env::var("ALLY360_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    eprintln!("ALLY360_TEST_SEED={seed}");
    seed
}

/// That many pictures and texts, no two alike.
pub fn ordinary(count: usize) -> Vec<Sample> {
    let sample = |index: usize| {
        if index.is_multiple_of(2) {
            let picture = crate::corpus::photo(300 + u32::try_from(index % 300).expect("few"), 400);
            Sample {
                name: format!("foto {index}.png"),
                content_type: "image/png",
                bytes: crate::corpus::encode(picture, image::ImageFormat::Png),
            }
        } else {
            Sample {
                name: format!("nota {index}.txt"),
                content_type: "text/plain",
                bytes: format!("Nota {index}\n").repeat(1 + index).into_bytes(),
            }
        }
    };
    (0..count).map(sample).collect()
}
