//! Connections survive clients that go away: whenever a request is dropped, its connection comes back
//! without an open transaction and without the company of the dropped request.

use std::time::Duration;

use kernel::db::PoolState;
use serde_json::json;
use testkit::{Client, TestApp};
use uuid::Uuid;

const CONNECTIONS: u32 = 2;

/// `ALLY360_TEST_FULL=1` drops as many requests as a release promises.
fn dropped_requests() -> usize {
    if std::env::var_os("ALLY360_TEST_FULL").is_some() {
        10_000
    } else {
        1_000
    }
}

#[tokio::test]
async fn dropped_requests_leave_no_trace_on_their_connections() {
    let t = TestApp::with(server::service, |config| {
        config.database.db_app_connections = CONNECTIONS;
    })
    .await;
    let mut random = Random::new();
    let tenants = [t.tenant("a").await, t.tenant("b").await, t.tenant("c").await];
    // The tenants are known to the cache: what is dropped is the work on the database.
    for tenant in &tenants {
        tenant.get("/company/me").await.ok();
    }
    let (mut answered, mut failed, mut foreign) = (0, 0, 0);
    for round in 0..dropped_requests() {
        // Some wait for their answer, however slow the machine is.
        let patience = Duration::from_micros(if round % 20 == 0 {
            10_000_000
        } else {
            random.below(3_000)
        });
        let (dropped, other) = (&tenants[round % 3], &tenants[random.below(3) as usize]);
        tokio::select! {
            biased;
            () = tokio::time::sleep(patience) => {}
            succeeded = request(dropped, random.below(4), round) => {
                answered += 1;
                failed += usize::from(!succeeded);
            }
        }
        if round % 5 == 0 && !sees_itself(other).await {
            foreign += 1;
        }
    }
    let dropped = dropped_requests() - answered;
    eprintln!(
        "pool: {dropped} dropped, {answered} answered: {failed} failed; {foreign} answers of another company or none"
    );
    assert!(
        dropped > dropped_requests() / 10 && answered > 0,
        "the points of dropping are not spread"
    );
    assert_eq!((failed, foreign), (0, 0), "failed, of another company or none");

    let stuck = settled(&t).await;
    assert_eq!(stuck, [""; 0], "connections that are not idle");
    let mut refused = 0;
    for round in 0..200 {
        refused += usize::from(!sees_itself(&tenants[round % 3]).await);
    }
    assert_eq!(refused, 0, "of 200 requests after the storm");
    let [PoolState { open, idle, .. }, _] = t.app.db.pools();
    assert!(
        open <= CONNECTIONS as usize && idle <= open,
        "{open} connections, {idle} idle"
    );
}

/// A read or a write of the company; whether it succeeded.
async fn request(client: &Client, kind: u64, round: usize) -> bool {
    let answer = match kind {
        0 => {
            client
                .post("/brands", json!({"name": format!("Brand {round}")}))
                .await
        }
        1 => {
            client
                .patch("/company/me", json!({"description": format!("round {round}")}))
                .await
        }
        2 => client.get("/brands?limit=5&include_total=true").await,
        _ => client.get("/company/me").await,
    };
    answer.status.is_success()
}

/// Whether the company of the answer is the client's.
async fn sees_itself(client: &Client) -> bool {
    let answer = client.get("/company/me").await;
    answer.json["id"] == client.company().to_string()
}

/// Sessions of the application role that are still in a transaction once everything has settled.
async fn settled(t: &TestApp) -> Vec<String> {
    let sessions = "select state || ': ' || query from pg_stat_activity
                     where datname = current_database() and usename = 'ally_app' and state <> 'idle'";
    let mut conn = t.superuser().await;
    let mut stuck = Vec::new();
    for _ in 0..40 {
        stuck = sqlx::query_scalar(sessions)
            .fetch_all(&mut conn)
            .await
            .expect("pg_stat_activity");
        if stuck.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stuck
}

/// SplitMix64: numbers that a failing run can be repeated with (`ALLY360_TEST_SEED`).
struct Random(u64);

impl Random {
    fn new() -> Random {
        let given = std::env::var("ALLY360_TEST_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0);
        eprintln!("ALLY360_TEST_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
