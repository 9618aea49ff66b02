//! What tokens are signed with and passwords derived from: how strong, how old, who can read it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kernel::clock::Clock;
use kernel::config::SAMPLE_SECRET;
use kernel::keys::Keys;

use super::report::{Report, Verdict};
use crate::settings::Settings;

/// In bytes.
const STRONG: usize = 32;
/// Different bytes in it: a random one has more even when it is written in hexadecimal digits.
const VARIED: usize = 8;
/// After so many days nobody knows any more who has seen it.
const OLD_DAYS: i64 = 365;
/// What an earlier secret signed has expired after so many days.
const EARLIER_DAYS: i64 = 2;
const NEW_ONE: &str = "choose your own (openssl rand -hex 32)";
const ROTATE: &str = "replace it as docs/operations.md says, nobody is signed out by that";

/// The secret, and the earlier ones. A missing one is told by whoever needs it.
pub(super) fn examine(settings: &Settings, report: &mut Report) {
    let auth = &settings.config.auth;
    let (source, secret, file) = match &auth.app_secret_string {
        Some(secret) => {
            let file = std::env::var_os("APP_SECRET_STRING_FILE").map(PathBuf::from);
            ("APP_SECRET_STRING".to_owned(), secret.clone(), file)
        }
        None => {
            let file = settings.data_dir.join("secret");
            let Ok(secret) = std::fs::read_to_string(&file) else {
                return;
            };
            (file.display().to_string(), secret, Some(file))
        }
    };
    report.add("secret", strength(&source, &secret));
    let mut age = None;
    if let Some(file) = file {
        if let Some(mode) = mode(&file) {
            report.add("secret", privacy(&file, mode));
        }
        age = age_in_days(&file, Clock::default().now());
    }
    if let Some(days) = age {
        report.add("secret", freshness(&source, days));
    }
    let earlier: Vec<&String> = auth.previous_secrets.iter().filter(|s| !s.is_empty()).collect();
    for earlier in &earlier {
        let (verdict, text) = strength("one of ALLY360_PREVIOUS_SECRETS", earlier);
        if verdict != Verdict::Ok {
            report.add("keys", (verdict, format!("{text}: what it signs is accepted")));
        }
    }
    let kid = Keys::new(&secret)
        .secrets()
        .map(|(kid, _)| kid)
        .next()
        .unwrap_or_default();
    let repeated = earlier.iter().any(|earlier| **earlier == secret);
    report.add("keys", signing(&kid, earlier.len(), repeated, age));
}

fn strength(source: &str, secret: &str) -> (Verdict, String) {
    let mut bytes = secret.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    if secret == SAMPLE_SECRET {
        (
            Verdict::Warn,
            format!("{source} is the guide's sample, which everybody knows: {NEW_ONE}"),
        )
    } else if secret.len() < STRONG {
        (
            Verdict::Warn,
            format!(
                "{source} has {} bytes, at least {STRONG} are safe: {NEW_ONE}",
                secret.len()
            ),
        )
    } else if bytes.len() < VARIED {
        (
            Verdict::Warn,
            format!(
                "{source} repeats {} characters and can be guessed: {NEW_ONE}",
                bytes.len()
            ),
        )
    } else {
        (Verdict::Ok, format!("{source} has {} bytes", secret.len()))
    }
}

fn mode(file: &Path) -> Option<u32> {
    file.metadata().ok().map(|file| file.permissions().mode())
}

/// Its group may be how the secret is handed to this user.
fn privacy(file: &Path, mode: u32) -> (Verdict, String) {
    let file = file.display();
    if mode & 0o007 == 0 {
        return (Verdict::Ok, format!("{file} cannot be read by everybody"));
    }
    (
        Verdict::Fail,
        format!("{file} can be read by other users: chmod 600 {file}, and make a new one if they did"),
    )
}

fn age_in_days(file: &Path, now: Timestamp) -> Option<i64> {
    let written = Timestamp::try_from(file.metadata().ok()?.modified().ok()?).ok()?;
    Some((now.as_second() - written.as_second()) / 86_400)
}

fn freshness(source: &str, days: i64) -> (Verdict, String) {
    if days > OLD_DAYS {
        (Verdict::Warn, format!("{source} is {days} days old: {ROTATE}"))
    } else {
        (Verdict::Ok, format!("{source} is {days} days old"))
    }
}

/// What tokens are signed and verified with.
fn signing(kid: &str, earlier: usize, repeated: bool, age: Option<i64>) -> (Verdict, String) {
    if repeated {
        return (
            Verdict::Warn,
            "ALLY360_PREVIOUS_SECRETS has the present secret among them: drop it there".to_owned(),
        );
    }
    match (earlier, age) {
        (0, _) => (
            Verdict::Ok,
            format!("tokens are signed by key {kid}, and no other is accepted"),
        ),
        (_, Some(days)) if days > EARLIER_DAYS => (
            Verdict::Warn,
            format!(
                "{earlier} earlier keys are accepted, {days} days after the last change: drop ALLY360_PREVIOUS_SECRETS"
            ),
        ),
        _ => (
            Verdict::Ok,
            format!(
                "tokens are signed by key {kid}, {earlier} earlier ones are accepted: drop ALLY360_PREVIOUS_SECRETS \
                 a day after the change"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_can_be_guessed_are_warned_of_and_none_is_shown() {
        let strong = "0123456789abcdef0123456789abcdef";
        assert_eq!(strength("S", SAMPLE_SECRET).0, Verdict::Warn);
        assert_eq!(strength("S", &strong[1..]).0, Verdict::Warn);
        assert_eq!(strength("S", &"abc".repeat(20)).0, Verdict::Warn);
        let (verdict, text) = strength("S", strong);
        assert_eq!(verdict, Verdict::Ok);
        assert!(!text.contains(strong), "{text}");
    }

    #[test]
    fn a_file_that_everybody_reads_fails() {
        let verdict = |mode| privacy(Path::new("secret"), mode).0;
        assert_eq!(
            [
                verdict(0o100_600),
                verdict(0o100_440),
                verdict(0o100_444),
                verdict(0o100_602)
            ],
            [Verdict::Ok, Verdict::Ok, Verdict::Fail, Verdict::Fail]
        );
    }

    #[test]
    fn an_old_secret_is_warned_of() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let written = age_in_days(file.path(), Clock::default().now()).expect("an age");
        let later = Clock::default().now() + jiff::SignedDuration::from_hours(24 * 400);
        let verdict = |days| freshness("S", days).0;
        assert_eq!(verdict(written), Verdict::Ok);
        assert_eq!(
            verdict(age_in_days(file.path(), later).expect("an age")),
            Verdict::Warn
        );
    }

    #[test]
    fn earlier_keys_are_dropped_after_a_change() {
        let verdict = |earlier, repeated, age| signing("kid", earlier, repeated, age).0;
        assert_eq!(verdict(0, false, Some(100)), Verdict::Ok);
        assert_eq!(verdict(1, false, None), Verdict::Ok);
        assert_eq!(verdict(1, false, Some(1)), Verdict::Ok);
        assert_eq!(verdict(1, false, Some(3)), Verdict::Warn);
        assert_eq!(verdict(1, true, Some(1)), Verdict::Warn);
    }
}
