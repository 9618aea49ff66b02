//! API processes killed behind the balancer: a client that repeats itself with the same key gets one effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::support::{APIS, Fleet};
use crate::files::support::seed;
use crate::support::{Client, figures, full};

const CLIENTS: usize = 8;
/// Longest time until a write succeeds, tries included.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client did.
#[derive(Default)]
struct Done {
    /// By SKU, as they were acknowledged.
    products: Vec<(String, Value)>,
    repeated: usize,
    /// Repeated requests that had been done before the first answer was lost.
    replayed: usize,
    slowest: Duration,
}

/// Creates products, each under a key of its own, until each is acknowledged.
async fn create(client: Client, number: usize, count: usize, acknowledged: Arc<AtomicUsize>) -> Done {
    let mut done = Done::default();
    for index in 0..count {
        let sku = format!("KILL-{number}-{index}");
        let new = json!({"name": format!("Producto {sku}"), "sku": sku, "price_sale": "100.00"});
        let began = Instant::now();
        let product = loop {
            let request = client.request(Method::POST, "/products").json(&new);
            match client.send(request.header("idempotency-key", &sku)).await {
                Ok(answer) if answer.status == 201 => {
                    done.replayed += usize::from(answer.header("idempotency-replayed") == "true");
                    break answer.json();
                }
                // The balancer lost the process, or has none; or the first try is still at work.
                Ok(answer) => assert!([409, 502, 503, 504].contains(&answer.status), "{answer:?}"),
                Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
            }
            assert!(began.elapsed() < PATIENCE, "{sku} does not succeed");
            done.repeated += 1;
            sleep(Duration::from_millis(25)).await;
        };
        done.slowest = done.slowest.max(began.elapsed());
        done.products.push((sku, product));
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_api_processes_lose_nothing_acknowledged_and_double_nothing() {
    let (operations, kills) = if full() { (20_000, 100) } else { (400, 4) };
    let Some(mut fleet) = Fleet::start(&[]).await else {
        return;
    };
    let mut random = StdRng::seed_from_u64(seed());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, acknowledged) = (fleet.client.clone(), acknowledged.clone());
        clients.spawn(create(client, number, operations / CLIENTS, acknowledged));
    }
    for kill in 0..kills {
        // Spread over the work, however fast it goes.
        let moment = operations * kill / kills + random.random_range(1..operations / kills);
        while acknowledged.load(Ordering::SeqCst) < moment {
            sleep(Duration::from_millis(1)).await;
        }
        fleet.kill_api(random.random_range(0..APIS));
    }
    let done = clients.join_all().await;
    let rows = "select sku, count(*) from ally.products where starts_with(sku, 'KILL-') group by sku";
    let rows: Vec<(String, i64)> = sqlx::query_as(rows)
        .fetch_all(&mut fleet.place.external.connect().await)
        .await
        .expect("rows");
    assert_eq!(rows.len(), operations, "each is there");
    assert!(rows.iter().all(|(_, count)| *count == 1), "and once");
    for (sku, product) in done
        .iter()
        .flat_map(|done| &done.products)
        .step_by(operations / 400)
    {
        let path = format!("/products/{}", product["id"].as_str().expect("an id"));
        assert_eq!(
            &fleet.client.get(&path).await.expect(200).json(),
            product,
            "{sku}"
        );
    }
    let sum = |number: fn(&Done) -> usize| done.iter().map(number).sum::<usize>();
    let slowest = done.iter().map(|done| done.slowest).max().unwrap_or_default();
    figures(
        "kill -9 of API processes behind HAProxy",
        &format!(
            "{kills} kills in {operations} writes: 0 lost, 0 doubled; {} sent again, {} of them had been done; \
             longest time to a success {} ms",
            sum(|done| done.repeated),
            sum(|done| done.replayed),
            slowest.as_millis()
        ),
    );
    fleet.stop();
}
