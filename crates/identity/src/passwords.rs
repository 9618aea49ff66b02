//! Password hashing: argon2id, off the async threads, a bounded number at once.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use kernel::config::AuthConfig;
use kernel::error::{BUSY, Error, Result};
use tokio::sync::Semaphore;

/// How long a login waits for a slot before it is told to come back.
const WAIT: Duration = Duration::from_secs(5);
/// Logins that wait at once; more are told at once.
const QUEUE: usize = 64;

/// Slots for hashing; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    running: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// One pass, one lane. With 46 MiB, the default, that is what OWASP and ASVS recommend: about 60 ms
    /// on one core.
    memory_kib: u32,
    /// A hash nobody's password has: unknown accounts burn the same work.
    nobody: Arc<str>,
}

impl Passwords {
    /// As many slots as configured, else one per core.
    pub fn new(config: &AuthConfig) -> Passwords {
        let (concurrency, memory_kib) = (config.password_concurrency, config.password_memory_kib);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Passwords {
            running: Arc::new(Semaphore::new(concurrency.unwrap_or(cores).max(1))),
            queue: Arc::new(Semaphore::new(QUEUE)),
            memory_kib,
            // Never matches: its salt and output were not made from a password. Same parameters.
            nobody: format!("$argon2id$v=19$m={memory_kib},t=1,p=1$c29tZS1zYWx0LTE2LWJ5dA$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA").into(),
        }
    }

    /// Hashes to a PHC string.
    ///
    /// # Errors
    /// `busy` when too many are waiting.
    pub async fn hash(&self, password: String) -> Result<String> {
        let memory_kib = self.memory_kib;
        let hash = self.off_thread(move || {
            hasher(memory_kib)?
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
        });
        hash.await?
            .map_err(|e| anyhow::anyhow!("hashing failed: {e}").into())
    }

    /// Whether the password fits the hash; `None` is an unknown account and takes as long.
    ///
    /// # Errors
    /// `busy` when too many are waiting.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.to_string());
        let fits = move || Ok::<_, argon2::password_hash::Error>(verify(&password, &hash));
        let fits = self.off_thread(fits).await?.unwrap_or(false);
        Ok(fits && known)
    }

    /// Whether the hash was made with other parameters than new ones are.
    pub fn is_outdated(&self, hash: &str) -> bool {
        !hash.starts_with(&format!("$argon2id$v=19$m={},t=1,p=1$", self.memory_kib))
    }

    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _place = self.queue.try_acquire().map_err(|_| Error::new(&BUSY))?;
        let slot = tokio::time::timeout(WAIT, self.running.clone().acquire_owned()).await;
        let slot = slot.map_err(|_| Error::new(&BUSY))?.map_err(Error::internal)?;
        let work = move || {
            // The slot is held until the work ends, even when the request is gone.
            let _slot = slot;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}

fn hasher(memory_kib: u32) -> Result<Argon2<'static>, argon2::password_hash::Error> {
    let params =
        Params::new(memory_kib, 1, 1, None).map_err(|_| argon2::password_hash::Error::ParamsInvalid)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use clap::Parser;

    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        auth: AuthConfig,
    }

    fn one_at_a_time(memory_kib: u32) -> Passwords {
        let mut auth = Defaults::parse_from(["test"]).auth;
        (auth.password_concurrency, auth.password_memory_kib) = (Some(1), memory_kib);
        Passwords::new(&auth)
    }

    #[tokio::test]
    async fn hashes_with_other_parameters_are_outdated_and_still_verify() {
        let (then, now) = (one_at_a_time(8), one_at_a_time(16));
        let hash = then.hash("correct horse".to_owned()).await.expect("hash");
        assert!(!then.is_outdated(&hash) && now.is_outdated(&hash));
        assert!(
            now.verify("correct horse".to_owned(), Some(hash))
                .await
                .expect("verify")
        );
    }

    #[tokio::test]
    async fn verifies_and_burns_the_same_work_for_unknown_accounts() {
        let passwords = one_at_a_time(47104);
        let hash = passwords.hash("correct horse".to_owned()).await.expect("hash");
        assert!(hash.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"));
        assert!(
            passwords
                .verify("correct horse".to_owned(), Some(hash.clone()))
                .await
                .expect("verify")
        );
        assert!(
            !passwords
                .verify("wrong".to_owned(), Some(hash.clone()))
                .await
                .expect("verify")
        );
        assert!(
            PasswordHash::new(&passwords.nobody).is_ok(),
            "the stand-in parses, so it is really computed"
        );

        // Taken in turns, and the least of each: other work on the machine only adds.
        let mut least = [u128::MAX; 2];
        let alike = |[known, unknown]: [u128; 2]| known * 10 > unknown * 7 && unknown * 10 > known * 7;
        for round in 0..100 {
            for (least, hash) in least.iter_mut().zip([Some(hash.clone()), None]) {
                let started = Instant::now();
                passwords.verify("wrong".to_owned(), hash).await.expect("verify");
                *least = started.elapsed().as_micros().min(*least);
            }
            if round > 10 && alike(least) {
                break;
            }
        }
        assert!(alike(least), "{least:?}");
    }

    #[tokio::test]
    async fn a_full_queue_answers_busy() {
        let passwords = one_at_a_time(1024);
        let many = (0..QUEUE + 20).map(|_| passwords.verify("x".to_owned(), None));
        let results = futures::future::join_all(many).await;
        assert!(
            results
                .iter()
                .any(|r| r.as_ref().is_err_and(|e| e.code() == "busy"))
        );
        assert!(results.iter().filter(|r| r.is_ok()).count() > 10);
    }
}
