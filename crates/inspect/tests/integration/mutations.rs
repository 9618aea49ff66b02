//! Damaged files of every type: always a verdict, never malware as clean.

use inspect::{Inspector, Verdict};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{builtin, corpus, verdict_of};

/// Mutations of each seed file; the full tier asks for more.
fn rounds() -> usize {
    if std::env::var_os("ALLY360_TEST_FULL").is_some() {
        1_000
    } else {
        100
    }
}

fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..=8) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at] = 0xff,
            3 => drop(bytes.drain(at..bytes.len().min(at + random.random_range(1..16)))),
            4 => bytes.insert(at, random.random()),
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

async fn thumbnails_do_not_panic(inspector: &Inspector, verdict: &Verdict, bytes: &[u8]) {
    if let Verdict::Clean(clean) = verdict
        && clean.image.is_some()
    {
        let file = crate::on_disk(bytes);
        inspector
            .thumbnails(file.path())
            .await
            .expect("a clean image has thumbnails");
    }
}

#[tokio::test]
async fn damaged_files_have_a_verdict() {
    let inspector = builtin();
    let mut random = StdRng::seed_from_u64(360);
    let mut clean = 0;
    for (seed, declared, name) in corpus::all() {
        for _ in 0..rounds() {
            let mut bytes = seed.clone();
            mutate(&mut random, &mut bytes);
            let verdict = verdict_of(&inspector, &bytes, declared, name).await;
            if let Verdict::Rejected(rejected) = &verdict {
                assert_ne!(rejected.detail, "the decoder gave up", "{declared}");
            }
            thumbnails_do_not_panic(&inspector, &verdict, &bytes).await;
            clean += usize::from(matches!(verdict, Verdict::Clean(_)));
        }
    }
    assert!(clean > 0, "the mutations leave some files in order");
}

#[tokio::test]
async fn damage_around_eicar_never_makes_it_clean() {
    let inspector = builtin();
    let eicar = corpus::eicar();
    let mut random = StdRng::seed_from_u64(361);
    for (seed, declared, name) in corpus::all() {
        for _ in 0..rounds() {
            let mut bytes = seed.clone();
            mutate(&mut random, &mut bytes);
            let at = random.random_range(0..=bytes.len());
            bytes.splice(at..at, eicar.iter().copied());
            let verdict = verdict_of(&inspector, &bytes, declared, name).await;
            assert!(!matches!(verdict, Verdict::Clean(_)), "{declared}");
        }
    }
}
