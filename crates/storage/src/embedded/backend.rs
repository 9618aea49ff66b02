//! The S3 operations that are needed, over [`Disk`]; every other one answers `NotImplemented`. Signatures and their
//! expiry have been checked by `s3s` before any of these runs.

use std::fmt::Display;
use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures::TryStreamExt;
use http::StatusCode;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    Bucket, Checksum, CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    ETagCondition, EncodingType, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::disk::{Condition, Disk, DiskError, hex};
use super::object_file::Description;
use super::uploads::Uploads;
use crate::content::pieces;

/// Objects on one page of a list, as S3 has it.
const MAX_KEYS: i32 = 1000;
/// Written to disk at once.
const WRITE_BUFFER: usize = 256 * 1024;

/// How large objects may be, in bytes.
pub(super) struct Limits {
    pub max_object_bytes: u64,
    pub quarantine_bucket: String,
    pub max_upload_bytes: u64,
}

impl Limits {
    fn of(&self, bucket: &str) -> u64 {
        if bucket == self.quarantine_bucket {
            self.max_upload_bytes
        } else {
            self.max_object_bytes
        }
    }
}

pub(super) struct Backend {
    disk: Arc<Disk>,
    limits: Limits,
    uploads: Uploads,
}

impl Backend {
    pub fn new(disk: Disk, limits: Limits) -> Self {
        Self {
            disk: Arc::new(disk),
            limits,
            uploads: Uploads::default(),
        }
    }

    /// Runs blocking work on the disk.
    async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, DiskError> + Send + 'static,
    ) -> S3Result<T> {
        let disk = Arc::clone(&self.disk);
        let done = tokio::task::spawn_blocking(move || work(&disk));
        done.await.map_err(S3Error::internal_error)?.map_err(disk_error)
    }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        let location = format!("/{bucket}");
        if !self.disk(move |disk| Ok(disk.create_bucket(&bucket)?)).await? {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(location),
        }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        if self.disk.has_bucket(&req.input.bucket) {
            Ok(S3Response::new(HeadBucketOutput::default()))
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.disk.buckets().into_iter();
        let buckets = buckets
            .map(|name| Bucket {
                name: Some(name),
                ..Default::default()
            })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            ..Default::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if req.trailing_headers.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "checksums after the body are not supported"
            ));
        }
        let mut input = req.input;
        let declared = input.content_length.and_then(|length| u64::try_from(length).ok());
        let declared = declared.ok_or_else(|| s3_error!(MissingContentLength))?;
        let limit = self.limits.of(&input.bucket);
        if declared > limit {
            return Err(s3_error!(
                EntityTooLarge,
                "larger than this bucket's limit of {limit} bytes"
            ));
        }
        let condition = condition(input.if_match.take(), input.if_none_match.take())?;
        self.disk
            .check(&input.bucket, &input.key, &condition)
            .map_err(disk_error)?;

        let _upload = if input.bucket == self.limits.quarantine_bucket {
            let upload = self.uploads.begin(&input.key);
            Some(upload.ok_or_else(|| s3_error!(SlowDown, "uploads to this key are under way"))?)
        } else {
            None
        };
        let (file, path) = self.disk(|disk| Ok(disk.incoming()?)).await?.into_parts();
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, tokio::fs::File::from_std(file));
        let received = receive(input.body.take(), declared, &input, &mut file).await?;
        let description = Description {
            key: input.key,
            size: declared,
            sha256: received.sha256,
            content_type: input.content_type,
        };
        let finish = async {
            file.write_all(&description.trailer()?).await?;
            file.flush().await?;
            file.get_ref().sync_all().await
        };
        finish.await.map_err(|error| disk_error(error.into()))?;

        let e_tag = Some(ETag::Strong(description.sha256.clone()));
        let bucket = input.bucket;
        self.disk(move |disk| disk.commit(&bucket, &description, path, &condition))
            .await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag,
            checksum_crc32: received.checksums.checksum_crc32,
            checksum_crc32c: received.checksums.checksum_crc32c,
            checksum_crc64nvme: received.checksums.checksum_crc64nvme,
            checksum_sha1: received.checksums.checksum_sha1,
            checksum_sha256: received.checksums.checksum_sha256,
            ..Default::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput {
            bucket,
            key,
            if_match,
            if_none_match,
            range,
            ..
        } = req.input;
        let (file, description, modified) = self.disk(move |disk| disk.object(&bucket, &key)).await?;
        check_conditions(&description, if_match, if_none_match)?;
        let size = description.size;
        let (range, content_range) = match range {
            None => (0..size, None),
            Some(range) => {
                let range = range.check(size)?;
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
                (range, Some(content_range))
            }
        };
        let checksum_sha256 = content_range
            .is_none()
            .then(|| sha256_base64(&description))
            .flatten();
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(range.end - range.start)?),
            content_range,
            content_type: Some(content_type(&description)),
            checksum_sha256,
            e_tag: Some(ETag::Strong(description.sha256)),
            last_modified: Some(modified.into()),
            body: Some(StreamingBlob::wrap(pieces(Arc::new(file), range))),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput {
            bucket,
            key,
            if_match,
            if_none_match,
            ..
        } = req.input;
        let (_, description, modified) = self.disk(move |disk| disk.object(&bucket, &key)).await?;
        check_conditions(&description, if_match, if_none_match)?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(description.size)?),
            content_type: Some(content_type(&description)),
            checksum_sha256: sha256_base64(&description),
            e_tag: Some(ETag::Strong(description.sha256)),
            last_modified: Some(modified.into()),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, .. } = req.input;
        self.disk(move |disk| disk.remove(&bucket, &key)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        if input
            .delimiter
            .as_deref()
            .is_some_and(|delimiter| !delimiter.is_empty())
        {
            return Err(s3_error!(NotImplemented, "delimiters are not supported"));
        }
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS).clamp(0, MAX_KEYS);
        let limit = usize::try_from(max_keys).map_err(S3Error::internal_error)?;
        let after = match input.continuation_token.as_deref() {
            Some(token) => Some(last_key(token)?),
            None => input.start_after.clone(),
        };
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let listed = self.disk.list(&input.bucket, prefix, after.as_deref(), limit);
        let (objects, more) = listed.map_err(disk_error)?;

        let is_truncated = more && !objects.is_empty();
        let last = objects.last().filter(|_| is_truncated);
        let next_continuation_token = last.map(|(key, _)| BASE64_URL_SAFE_NO_PAD.encode(key));
        let in_url = input
            .encoding_type
            .as_ref()
            .is_some_and(|kind| kind.as_str() == EncodingType::URL);
        let encoded = |key: String| if in_url { url_encoded(&key) } else { key };
        let contents = objects.into_iter().map(|(key, entry)| {
            Ok(Object {
                key: Some(encoded(key)),
                size: Some(length(entry.size)?),
                e_tag: Some(ETag::Strong(entry.etag)),
                last_modified: Some(entry.modified.into()),
                ..Default::default()
            })
        });
        let contents = contents.collect::<S3Result<Vec<_>>>()?;
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some(i32::try_from(contents.len()).map_err(S3Error::internal_error)?),
            contents: Some(contents),
            max_keys: Some(max_keys),
            is_truncated: Some(is_truncated),
            next_continuation_token,
            continuation_token: input.continuation_token,
            name: Some(input.bucket),
            prefix: input.prefix.map(encoded),
            start_after: input.start_after.map(encoded),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }
}

/// What an upload's bytes turned out to be.
struct Received {
    sha256: String,
    checksums: Checksum,
}

/// Writes a body to `file` and checks it against every length and checksum that the request declares.
async fn receive(
    body: Option<StreamingBlob>,
    declared: u64,
    input: &PutObjectInput,
    file: &mut BufWriter<tokio::fs::File>,
) -> S3Result<Received> {
    let mut sha256 = Sha256::new();
    let mut md5 = input.content_md5.as_ref().map(|_| Md5::new());
    let mut others = ChecksumHasher {
        crc32: input.checksum_crc32.as_ref().map(|_| Default::default()),
        crc32c: input.checksum_crc32c.as_ref().map(|_| Default::default()),
        crc64nvme: input.checksum_crc64nvme.as_ref().map(|_| Default::default()),
        sha1: input.checksum_sha1.as_ref().map(|_| Default::default()),
        sha256: None,
    };
    let mut size = 0;
    let mut body = body.unwrap_or_else(|| StreamingBlob::wrap(futures::stream::empty::<io::Result<_>>()));
    while let Some(piece) = body.try_next().await.map_err(incomplete)? {
        size += u64::try_from(piece.len()).map_err(S3Error::internal_error)?;
        if size > declared {
            return Err(s3_error!(UnexpectedContent, "the body is longer than declared"));
        }
        sha256.update(&piece);
        others.update(&piece);
        if let Some(md5) = &mut md5 {
            md5.update(&piece);
        }
        file.write_all(&piece)
            .await
            .map_err(|error| disk_error(error.into()))?;
    }
    if size != declared {
        return Err(s3_error!(IncompleteBody));
    }

    let sha256 = sha256.finalize();
    let mut checksums = others.finalize();
    checksums.checksum_sha256 = Some(BASE64_STANDARD.encode(sha256));
    let md5 = md5.map(|md5| BASE64_STANDARD.encode(md5.finalize()));
    let claims = [
        (&input.checksum_sha256, &checksums.checksum_sha256),
        (&input.checksum_sha1, &checksums.checksum_sha1),
        (&input.checksum_crc32, &checksums.checksum_crc32),
        (&input.checksum_crc32c, &checksums.checksum_crc32c),
        (&input.checksum_crc64nvme, &checksums.checksum_crc64nvme),
        (&input.content_md5, &md5),
    ];
    if claims
        .iter()
        .any(|(claimed, computed)| claimed.is_some() && claimed != computed)
    {
        return Err(s3_error!(
            BadDigest,
            "the body does not have the declared checksum"
        ));
    }
    Ok(Received {
        sha256: hex(&sha256),
        checksums,
    })
}

fn condition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(ETag::Strong(etag))), None) => Ok(Condition::Etag(etag)),
        _ => Err(s3_error!(
            NotImplemented,
            "this combination of conditions is not supported"
        )),
    }
}

fn check_conditions(
    description: &Description,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<()> {
    let is_current = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == description.sha256,
    };
    if if_match.is_some_and(|condition| !is_current(&condition)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|condition| is_current(&condition)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

fn content_type(description: &Description) -> String {
    description
        .content_type
        .clone()
        .unwrap_or_else(|| "application/octet-stream".to_owned())
}

fn sha256_base64(description: &Description) -> Option<String> {
    let digits = description.sha256.as_bytes().chunks_exact(2);
    let bytes = digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    Some(BASE64_STANDARD.encode(bytes.collect::<Option<Vec<_>>>()?))
}

fn length(bytes: u64) -> S3Result<i64> {
    i64::try_from(bytes).map_err(S3Error::internal_error)
}

/// As HTML forms do it, which is what S3 does.
fn url_encoded(key: &str) -> String {
    form_urlencoded::byte_serialize(key.as_bytes()).collect()
}

/// Where the page of a continuation token begins.
fn last_key(token: &str) -> S3Result<String> {
    let invalid = || s3_error!(InvalidArgument, "not a continuation token of this store");
    let key = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    String::from_utf8(key).map_err(|_| invalid())
}

/// The client went away or fell silent in the middle of its body.
fn incomplete(error: impl Display) -> S3Error {
    s3_error!(IncompleteBody, "the body ended early: {error}")
}

fn disk_error(error: DiskError) -> S3Error {
    match error {
        DiskError::NoSuchBucket => s3_error!(NoSuchBucket),
        DiskError::NoSuchKey => s3_error!(NoSuchKey),
        DiskError::PreconditionFailed => s3_error!(PreconditionFailed),
        DiskError::Io(error) => {
            use io::ErrorKind::{QuotaExceeded, StorageFull};
            let full = matches!(error.kind(), StorageFull | QuotaExceeded);
            let mut answer = if full {
                let mut answer =
                    S3Error::with_message(S3ErrorCode::Custom("StorageFull".into()), "the disk is full");
                answer.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
                answer
            } else {
                s3_error!(InternalError, "the disk failed")
            };
            answer.set_source(error.into());
            answer
        }
    }
}
