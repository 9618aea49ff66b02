//! What is counted of every request: by route, method and class of status, and of nothing that a client
//! chooses, so that the number of series is bounded.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use http::{Method, StatusCode};
use metrics::{gauge, histogram};

/// Label of what no route matches.
const UNMATCHED: &str = "unmatched";

/// A request under way. Dropped before its end, because the client left, it counts as `aborted`.
pub(crate) struct Measured {
    started: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    status: &'static str,
}

impl Measured {
    pub fn begin(request: &Request) -> Measured {
        gauge!("ally360_http_requests_in_flight").increment(1);
        Measured {
            started: Instant::now(),
            method: method(request.method()),
            route: request.extensions().get().cloned(),
            status: "aborted",
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The answer's header is known; its body may still be on its way.
    pub fn end(mut self, status: StatusCode) {
        self.status = class(status);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        gauge!("ally360_http_requests_in_flight").decrement(1);
        let route = self
            .route
            .as_ref()
            .map_or(UNMATCHED, MatchedPath::as_str)
            .to_owned();
        histogram!(
            "ally360_http_request_duration_seconds", "route" => route, "method" => self.method, "status" => self.status
        )
        .record(self.elapsed());
    }
}

/// Anybody can invent a method.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use clap::Parser;
    use kernel::app::App;
    use kernel::clock::Clock;
    use kernel::db::{Db, RolePasswords};
    use kernel::keys::Keys;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use sqlx::postgres::PgConnectOptions;
    use tower::util::ServiceExt;

    use super::*;

    /// Nothing connects to its database.
    fn app() -> App {
        let settings = crate::cli::Cli::parse_from(["ally360", "serve"]).settings;
        let (server, nobody) = (PgConnectOptions::new_without_pgpass(), String::new());
        let roles = RolePasswords {
            app: vec![nobody.clone()],
            system: vec![nobody],
        };
        let db = Db::connect_lazy(&server, &roles, &settings.pool_size());
        App::new(
            settings.config,
            db,
            Keys::rotated("a secret of this test", &[]),
            Clock::default(),
        )
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_and_counted_and_the_next_request_is_answered() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        let _here = metrics::set_default_local_recorder(&recorder);
        crate::telemetry::init(false, None);
        let router = Router::new()
            .route(
                "/panics/{id}",
                get(async || -> &'static str { panic!("an index out of bounds") }),
            )
            .route("/works", get(async || "works"));
        let app = app();
        let service = crate::http::envelop(router, &app).with_state(app);
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = service.clone().oneshot(request).await.expect("an answer");
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, 10_000).await.expect("a body");
            (parts.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
        };

        let (status, body) = ask("/panics/7").await;
        assert_eq!(status, 500);
        assert!(
            body.contains(r#""code":"internal""#) && !body.contains("index"),
            "{body}"
        );
        assert_eq!(ask("/works").await, (200, "works".to_owned()));
        // A client that leaves.
        let request = Request::get("/works").body(Body::empty()).expect("a request");
        drop(Measured::begin(&request));

        // As a worker catches that of a job.
        let job = async { panic!("a job's") };
        let ended: Result<(), _> = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(job)).await;
        assert!(ended.is_err());

        let page = page.render();
        for line in [
            "ally360_panics_total 2",
            r#"ally360_problems_total{code="internal"} 1"#,
            r#"ally360_http_request_duration_seconds_count{route="/panics/{id}",method="GET",status="5xx"} 1"#,
            r#"ally360_http_request_duration_seconds_count{route="/works",method="GET",status="2xx"} 1"#,
            r#"ally360_http_request_duration_seconds_count{route="unmatched",method="GET",status="aborted"} 1"#,
            "ally360_http_requests_in_flight 0",
        ] {
            assert!(page.lines().any(|l| l == line), "no {line} in {page}");
        }
    }
}
