//! Where settings come from, and that all of them are told.

use crate::support::{Client, Home};

/// The guide's `.env`, but for the host: its services are compose's.
const GUIDE_ENV: &str = "
# Database
POSTGRES_USER=ally_user
POSTGRES_PASSWORD=ally_pass
POSTGRES_DB=ally_db
POSTGRES_PORT=5432

# Redis
REDIS_HOST=redis
REDIS_PORT=6379
REDIS_DB=0

# MinIO
MINIO_HOST=minio
MINIO_PORT=9000
MINIO_ACCESS_KEY=minioadmin
MINIO_SECRET_KEY=minioadmin
MINIO_BUCKET_NAME=ally360
MINIO_USE_SSL=false

# JWT
APP_SECRET_STRING=your-super-secret-key-change-in-production
ALGORITHM=HS256
ACCESS_TOKEN_EXPIRE_MINUTES=30

# Application
ENVIRONMENT=development
DEBUG=true
";

#[tokio::test]
async fn the_env_file_of_the_guide_is_honoured() {
    let home = Home::empty();
    home.write(
        ".env",
        &GUIDE_ENV.replace("EXPIRE_MINUTES=30", "EXPIRE_MINUTES=7"),
    );
    let server = home.program(["dev"]).start();
    assert_eq!(expires_in(&server.url()).await, 7 * 60);
    assert!(
        !home.data().join("secret").exists(),
        "the file's secret is used, none is made"
    );
    drop(server);

    // The environment beats the file.
    let server = home
        .program(["dev"])
        .env("ACCESS_TOKEN_EXPIRE_MINUTES", "9")
        .start();
    assert_eq!(expires_in(&server.url()).await, 9 * 60);
    drop(server);

    // And a flag beats both.
    let server = home
        .program(["dev", "--access-token-expire-minutes", "11"])
        .env("ACCESS_TOKEN_EXPIRE_MINUTES", "9")
        .start();
    assert_eq!(expires_in(&server.url()).await, 11 * 60);
}

async fn expires_in(url: &str) -> i64 {
    let request = Client::anonymous(url).request(reqwest::Method::POST, "/auth/login");
    let form = [("username", "user@example.com"), ("password", "password123")];
    let answer = Client::anonymous(url)
        .send(request.form(&form))
        .await
        .expect("an answer")
        .expect(200);
    answer.json()["expires_in"].as_i64().expect("seconds")
}

#[test]
fn truth_has_several_spellings() {
    // Production refuses DEBUG when it is true: a way to see how it was read.
    let debug = |line: &str| {
        let home = Home::empty();
        home.write(
            ".env",
            &format!("ENVIRONMENT=production\nCORS_ORIGINS=*\n{line}\n"),
        );
        home.program(["serve"])
            .run()
            .stderr
            .contains("DEBUG must be false")
    };
    for yes in ["true", "\"true\"", "'True'", "1", "yes", "ON"] {
        assert!(debug(&format!("DEBUG={yes}")), "{yes}");
    }
    for no in ["false", "\"false\"", "'False'", "0", "no", "OFF", "", "\"\""] {
        assert!(!debug(&format!("DEBUG={no}")), "{no}");
    }
    let home = Home::empty();
    let quoted = [("ENVIRONMENT", "production"), ("DEBUG", "\"true\"")];
    assert!(
        home.program(["serve"])
            .envs(quoted)
            .run()
            .stderr
            .contains("DEBUG must be false"),
        "quoted by docker"
    );
}

#[test]
fn a_broken_env_file_is_said() {
    let home = Home::empty();
    home.write(
        ".env",
        "POSTGRES_DB=ally_db\nAPP_SECRET_STRING=\"do not tell\nDEBUG=1\n",
    );
    let said = home.program(["dev"]).run().refusal();
    assert!(
        said.contains(".env") && said.contains("APP_SECRET_STRING") && !said.contains("tell"),
        "{said}"
    );
    assert!(!home.data().exists());
}

#[test]
fn help_lists_every_setting() {
    let help = Home::empty().program(["--help"]).run().success().stdout;
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in [
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
        "POSTGRES_HOST",
        "POSTGRES_PORT",
        "APP_SECRET_STRING",
        "ALGORITHM",
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "ENVIRONMENT",
        "DEBUG",
        "DATABASE_URL",
        "CORS_ORIGINS",
        "REFRESH_TOKEN_EXPIRE_DAYS",
        "ALLY360_LISTEN",
        "ALLY360_DATA_DIR",
        "ALLY360_DRAIN_SECONDS",
    ] {
        assert!(words.contains(&format!("[env: {name}")), "{name}");
    }
}

#[test]
fn help_shows_no_secret() {
    let secrets = [
        ("POSTGRES_PASSWORD", "a-secret-1"),
        ("DATABASE_URL", "a-secret-2"),
        ("APP_SECRET_STRING", "a-secret-3"),
        ("ALLY360_DB_APP_PASSWORD", "a-secret-4"),
        ("ALLY360_DB_SYSTEM_PASSWORD", "a-secret-5"),
        ("ALLY360_PREVIOUS_SECRETS", "a-secret-6,a-secret-7"),
        ("REDIS_PASSWORD", "a-secret-8"),
    ];
    let ended = Home::empty().program(["--help"]).envs(secrets).run().success();
    assert!(!ended.stdout.contains("a-secret"), "{}", ended.stdout);
}

#[test]
fn an_empty_secret_is_none() {
    let home = Home::empty();
    home.write(".env", "APP_SECRET_STRING=\n");
    home.program(["serve"]).start().stop().success();
    let secret = std::fs::read_to_string(home.data().join("secret")).expect("one is made");
    assert_eq!(secret.len(), 64);
}

#[tokio::test]
async fn secrets_may_lie_in_files() {
    const SECRET: &str = "a secret in a file, of 32 bytes and more";
    let home = Home::seeded();
    home.write("app_secret", &format!("{SECRET}\n"));
    let file = home.path().join("app_secret");
    let server = home
        .program(["serve"])
        .env("APP_SECRET_STRING_FILE", &file)
        .start();
    let client = Client::owner(&server.url()).await;
    server.stop().success();

    // The same secret told the other way accepts the token.
    let server = home.program(["serve"]).env("APP_SECRET_STRING", SECRET).start();
    client.at(&server.url()).get("/auth/me").await.expect(200);

    let help = home.program(["--help"]).env("APP_SECRET_STRING_FILE", &file);
    assert!(!help.run().success().stdout.contains(SECRET));
}
