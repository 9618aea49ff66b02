//! `ally360 health`: asks the API process of this machine whether it is ready, so that a container
//! checks itself without another program in its image.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cli::say;
use crate::health::Readiness;

/// Readiness itself takes up to 3 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// Says `ready` when the process that listens on `listen` is.
///
/// # Errors
/// When it is not, with its reasons; when nothing listens there or does not answer within 4 s.
pub(crate) async fn command(listen: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        listen.port() != 0,
        "the port is not known: set ALLY360_LISTEN to the one of the process"
    );
    let address = reachable(listen);
    let readiness = tokio::time::timeout(PATIENCE, ask(address))
        .await
        .with_context(|| format!("no answer from {address} within {PATIENCE:?}"))??;
    ensure!(readiness.ready, "not ready: {}", readiness.reasons.join("; "));
    say("ready")?;
    Ok(())
}

/// A listener on every interface is also on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(loopback, listen.port())
}

async fn ask(address: SocketAddr) -> anyhow::Result<Readiness> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nothing answers on {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/health/ready")
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        anyhow::Ok(response.into_body().collect().await?.to_bytes())
    };
    // The connection ends when its sender is dropped, with the answer.
    let (body, _closed) = tokio::join!(answer, connection);
    let body = body?;
    serde_json::from_slice(&body).with_context(|| format!("what answers on {address} is not ally360"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_asked_on_the_loopback() {
        let asked = |listen: &str| reachable(listen.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(asked("[::]:8000"), "[::1]:8000");
        assert_eq!(asked("192.0.2.7:80"), "192.0.2.7:80");
    }
}
