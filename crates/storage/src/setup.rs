//! The buckets as they have to be.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::future::try_join;
use rusty_s3::Method;
use s3s::crypto::{Checksum, Md5};
use sha2::{Digest, Sha256};

use crate::presign::Action;
use crate::{Bucket, Content, Error, Storage};

/// Uploads that nobody took up end by themselves after so many days, should the sweeping job ever stand still.
pub const QUARANTINE_DAYS: u16 = 1;

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
