//! The client: what the API signs for browsers and what jobs do themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{HeaderMap, Response};
use hyper::body::Incoming;
use jiff::Timestamp;
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Method, UrlStyle};
use url::Url;

use crate::config::{ConfigError, Credentials, Endpoints, StorageConfig};
use crate::embedded::{EmbeddedStore, StartError};
use crate::presign::{Action, GetOptions, Presigned, PutConditions};
use crate::sigv4::Signer;
use crate::transport::{self, Transport};
use crate::{Bucket, Content, Error};

/// The object store. A clone is a pointer.
#[derive(Clone, Debug)]
pub struct Storage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    /// As this process reaches them.
    internal: Buckets,
    /// As clients reach them.
    public: Buckets,
    /// What [`Storage::probe_upload_urls`] found last.
    upload_urls_are_loose: AtomicBool,
}

#[derive(Debug)]
struct Buckets {
    clean: rusty_s3::Bucket,
    quarantine: rusty_s3::Bucket,
}

impl Buckets {
    fn new(endpoint: &Url, config: &StorageConfig) -> Result<Self, StartError> {
        let bucket = |name: String| {
            rusty_s3::Bucket::new(
                endpoint.clone(),
                UrlStyle::Path,
                name,
                config.minio_region.clone(),
            )
            .map_err(|error| StartError::Client(error.to_string()))
        };
        Ok(Self {
            clean: bucket(config.minio_bucket_name.clone())?,
            quarantine: bucket(config.quarantine_bucket())?,
        })
    }

    fn get(&self, bucket: Bucket) -> &rusty_s3::Bucket {
        match bucket {
            Bucket::Clean => &self.clean,
            Bucket::Quarantine => &self.quarantine,
        }
    }
}

/// What the store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// In bytes.
    pub size: u64,
    /// Without quotes. Opaque: only good for comparing.
    pub etag: String,
    pub content_type: Option<String>,
    /// Where the upload carried one and the store keeps it.
    pub sha256: Option<[u8; 32]>,
}

/// An object being read.
pub struct Object {
    pub info: ObjectInfo,
    /// Ends with an error when fewer bytes arrive than [`ObjectInfo::size`], or none for 30 seconds.
    pub body: BoxStream<'static, Result<Bytes, Error>>,
}

/// One page of a bucket.
#[derive(Clone, Debug)]
pub struct Listing {
    /// In the order of their keys' bytes, at most 1,000.
    pub objects: Vec<Listed>,
    /// Where the next page begins; `None` on the last.
    pub continuation: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// In bytes.
    pub size: u64,
    pub last_modified: Timestamp,
}

impl Storage {
    /// The server that `MINIO_HOST` and its companions name; sends nothing.
    ///
    /// # Errors
    /// [`StartError::Config`] names the variable that does not fit; [`StartError::Client`]: TLS cannot be set up.
    pub fn external(config: &StorageConfig) -> Result<Self, StartError> {
        let (endpoints, credentials) = config.external()?;
        Self::new(config, &endpoints, &credentials)
    }

    /// The embedded store; sends nothing.
    ///
    /// # Errors
    /// As [`Storage::external`].
    pub fn embedded(config: &StorageConfig, store: &EmbeddedStore) -> Result<Self, StartError> {
        let endpoints = config.embedded(store.addr(), store.own_addr())?;
        Self::new(config, &endpoints, store.credentials())
    }

    fn new(
        config: &StorageConfig,
        endpoints: &Endpoints,
        credentials: &Credentials,
    ) -> Result<Self, StartError> {
        let signer = Signer::new(credentials, &config.minio_region);
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(&endpoints.internal, signer)
                .map_err(|error| StartError::Client(error.to_string()))?,
            internal: Buckets::new(&endpoints.internal, config)?,
            public: Buckets::new(&endpoints.public, config)?,
            upload_urls_are_loose: AtomicBool::new(false),
        })))
    }

    /// A URL with which a client uploads one object to [`Bucket::Quarantine`]; computed, nothing is sent.
    ///
    /// The URL works until it expires, any number of times, unless [`PutConditions::create_only`] is honoured:
    /// never serve from the key it writes.
    ///
    /// # Errors
    /// [`Error::InvalidKey`].
    pub fn presign_put(&self, key: &str, conditions: &PutConditions) -> Result<Presigned, Error> {
        let mut action = Action::object(Method::Put, &self.0.public.quarantine, key)?;
        action.headers = conditions.headers();
        Ok(action.presign(self.0.transport.signer(), conditions.expires, Duration::ZERO))
    }

    /// Whether [`Storage::probe_upload_urls`] has found that upload URLs are good for more than uploads.
    pub fn upload_urls_are_loose(&self) -> bool {
        self.0.upload_urls_are_loose.load(Ordering::Relaxed)
    }

    pub(crate) fn found_upload_urls_loose(&self, loose: bool) {
        self.0.upload_urls_are_loose.store(loose, Ordering::Relaxed);
    }

    /// A URL with which a client reads one object of [`Bucket::Clean`]; computed, nothing is sent, and whether the
    /// object exists does not matter.
    ///
    /// # Errors
    /// [`Error::InvalidKey`].
    pub fn presign_get(&self, key: &str, options: &GetOptions) -> Result<Presigned, Error> {
        let mut action = Action::object(Method::Get, &self.0.public.clean, key)?;
        action.query = options.query();
        Ok(action.presign(self.0.transport.signer(), options.expires, options.same_for))
    }

    /// What the store says of an object.
    ///
    /// # Errors
    /// [`Error::NotFound`] and those of any call.
    pub async fn head(&self, bucket: Bucket, key: &str) -> Result<ObjectInfo, Error> {
        let action = self
            .object(Method::Head, bucket, key)?
            .header("x-amz-checksum-mode", "ENABLED");
        info(self.send(&action).await?.headers())
    }

    /// Begins to read an object; with `if_match` only the one of that [`ObjectInfo::etag`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::PreconditionFailed`] and those of any call. Once the body has begun nothing is
    /// tried again.
    pub async fn get_stream(
        &self,
        bucket: Bucket,
        key: &str,
        if_match: Option<&str>,
    ) -> Result<Object, Error> {
        let mut action = self
            .object(Method::Get, bucket, key)?
            .header("x-amz-checksum-mode", "ENABLED");
        if let Some(etag) = if_match {
            action = action.header("if-match", format!("\"{etag}\""));
        }
        let response = self.send(&action).await?;
        Ok(Object {
            info: info(response.headers())?,
            body: body(response),
        })
    }

    /// Stores an object, replacing one of that key; `sha256` is the content's and the store checks it.
    /// Answers the new [`ObjectInfo::etag`].
    ///
    /// # Errors
    /// [`Error::Refused`] with `BadDigest`: the content is not the one of `sha256`; [`Error::Content`]: it cannot be
    /// read; and those of any call.
    pub async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        content: &Content,
        content_type: &str,
        sha256: &[u8; 32],
    ) -> Result<String, Error> {
        let action = self
            .object(Method::Put, bucket, key)?
            .header("content-type", content_type)
            .header("x-amz-checksum-sha256", BASE64_STANDARD.encode(sha256));
        let response = self.0.transport.send(&action, Some(content)).await?;
        etag(response.headers())
    }

    /// Deletes an object; one that does not exist is as good as deleted.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), Error> {
        match self.send(&self.object(Method::Delete, bucket, key)?).await {
            Ok(_) | Err(Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One page of the objects whose keys begin with `prefix`; `continuation` is that of the page before.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn list(
        &self,
        bucket: Bucket,
        prefix: &str,
        continuation: Option<&str>,
    ) -> Result<Listing, Error> {
        let mut action = Action::bucket(Method::Get, self.bucket(bucket))
            .query("list-type", "2")
            .query("encoding-type", "url");
        if !prefix.is_empty() {
            action = action.query("prefix", prefix);
        }
        if let Some(token) = continuation {
            action = action.query("continuation-token", token);
        }
        let page = transport::text(self.send(&action).await?).await?;
        let page =
            ListObjectsV2::parse_response(&page).map_err(|error| Error::Protocol(error.to_string()))?;
        let objects = page.contents.into_iter().map(|object| {
            let last_modified = object.last_modified.as_deref().unwrap_or_default();
            Ok(Listed {
                key: object.key,
                size: object.size.ok_or_else(|| missing("Size"))?,
                last_modified: last_modified.parse().map_err(|_| missing("LastModified"))?,
            })
        });
        Ok(Listing {
            objects: objects.collect::<Result<_, _>>()?,
            continuation: page.next_continuation_token,
        })
    }

    /// What the store calls a bucket.
    pub fn bucket_name(&self, bucket: Bucket) -> &str {
        self.bucket(bucket).name()
    }

    pub(crate) fn bucket(&self, bucket: Bucket) -> &rusty_s3::Bucket {
        self.0.internal.get(bucket)
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    fn object(&self, method: Method, bucket: Bucket, key: &str) -> Result<Action, Error> {
        Action::object(method, self.bucket(bucket), key)
    }

    async fn send(&self, action: &Action) -> Result<Response<Incoming>, Error> {
        self.0.transport.send(action, None).await
    }
}

fn info(headers: &HeaderMap) -> Result<ObjectInfo, Error> {
    let sha256 = header(headers, "x-amz-checksum-sha256");
    Ok(ObjectInfo {
        size: header(headers, "content-length")
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| missing("Content-Length"))?,
        etag: etag(headers)?,
        content_type: header(headers, "content-type").map(str::to_owned),
        sha256: sha256
            .and_then(|sum| BASE64_STANDARD.decode(sum).ok())
            .and_then(|sum| sum.try_into().ok()),
    })
}

fn etag(headers: &HeaderMap) -> Result<String, Error> {
    let etag = header(headers, "etag").ok_or_else(|| missing("ETag"))?;
    Ok(etag.trim_matches('"').to_owned())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn missing(what: &str) -> Error {
    Error::Protocol(format!("no usable {what}"))
}

/// The body with a limit on each wait.
fn body(response: Response<Incoming>) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::try_unfold(response.into_body(), |mut body| async {
        Ok(transport::chunk(&mut body).await?.map(|chunk| (chunk, body)))
    })
    .boxed()
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
