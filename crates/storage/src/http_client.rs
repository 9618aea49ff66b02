//! The program's HTTP client: for the object store, and for what else is reached over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Error;

/// Speaks HTTP/1.1, in TLS where the URL asks for it.
pub type HttpClient<B> = Client<HttpsConnector<HttpConnector>, B>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than any server keeps a connection at rest, so that no request meets a closing one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client; this machine's trusted certificates are only read when it is to speak TLS.
///
/// # Errors
/// [`Error::Protocol`]: this machine trusts nobody.
pub fn http_client<B>(tls: bool) -> Result<HttpClient<B>, Error>
where
    B: Body<Data = Bytes> + Send,
{
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(tls)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build(connector))
}

/// aws-lc-rs whatever the process's default provider is; without `anybody` no server is trusted.
fn trusting(anybody: bool) -> Result<rustls::ClientConfig, Error> {
    let mut roots = rustls::RootCertStore::empty();
    if anybody {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let missing =
                "this machine has no trusted certificates; install ca-certificates or set SSL_CERT_FILE";
            return Err(Error::Protocol(missing.to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Protocol(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
