//! Killed between commit and answer: who sends the request again with its idempotency key gets the
//! answer that was lost, and nothing is done twice.

use reqwest::Method;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::support::{COMPANY, Client, Home, Raw};

const CLIENTS: usize = 8;

/// Creates a brand of its own under a key of its own.
fn body(round: usize, number: usize) -> serde_json::Value {
    json!({"name": format!("Marca {round} {number}")})
}

fn key(round: usize, number: usize) -> String {
    format!("caida-{round}-{number}")
}

async fn count(home: &Home, query: &'static str, prefix: &str) -> i64 {
    let count = sqlx::query_scalar(query).bind(prefix);
    count.fetch_one(&mut home.connect().await).await.expect("a count")
}

const BRANDS: &str = "select count(*) from ally.brands where starts_with(name, $1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_given_to_the_retry() {
    let home = Home::seeded();
    let mut server = home.program(["serve"]).start();
    let mut client = Client::owner(&server.url()).await;
    for (round, wanted) in [CLIENTS, 1, CLIENTS / 2].into_iter().enumerate() {
        let prefix = format!("Marca {round} ");
        // Nobody reads these answers.
        let mut unread: Vec<Raw> = (0..CLIENTS).map(|_| Raw::connect(server.address())).collect();
        for (number, raw) in unread.iter_mut().enumerate() {
            let body = body(round, number).to_string();
            raw.send(format!(
                "POST /brands HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\nx-company-id: {COMPANY}\r\n\
                 content-type: application/json\r\nidempotency-key: \"{}\"\r\ncontent-length: {}\r\n\r\n{body}",
                client.token,
                key(round, number),
                body.len()
            ));
        }
        let limit = Instant::now() + Duration::from_secs(20);
        while count(&home, BRANDS, &prefix).await < wanted.try_into().expect("small") {
            assert!(Instant::now() < limit, "the brands do not come");
            sleep(Duration::from_millis(1)).await;
        }
        server.kill9();
        drop(unread);

        server = home.program(["serve"]).start();
        client = client.at(&server.url());
        let mut replayed = 0;
        for number in 0..CLIENTS {
            let request = client.request(Method::POST, "/brands").json(&body(round, number));
            let request = request.header("idempotency-key", key(round, number));
            let answer = client.send(request).await.expect("an answer").expect(201);
            assert_eq!(answer.json()["name"], body(round, number)["name"]);
            replayed += usize::from(answer.header("idempotency-replayed") == "true");
        }
        eprintln!("round {round}: {replayed} of {CLIENTS} had been committed");
        assert!(replayed >= wanted, "{replayed} of {wanted}");
        assert_eq!(
            count(&home, BRANDS, &prefix).await,
            i64::try_from(CLIENTS).expect("small")
        );
    }
    server.stop().success();
}
