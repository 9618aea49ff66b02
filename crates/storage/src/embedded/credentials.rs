//! The key pair of a data directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::Credentials;

pub(super) const FILE: &str = "credentials.json";

#[derive(Serialize, Deserialize)]
struct Stored {
    access_key: String,
    secret_key: String,
}

/// Reads the pair, or makes one on first use; the file is readable by its owner alone.
pub(super) fn load_or_create(root: &Path) -> io::Result<Credentials> {
    let path = root.join(FILE);
    let stored: Stored = match fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let stored = Stored {
                access_key: random_hex::<10>()?,
                secret_key: random_hex::<32>()?,
            };
            let mut file = NamedTempFile::new_in(root)?;
            file.write_all(&serde_json::to_vec(&stored)?)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(root)?.sync_all()?;
            stored
        }
        Err(error) => return Err(error),
    };
    Ok(Credentials {
        access_key: stored.access_key,
        secret_key: stored.secret_key,
    })
}

fn random_hex<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
