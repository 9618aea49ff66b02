//! Where traces go: to a collector, over OTLP, as the standard `OTEL_…` variables say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{info, warn};

/// The one that is spoken; `http/json` and `grpc` are the others there are.
const PROTOCOL: &str = "http/protobuf";
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Read of an answer, which says little.
const MAX_ANSWER: usize = 64 * 1024;

/// A collector that is to get the traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Otlp {
    /// Of traces, whole.
    pub endpoint: Uri,
    /// For one request.
    timeout: Duration,
}

impl Otlp {
    /// What the environment asks for; nothing when it names no endpoint.
    ///
    /// # Errors
    /// One line that names the variable that cannot be followed.
    pub fn from_env() -> anyhow::Result<Option<Otlp>> {
        Otlp::read(&|name| std::env::var(name).ok())
    }

    fn read(variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Option<Otlp>> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        // Of traces alone, before the one of all signals.
        let of_traces = |rest: &str| {
            let names = [
                format!("OTEL_EXPORTER_OTLP_TRACES_{rest}"),
                format!("OTEL_EXPORTER_OTLP_{rest}"),
            ];
            names.into_iter().find_map(|name| Some((get(&name)?, name)))
        };
        let exporter = get("OTEL_TRACES_EXPORTER").unwrap_or_else(|| "otlp".to_owned());
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some((endpoint, name)) = of_traces("ENDPOINT").filter(|_| !disabled && exporter != "none") else {
            return Ok(None);
        };
        ensure!(
            exporter == "otlp",
            "OTEL_TRACES_EXPORTER={exporter} is not supported: otlp or none"
        );
        let whole = if name.contains("TRACES") {
            endpoint.clone()
        } else {
            format!("{}/v1/traces", endpoint.trim_end_matches('/'))
        };
        let uri: Uri = whole
            .parse()
            .ok()
            .filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
            .with_context(|| format!("{name}: {endpoint} is not a URL such as http://127.0.0.1:4318"))?;
        if let Some((protocol, name)) = of_traces("PROTOCOL") {
            ensure!(
                protocol == PROTOCOL,
                "{name}={protocol} is not supported: set {PROTOCOL}, which collectors take on port 4318"
            );
        }
        if let Some((compression, name)) = of_traces("COMPRESSION") {
            ensure!(
                matches!(compression.as_str(), "gzip" | "none"),
                "{name}={compression} is not supported: gzip or none"
            );
        }
        let timeout = match of_traces("TIMEOUT") {
            None => Duration::from_secs(10),
            Some((value, name)) => Duration::from_millis(
                value
                    .parse()
                    .with_context(|| format!("{name}={value} is no number of milliseconds"))?,
            ),
        };
        if let Some(sampler) = get("OTEL_TRACES_SAMPLER") {
            ensure!(
                SAMPLERS.contains(&sampler.as_str()),
                "OTEL_TRACES_SAMPLER={sampler} is not supported: one of {}",
                SAMPLERS.join(", ")
            );
            let part = get("OTEL_TRACES_SAMPLER_ARG");
            let is_part = |part: &String| part.parse().is_ok_and(|part: f64| (0.0..=1.0).contains(&part));
            if sampler.ends_with("traceidratio") && !part.as_ref().is_some_and(is_part) {
                bail!(
                    "OTEL_TRACES_SAMPLER={sampler} needs OTEL_TRACES_SAMPLER_ARG, a number between 0 and 1"
                );
            }
        }
        Ok(Some(Otlp {
            endpoint: uri,
            timeout,
        }))
    }

    /// What sends spans there, by tasks of this runtime, and what is known of how that goes.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn exporter(
        &self,
        runtime: Handle,
        retry: RetryPolicy,
    ) -> anyhow::Result<(SpanExporter, Arc<Courier>)> {
        let courier = Arc::new(Courier {
            client: storage::http_client(self.endpoint.scheme_str() == Some("https"))?,
            runtime,
            timeout: self.timeout,
            fault: Mutex::default(),
        });
        // Headers and compression it reads itself.
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(self.endpoint.to_string())
            .with_timeout(self.timeout)
            .with_shared_http_client(courier.clone())
            .with_retry_policy(retry)
            .build()?;
        Ok((exporter, courier))
    }

    /// Whether the collector takes traces, asked with none of them.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn check(&self) -> anyhow::Result<()> {
        use opentelemetry_sdk::trace::SpanExporter as _;
        let (exporter, courier) = self.exporter(Handle::current(), RetryPolicy::disabled())?;
        match exporter.export(Vec::new()).await {
            Ok(()) => Ok(()),
            Err(error) => bail!(courier.fault().unwrap_or_else(|| error.to_string())),
        }
    }
}

/// Carries spans to the collector, and says when that begins to fail and when it works again.
#[derive(Debug)]
pub(crate) struct Courier {
    client: storage::HttpClient<Full<Bytes>>,
    /// Who exports is no task.
    runtime: Handle,
    timeout: Duration,
    fault: Mutex<Option<String>>,
}

impl Courier {
    fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn went(&self, fault: Option<String>) {
        let before = std::mem::replace(
            &mut *self.fault.lock().unwrap_or_else(PoisonError::into_inner),
            fault.clone(),
        );
        match (before, fault) {
            (None, Some(cause)) => warn!(
                cause,
                "traces cannot be sent; those that find no room are dropped"
            ),
            (Some(_), None) => info!("traces are sent again"),
            _ => {}
        }
    }

    async fn carry(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let (client, limit) = (self.client.clone(), self.timeout);
        let exchange = async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error))?;
            anyhow::Ok(Response::from_parts(head, body.to_bytes()))
        };
        let limited = async move { timeout(limit, exchange).await };
        let late = || format!("no answer in {limit:?}");
        self.runtime.spawn(limited).await?.with_context(late)?
    }
}

#[async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.carry(request).await;
        self.went(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status())),
            Err(error) => Some(format!("{error:#}")),
        });
        Ok(answer?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoint that these variables lead to, or what was said.
    fn of(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Otlp::read(&value) {
            Ok(otlp) => Ok(otlp.map(|otlp| otlp.endpoint.to_string())),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn traces_are_told_when_an_endpoint_is_named_and_nothing_forbids_it() {
        let endpoint = Ok(Some("http://collector:4318/v1/traces".to_owned()));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(of(&[ENDPOINT]), endpoint);
        assert_eq!(
            of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")]),
            endpoint
        );
        assert_eq!(of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(of(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")]), endpoint);
        assert_eq!(of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        // As it is, and before the other.
        let own = (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "https://traces.example.com/in",
        );
        assert_eq!(of(&[ENDPOINT, own]), Ok(Some(own.1.to_owned())));
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_its_name() {
        for (name, value, said) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "set http/protobuf"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                "http/json",
                "set http/protobuf",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
            ("OTEL_TRACES_SAMPLER", "xray", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "collector:4318",
                "http://127.0.0.1:4318",
            ),
        ] {
            let refused = of(&[ENDPOINT, (name, value)]).expect_err(name);
            assert!(refused.contains(name) && refused.contains(said), "{refused}");
            // Nobody is bothered who wants no traces.
            assert_eq!(
                of(&[ENDPOINT, (name, value), ("OTEL_SDK_DISABLED", "true")]),
                Ok(None)
            );
        }
        let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        for (part, good) in [
            ("0.25", true),
            ("0", true),
            ("1", true),
            ("1.5", false),
            ("-1", false),
            ("x", false),
        ] {
            let read = of(&[ENDPOINT, sampler, ("OTEL_TRACES_SAMPLER_ARG", part)]);
            assert_eq!(read.is_ok(), good, "{part}");
        }
    }
}
