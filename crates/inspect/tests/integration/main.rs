//! The inspection as its users see it: files in, verdicts out.

mod archives;
mod clamd;
mod corpus;
mod daemon;
mod documents;
mod images;
mod jpeg;
mod memory;
mod mutations;
mod thumbnails;
mod types;
mod zip;

use inspect::{Clean, InspectConfig, Inspector, Verdict};

/// An inspector without clamd.
fn builtin() -> Inspector {
    Inspector::new(&InspectConfig::default()).expect("default settings")
}

async fn verdict_of(inspector: &Inspector, bytes: &[u8], declared: &str, name: &str) -> Verdict {
    let file = on_disk(bytes);
    inspector
        .inspect(file.path(), declared, name)
        .await
        .expect("a verdict")
}

async fn inspect(bytes: &[u8], declared: &str, name: &str) -> Verdict {
    verdict_of(&builtin(), bytes, declared, name).await
}

fn on_disk(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("written");
    file
}

#[track_caller]
fn assert_clean(verdict: Verdict, case: &str) -> Clean {
    match verdict {
        Verdict::Clean(clean) => clean,
        other => panic!("{case}: {other:?}"),
    }
}

#[track_caller]
fn assert_rejected(verdict: &Verdict, reason: &str, case: &str) {
    match verdict {
        Verdict::Rejected(rejected) => {
            assert_eq!(rejected.reason, reason, "{case}: {}", rejected.detail);
            assert!(inspect::reason::ALL.contains(&rejected.reason));
        }
        other => panic!("{case}: {other:?}"),
    }
}

#[track_caller]
fn assert_infected(verdict: &Verdict, case: &str) {
    assert!(matches!(verdict, Verdict::Infected { .. }), "{case}: {verdict:?}");
}
