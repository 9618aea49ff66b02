//! The buckets as they have to be.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::future::try_join;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::Empty;
use rusty_s3::Method;
use s3s::crypto::{Checksum, Md5};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::presign::Action;
use crate::{Bucket, Content, Error, PutConditions, Storage, http_client};

/// Uploads that nobody took up end by themselves after so many days, should the sweeping job ever stand still.
pub const QUARANTINE_DAYS: u16 = 1;

/// Longest time for the answer to a probe.
const PROBE: Duration = Duration::from_secs(10);

impl Storage {
    /// Creates both buckets where they are missing and has the store expire what lies in quarantine for a day, if
    /// it can. Safe to call from several processes at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Denied`] and others of the store.
    pub async fn ensure_buckets(&self) -> Result<(), Error> {
        for bucket in [Bucket::Clean, Bucket::Quarantine] {
            self.ensure_bucket(self.bucket(bucket)).await?;
        }
        match self.expire_quarantine().await {
            // The sweeping job does the same, so a store without lifecycle rules or the right to set them will do.
            Err(Error::Refused { status, code }) => {
                tracing::debug!(status, code, "the object store takes no lifecycle rule");
                Ok(())
            }
            Err(Error::Denied(code)) => {
                tracing::warn!(
                    code,
                    "not allowed to set the lifecycle rule of the quarantine bucket"
                );
                Ok(())
            }
            result => result,
        }
    }

    /// Whether both buckets are there and can be used; asks once and waits no longer than the caller does.
    ///
    /// # Errors
    /// [`Error::NotFound`]: a bucket is missing; and those of any call.
    pub async fn check(&self) -> Result<(), Error> {
        let head = async |bucket| {
            let action = Action::bucket(Method::Head, self.bucket(bucket));
            self.transport().attempt(&action, None).await
        };
        try_join(head(Bucket::Clean), head(Bucket::Quarantine))
            .await
            .map(drop)
    }

    /// Whether an upload URL is good for more than an upload: with `x-amz-copy-source`, which nobody signed, some stores
    /// copy another object instead, with our rights. So whoever has a URL reads any object whose key he knows. Tried
    /// where clients send their uploads.
    ///
    /// # Errors
    /// Those of any call; nothing is known then.
    pub async fn probe_upload_urls(&self) -> Result<bool, Error> {
        let id = kernel::ids::new_id();
        let (source, target) = (format!("probe/{id}-source"), format!("probe/{id}-target"));
        let content = b"not for whoever has a URL";
        let sha256 = Sha256::digest(content).into();
        self.put(
            Bucket::Clean,
            &source,
            &Content::bytes(&content[..]),
            "text/plain",
            &sha256,
        )
        .await?;
        let probed = self.copies_unsigned(&source, &target).await;
        if let Ok(loose) = probed {
            self.found_upload_urls_loose(loose);
        }
        for (bucket, key) in [(Bucket::Clean, &source), (Bucket::Quarantine, &target)] {
            if let Err(error) = self.delete(bucket, key).await {
                tracing::debug!(%error, key, "what was tried is left behind");
            }
        }
        probed
    }

    async fn copies_unsigned(&self, source: &str, target: &str) -> Result<bool, Error> {
        let conditions = PutConditions {
            expires: Duration::from_mins(1),
            ..PutConditions::default()
        };
        let url = self.presign_put(target, &conditions)?.url;
        let request = Request::put(&url)
            .header(CONTENT_LENGTH, 0)
            .header(
                "x-amz-copy-source",
                format!("/{}/{source}", self.bucket_name(Bucket::Clean)),
            )
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|error| Error::Protocol(error.to_string()))?;
        let sent = http_client(url.starts_with("https:"))?.request(request);
        match timeout(PROBE, sent).await {
            Err(_) => return Err(Error::Unavailable("no answer where clients upload".to_owned())),
            Ok(Err(error)) => return Err(Error::Unavailable(format!("where clients upload: {error}"))),
            Ok(Ok(_)) => {}
        }
        match self.head(Bucket::Quarantine, target).await {
            Ok(copied) => Ok(copied.size > 0),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn ensure_bucket(&self, bucket: &rusty_s3::Bucket) -> Result<(), Error> {
        match self
            .transport()
            .send(&Action::bucket(Method::Head, bucket), None)
            .await
        {
            Err(Error::NotFound) => {}
            result => return result.map(drop),
        }
        let region = bucket.region();
        let body = match region {
            "us-east-1" => String::new(),
            region => format!(
                r#"<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"#
            ),
        };
        let created = self
            .transport()
            .send(&Action::bucket(Method::Put, bucket), Some(&Content::bytes(body)))
            .await;
        match created {
            // Another process was faster.
            Err(Error::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => {
                tracing::info!(bucket = bucket.name(), "bucket created");
                Ok(())
            }
        }
    }

    async fn expire_quarantine(&self) -> Result<(), Error> {
        let rules = format!(
            r#"<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>ally360-quarantine</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><Expiration><Days>{QUARANTINE_DAYS}</Days></Expiration></Rule></LifecycleConfiguration>"#
        );
        // Servers ask for the one or the other.
        let action = Action::bucket(Method::Put, self.bucket(Bucket::Quarantine))
            .query("lifecycle", "")
            .header(
                "content-md5",
                BASE64_STANDARD.encode(Md5::checksum(rules.as_bytes())),
            )
            .header(
                "x-amz-checksum-sha256",
                BASE64_STANDARD.encode(Sha256::digest(&rules)),
            );
        let content = Content::bytes(rules);
        self.transport().send(&action, Some(&content)).await.map(drop)
    }
}
