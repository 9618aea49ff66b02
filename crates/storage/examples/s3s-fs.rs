//! An S3 server that is not ours, as a process of its own: `s3s-fs ADDRESS DIRECTORY ACCESS_KEY SECRET_KEY`.
//! Built with the tests, which already link the library, while its own program would be compiled from scratch.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

#[derive(Parser)]
struct Arguments {
    address: SocketAddr,
    directory: PathBuf,
    access_key: String,
    secret_key: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let backend = s3s_fs::FileSystem::new(arguments.directory);
    let backend = backend.map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(backend);
    builder.set_auth(SimpleAuth::from_single(
        arguments.access_key,
        arguments.secret_key,
    ));
    let service = builder.build();
    let listener = TcpListener::bind(arguments.address).await?;
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone()));
    }
}
