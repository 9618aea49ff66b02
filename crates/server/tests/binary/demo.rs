//! The commands that run once, on the embedded database.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;

use crate::support::{Answer, Client, Home, wait_until};

#[tokio::test]
async fn the_printed_document_is_the_served_one() {
    let home = Home::seeded();
    let printed: Value =
        serde_json::from_str(&home.program(["openapi"]).run().success().stdout).expect("JSON");
    assert!(printed["paths"]["/products"].is_object());
    let server = home.program(["dev"]).start();
    assert_eq!(
        Client::anonymous(&server.url())
            .get("/openapi.json")
            .await
            .expect(200)
            .json(),
        printed
    );
}

#[test]
fn migrations_are_listed_before_and_after() {
    let home = Home::empty();
    let ended = home.program(["migrate", "status"]).run();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.lines().count() >= 6 && ended.stdout.lines().all(|line| line.contains(" pending ")),
        "{}",
        ended.stdout
    );
    assert!(ended.stderr.contains("ally360 migrate up"), "{}", ended.stderr);

    let applied = home.program(["migrate", "up"]).run().success().stdout;
    let count = ended.stdout.lines().count();
    assert!(
        applied.starts_with(&format!("{count} migrations applied")),
        "{applied}"
    );
    let again = home.program(["migrate", "up"]).run().success().stdout;
    assert!(again.starts_with("0 migrations applied"), "{again}");
    let status = home.program(["migrate", "status"]).run().success().stdout;
    assert_eq!(status, ended.stdout.replace(" pending ", " applied "));
    assert_eq!(home.database_processes(), Vec::<u32>::new());
}

#[tokio::test]
async fn seeding_again_changes_nothing() {
    let home = Home::empty();
    home.program(["demo", "seed"]).run().success();
    let server = home.program(["serve"]).start();
    let first = rows(&mut home.connect().await).await;
    assert!(
        first
            .iter()
            .any(|(table, count, _)| table == "products" && *count > 500),
        "{first:?}"
    );
    server.stop().success();

    home.program(["demo", "seed"]).run().success();
    let server = home.program(["dev"]).start();
    assert_eq!(rows(&mut home.connect().await).await, first);
    drop(server);

    let said = home
        .program(["demo", "seed"])
        .envs([
            ("ENVIRONMENT", "production"),
            ("APP_SECRET_STRING", &"x".repeat(32)),
        ])
        .run()
        .refusal();
    assert!(said.contains("ENVIRONMENT=production"), "{said}");
}

/// Of every table: name, number of rows, and a hash of all of them.
#[expect(clippy::disallowed_methods, reason = "the tables are those of the catalogue")]
async fn rows(conn: &mut PgConnection) -> Vec<(String, i64, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
          where relnamespace = 'ally'::regnamespace and relkind = 'r'
            and relname not in ('_sqlx_migrations', 'schedule_slots', 'jobs', 'audit_progress', 'audit_heads')
            and not relname ^@ 'job_runs' and not relname ^@ 'audit_links' order by relname",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("tables");
    let mut all = Vec::new();
    for table in tables {
        let statement = format!(
            "select count(*), md5(coalesce(string_agg(t::text, E'\\n' order by t::text), '')) from ally.{table} t"
        );
        let (count, hash) = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut *conn)
            .await
            .expect("a hash");
        all.push((table, count, hash));
    }
    all
}

#[tokio::test]
async fn an_operator_verifies_an_address() {
    let home = Home::seeded();
    // Outside of development new users must verify their address.
    let serve = || home.program(["serve"]).env("ENVIRONMENT", "test").start();
    let server = serve();
    let client = Client::anonymous(&server.url());
    let registration = serde_json::json!({
        "email": "nueva@example.com", "password": "una frase bien larga", "profile": {"first_name": "Nueva", "last_name": "Persona"}
    });
    client.post("/auth/register", &registration).await.expect(201);
    assert_eq!(sign_in(&client).await.problem(), "403 email-not-verified");
    // The mail that was asked for brings a token of its own, which must not come after the operator's.
    wait_until("the mail's token", Duration::from_secs(30), || {
        server.stderr().contains("identity.answer_mail_request")
    });
    server.stop().success();

    let token = home
        .program(["user", "verification-token", "NUEVA@example.com"])
        .run()
        .success()
        .stdout;
    let said = home
        .program(["user", "verification-token", "nadie@example.com"])
        .run()
        .refusal();
    assert!(said.contains("nadie@example.com"), "{said}");

    let server = serve();
    let client = client.at(&server.url());
    client
        .post("/auth/verify-email", &serde_json::json!({"token": token.trim()}))
        .await
        .expect(204);
    sign_in(&client).await.expect(200);
}

async fn sign_in(client: &Client) -> Answer {
    let form = [
        ("username", "nueva@example.com"),
        ("password", "una frase bien larga"),
    ];
    client
        .send(client.request(reqwest::Method::POST, "/auth/login").form(&form))
        .await
        .expect("an answer")
}
