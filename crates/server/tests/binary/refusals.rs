//! What the program refuses to start with: one clear line, and nothing has happened.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Client, Home};

const SAMPLE: &str = "your-super-secret-key-change-in-production";
const GOOD: &str = "0123456789abcdef0123456789abcdef";

/// Runs with an empty data directory and asserts that not even that was made.
#[track_caller]
fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let home = Home::empty();
    let said = home
        .program(arguments.iter().copied())
        .envs(variables.iter().copied())
        .run()
        .refusal();
    assert!(!home.data().exists(), "something was started: {said}");
    said
}

#[track_caller]
fn assert_names(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

#[test]
fn production_refuses_what_is_unsafe() {
    let production = |name, value| {
        let mut variables = vec![("ENVIRONMENT", "production"), ("APP_SECRET_STRING", GOOD)];
        variables.retain(|(n, _)| *n != name);
        variables.push((name, value));
        refused(&["serve"], &variables)
    };
    assert_names(
        &refused(&["serve"], &[("ENVIRONMENT", "production")]),
        &["APP_SECRET_STRING", "required"],
    );
    assert_names(
        &production("APP_SECRET_STRING", SAMPLE),
        &["APP_SECRET_STRING", "sample"],
    );
    assert_names(
        &production("APP_SECRET_STRING", &GOOD[1..]),
        &["APP_SECRET_STRING", "32 bytes"],
    );
    assert_names(&production("APP_SECRET_STRING", ""), &["APP_SECRET_STRING"]);
    for weak in [SAMPLE, "short"] {
        assert_names(
            &production("ALLY360_PREVIOUS_SECRETS", weak),
            &["ALLY360_PREVIOUS_SECRETS", "32 bytes"],
        );
    }
    assert_names(&production("DEBUG", "true"), &["DEBUG"]);
    assert_names(
        &production("CORS_ORIGINS", "https://a.example,*"),
        &["CORS_ORIGINS"],
    );
    let home = Home::empty();
    home.write("secret", SAMPLE);
    let from_file = home
        .program(["serve"])
        .env("ENVIRONMENT", "production")
        .env("APP_SECRET_STRING_FILE", home.path().join("secret"));
    assert_names(&from_file.run().refusal(), &["APP_SECRET_STRING", "sample"]);
    let said = refused(
        &["dev"],
        &[("ENVIRONMENT", "production"), ("APP_SECRET_STRING", GOOD)],
    );
    assert_names(&said, &["dev", "ENVIRONMENT=production", "serve"]);
}

#[test]
fn a_secret_in_a_file_that_cannot_be_read_is_not_ignored() {
    let file = ("APP_SECRET_STRING_FILE", "/nowhere/secret");
    assert_names(
        &refused(&["serve"], &[file]),
        &["APP_SECRET_STRING_FILE", "/nowhere/secret"],
    );
    let said = refused(&["serve"], &[file, ("APP_SECRET_STRING", GOOD)]);
    assert_names(&said, &["APP_SECRET_STRING and APP_SECRET_STRING_FILE"]);
    assert!(!said.contains(GOOD), "{said}");
}

#[test]
fn a_pooler_needs_a_server_behind_it() {
    let said = refused(&["serve"], &[("ALLY360_DB_POOLER", "pgbouncer:6432")]);
    assert_names(&said, &["ALLY360_DB_POOLER", "POSTGRES_HOST"]);
    let home = Home::empty();
    let no_port = home.program(["serve"]).env("ALLY360_DB_POOLER", "pgbouncer");
    assert_eq!(no_port.run().code, Some(2));
}

#[test]
fn only_one_signature_is_known() {
    for algorithm in ["none", "RS256", "HS512", "hs256"] {
        assert_names(
            &refused(&["dev"], &[("ALGORITHM", algorithm)]),
            &["ALGORITHM", "HS256"],
        );
    }
}

#[test]
fn processes_of_their_own_need_a_database_to_share() {
    for command in ["api", "worker", "scheduler"] {
        assert_names(
            &refused(&[command], &[]),
            &["POSTGRES_HOST", "DATABASE_URL", "ally360 serve"],
        );
    }
    let said = refused(&["api"], &[("DATABASE_URL", "postgres://x:do-not-tell@y:port/z")]);
    assert_names(&said, &["DATABASE_URL"]);
    assert!(!said.contains("do-not-tell"), "{said}");
    for secret in [&[][..], &[("APP_SECRET_STRING", "")]] {
        let said = refused(&["api"], &[secret, &[("POSTGRES_HOST", "/nowhere")]].concat());
        assert_names(&said, &["APP_SECRET_STRING"]);
    }
}

#[test]
fn a_used_port_is_said_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for command in ["dev", "serve"] {
        assert_names(
            &refused(&[command], &[("ALLY360_LISTEN", &address)]),
            &[&address, "--listen"],
        );
    }
}

#[test]
fn values_out_of_range_are_named() {
    for (name, value) in [
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "a"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "91"),
        ("POSTGRES_PORT", "70000"),
        ("ALLY360_DB_APP_CONNECTIONS", "0"),
        ("ALLY360_LISTEN", "nowhere"),
        ("ENVIRONMENT", "staging"),
        ("DEBUG", "maybe"),
    ] {
        let home = Home::empty();
        let ended = home.program(["serve"]).env(name, value).run();
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(2), ""),
            "{name}={value}"
        );
        let option = name
            .trim_start_matches("ALLY360_")
            .to_lowercase()
            .replace('_', "-");
        assert_names(&ended.stderr, &[value, &option, name]);
    }
}

#[test]
fn a_secret_that_is_too_short_is_not_told() {
    for name in ["ALLY360_OPERATOR_TOKEN", "ALLY360_STORE_EVENT_TOKEN"] {
        let home = Home::empty();
        home.write("token", "do-not-tell");
        for (variable, value) in [
            (name.to_owned(), "do-not-tell".to_owned()),
            (
                format!("{name}_FILE"),
                home.path().join("token").display().to_string(),
            ),
        ] {
            let ended = home.program(["serve"]).env(&variable, value).run();
            assert_eq!(ended.code, Some(2), "{variable}");
            assert_names(&ended.stderr, &[name, "at least 32 bytes"]);
            assert!(!ended.stderr.contains("do-not-tell"), "{}", ended.stderr);
        }
    }
}

#[test]
fn queues_without_jobs_and_origins_that_are_none_are_told() {
    for (arguments, variable) in [
        (&["serve", "--queue", "files,fils"][..], ("NOTHING", "")),
        (&["serve"], ("ALLY360_QUEUES", "fils")),
    ] {
        assert_names(
            &refused(arguments, &[variable]),
            &["ALLY360_QUEUES", "fils", "files, mail"],
        );
    }
    for origin in [
        "app.example.com",
        "https://app.example.com/",
        "https://App.example.com",
        "https://u@a.example",
    ] {
        let said = refused(
            &["serve"],
            &[("CORS_ORIGINS", &format!("https://a.example,{origin}"))],
        );
        assert_names(&said, &["CORS_ORIGINS", origin]);
    }
}

#[tokio::test]
async fn a_data_directory_in_use_names_its_user() {
    let home = Home::seeded();
    let first = home.program(["dev"]).start();
    let client = Client::owner(&first.url()).await;
    for command in [
        &["dev"][..],
        &["serve"],
        &["migrate", "status"],
        &["demo", "seed"],
    ] {
        let said = home.program(command.iter().copied()).run().refusal();
        assert_names(&said, &[&format!("pid {}", first.pid()), "--data-dir"]);
    }
    client.get("/products").await.expect(200);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let home = Home::empty();
    home.write("data", "a file");
    assert_names(&home.program(["dev"]).run().refusal(), &["/data", "--data-dir"]);
    assert_eq!(fs::read_to_string(home.data()).expect("the file"), "a file");

    let home = Home::empty();
    fs::create_dir_all(home.data().join("postgres/precious")).expect("a directory");
    assert_names(
        &home.program(["dev"]).run().refusal(),
        &["/data/postgres", "not a database of ally360", "--data-dir"],
    );
    assert!(home.data().join("postgres/precious").exists());

    // Not even root writes below /proc; elsewhere a mode would not stop it.
    let said = home
        .program(["dev", "--data-dir", "/proc/ally360"])
        .run()
        .refusal();
    assert_names(&said, &["/proc/ally360", "--data-dir"]);

    if !rustix::process::geteuid().is_root() {
        let home = Home::empty();
        fs::create_dir(home.data()).expect("a directory");
        fs::set_permissions(home.data(), fs::Permissions::from_mode(0o500)).expect("permissions");
        assert_names(
            &home.program(["dev"]).run().refusal(),
            &["no permission", "/data", "--data-dir"],
        );
    }
}
