//! Objects on the file system: atomic, durable, found by the hash of their keys.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::broadcast;

use super::Arrival;
use super::object_file::Description;

/// Bucket, key, object.
type Index = BTreeMap<String, BTreeMap<String, Entry>>;

/// What lists and conditions need of an object.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub size: u64,
    pub etag: String,
    pub modified: SystemTime,
}

/// What an upload requires of the object it would replace.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    None,
    Absent,
    Present,
    Etag(String),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("no such bucket")]
    NoSuchBucket,
    #[error("no such key")]
    NoSuchKey,
    #[error("precondition failed")]
    PreconditionFailed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) struct Disk {
    buckets: PathBuf,
    incoming: PathBuf,
    /// Changed together with the directory entries, so the two never disagree.
    index: Mutex<Index>,
    arrivals: broadcast::Sender<Arrival>,
    _lock: File,
}

impl Disk {
    /// Reads what is there; unfinished uploads are removed.
    pub fn open(root: &Path, lock: File, arrivals: broadcast::Sender<Arrival>) -> io::Result<Self> {
        let buckets = root.join("buckets");
        let incoming = root.join("incoming");
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        fs::create_dir(&incoming)?;
        fs::create_dir_all(&buckets)?;
        sync_directory(root)?;
        let index = Mutex::new(load(&buckets)?);
        Ok(Self {
            buckets,
            incoming,
            index,
            arrivals,
            _lock: lock,
        })
    }

    /// Creates a bucket; `false` if it was there. The name must have been validated, because it becomes a path.
    pub fn create_bucket(&self, name: &str) -> io::Result<bool> {
        let mut index = self.index();
        if index.contains_key(name) {
            return Ok(false);
        }
        fs::create_dir(self.buckets.join(name))?;
        sync_directory(&self.buckets)?;
        index.insert(name.to_owned(), BTreeMap::new());
        Ok(true)
    }

    pub fn buckets(&self) -> Vec<String> {
        self.index().keys().cloned().collect()
    }

    pub fn has_bucket(&self, name: &str) -> bool {
        self.index().contains_key(name)
    }

    /// A file to write an object to; it is removed unless committed.
    pub fn incoming(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.incoming)
    }

    /// Whether an upload under this condition could succeed now.
    pub fn check(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), DiskError> {
        let index = self.index();
        condition.check(index.get(bucket).ok_or(DiskError::NoSuchBucket)?.get(key))
    }

    /// Makes a synced file the object, all at once and durably.
    pub fn commit(
        &self,
        bucket: &str,
        description: &Description,
        file: TempPath,
        condition: &Condition,
    ) -> Result<(), DiskError> {
        let path = self.path(bucket, &description.key);
        let directory = path.parent().unwrap_or(&self.buckets);
        fs::create_dir_all(directory)?;
        let entry = Entry {
            size: description.size,
            etag: description.sha256.clone(),
            modified: fs::metadata(&file)?.modified()?,
        };
        {
            let mut index = self.index();
            let objects = index.get_mut(bucket).ok_or(DiskError::NoSuchBucket)?;
            condition.check(objects.get(&description.key))?;
            file.persist(&path).map_err(|error| error.error)?;
            objects.insert(description.key.clone(), entry);
        }
        // Up to the bucket: the directories between may be as new as the file.
        for directory in directory.ancestors().take(3) {
            sync_directory(directory)?;
        }
        // Nobody listening is fine.
        let _ = self.arrivals.send(Arrival {
            bucket: bucket.to_owned(),
            key: description.key.clone(),
            size: description.size,
            etag: description.sha256.clone(),
        });
        Ok(())
    }

    /// An object's file and what is known of it. The file stays readable when it is replaced or deleted.
    pub fn object(&self, bucket: &str, key: &str) -> Result<(File, Description, SystemTime), DiskError> {
        if !self.has_bucket(bucket) {
            return Err(DiskError::NoSuchBucket);
        }
        let file = match File::open(self.path(bucket, key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(DiskError::NoSuchKey),
            result => result?,
        };
        let description = Description::read(&file)?;
        let modified = file.metadata()?.modified()?;
        Ok((file, description, modified))
    }

    /// Deletes an object, durably; one that is not there is as good as deleted.
    pub fn remove(&self, bucket: &str, key: &str) -> Result<(), DiskError> {
        let path = self.path(bucket, key);
        {
            let mut index = self.index();
            let objects = index.get_mut(bucket).ok_or(DiskError::NoSuchBucket)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                result => result?,
            }
            objects.remove(key);
        }
        Ok(path.parent().map_or(Ok(()), sync_directory)?)
    }

    /// Up to `limit` objects whose keys begin with `prefix` and come after `after`, and whether there are more.
    pub fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(String, Entry)>, bool), DiskError> {
        let index = self.index();
        let objects = index.get(bucket).ok_or(DiskError::NoSuchBucket)?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let page = found
            .by_ref()
            .take(limit)
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        Ok((page, found.next().is_some()))
    }

    fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.buckets.join(bucket).join(relative_path(key))
    }

    /// A panic while it was held cannot have left it half-changed: each change is one insertion or removal.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    fn check(&self, current: Option<&Entry>) -> Result<(), DiskError> {
        let holds = match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Etag(etag) => current.is_some_and(|entry| entry.etag == *etag),
        };
        if holds {
            Ok(())
        } else {
            Err(DiskError::PreconditionFailed)
        }
    }
}

/// `ab/cd/abcd…`, the hexadecimal SHA-256 of the key.
fn relative_path(key: &str) -> PathBuf {
    let hash = hex(&Sha256::digest(key));
    [&hash[..2], &hash[2..4], &hash].iter().collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Reads all objects below `buckets`. A file that is none is left alone and reported.
fn load(buckets: &Path) -> io::Result<Index> {
    let mut index = Index::new();
    for bucket in fs::read_dir(buckets)? {
        let bucket = bucket?;
        let Ok(name) = bucket.file_name().into_string() else {
            continue;
        };
        let mut objects = BTreeMap::new();
        for path in files_below(&bucket.path(), 3)? {
            match load_object(&bucket.path(), &path) {
                Ok((key, entry)) => drop(objects.insert(key, entry)),
                Err(error) => tracing::warn!(path = %path.display(), %error, "ignored a damaged object"),
            }
        }
        index.insert(name, objects);
    }
    Ok(index)
}

fn load_object(bucket: &Path, path: &Path) -> io::Result<(String, Entry)> {
    let file = File::open(path)?;
    let description = Description::read(&file)?;
    if bucket.join(relative_path(&description.key)) != path {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not the file of its key",
        ));
    }
    let modified = file.metadata()?.modified()?;
    Ok((
        description.key,
        Entry {
            size: description.size,
            etag: description.sha256,
            modified,
        },
    ))
}

/// The paths exactly `depth` levels down.
fn files_below(directory: &Path, depth: u32) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![directory.to_owned()];
    for _ in 0..depth {
        let mut below = Vec::new();
        for path in paths.into_iter().filter(|path| path.is_dir()) {
            for entry in fs::read_dir(path)? {
                below.push(entry?.path());
            }
        }
        paths = below;
    }
    Ok(paths)
}
