//! The declared type, the name and the content must agree.

use inspect::reason;

use crate::{assert_clean, assert_infected, assert_rejected, corpus, inspect};

#[tokio::test]
async fn every_accepted_type_is_clean() {
    for (bytes, declared, name) in corpus::all() {
        let clean = assert_clean(inspect(&bytes, declared, name).await, name);
        assert_eq!(clean.content_type, declared);
        assert_eq!(clean.scanned_by, "builtin-content-check");
        assert_eq!(clean.image.is_some(), declared.starts_with("image/"), "{name}");
    }
}

#[tokio::test]
async fn no_file_passes_as_another_type() {
    let files = corpus::all();
    for (bytes, actual, _) in &files {
        for (_, declared, name) in &files {
            let texts = actual.starts_with("text/") && declared.starts_with("text/");
            if actual != declared && !texts {
                let case = format!("{actual} as {declared}");
                assert_rejected(
                    &inspect(bytes, declared, name).await,
                    reason::TYPE_MISMATCH,
                    &case,
                );
            }
        }
    }
}

#[tokio::test]
async fn the_name_must_end_as_the_type_does() {
    for name in ["foto.png", "foto", "foto.jpg.exe", "foto.jpg\0.png"] {
        assert_rejected(
            &inspect(&corpus::jpeg(), "image/jpeg", name).await,
            reason::EXTENSION_MISMATCH,
            name,
        );
    }
}

#[tokio::test]
async fn programs_and_markup_are_refused_under_any_name() {
    let cases: &[(&[u8], &str)] = &[
        (
            b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0PE\0\0",
            reason::EXECUTABLE,
        ),
        (b"\x7fELF\x02\x01\x01\0", reason::EXECUTABLE),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01", reason::EXECUTABLE),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", reason::EXECUTABLE),
        (b"#!/bin/sh\nrm -rf /\n", reason::EXECUTABLE),
        (
            b"<!DOCTYPE html><script>alert(1)</script>",
            reason::ACTIVE_CONTENT,
        ),
        (
            b"  \n<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>",
            reason::ACTIVE_CONTENT,
        ),
        (b"<?xml version='1.0'?><x/>", reason::ACTIVE_CONTENT),
        (b"\xef\xbb\xbf<html><body>", reason::ACTIVE_CONTENT),
        (b"\xff\xfe<\0h\0t\0m\0l\0>\0", reason::UNKNOWN_TYPE),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", reason::UNKNOWN_TYPE),
        (b"\0\0\0\x20ftypheic", reason::UNKNOWN_TYPE),
    ];
    for (bytes, reason) in cases {
        for (_, declared, name) in corpus::all() {
            assert_rejected(
                &inspect(bytes, declared, name).await,
                reason,
                &format!("{declared} {bytes:?}"),
            );
        }
    }
}

#[tokio::test]
async fn web_archives_and_scripts_are_not_text() {
    let web_archive =
        b"From: <Saved>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\r\n--x\r\n";
    for bytes in [
        &web_archive[..],
        b"sku;nombre\n1;<ScRiPt src=//x>\n",
        b"a\n<iframe src=//x>",
    ] {
        for (declared, name) in [("text/csv", "a.csv"), ("text/plain", "a.txt")] {
            assert_rejected(
                &inspect(bytes, declared, name).await,
                reason::ACTIVE_CONTENT,
                name,
            );
        }
    }
}

#[tokio::test]
async fn sizes_have_bounds() {
    for (_, declared, name) in corpus::all() {
        assert_rejected(&inspect(b"", declared, name).await, reason::EMPTY, name);
    }
    let file = crate::on_disk(b"");
    file.as_file().set_len(inspect::MAX_BYTES + 1).expect("sparse");
    let verdict = crate::builtin()
        .inspect(file.path(), "text/plain", "a.txt")
        .await
        .expect("a verdict");
    assert_rejected(&verdict, reason::TOO_LARGE, "64 MiB and a byte");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_has_no_verdict() {
    let missing = std::path::Path::new("/nonexistent/file");
    crate::builtin()
        .inspect(missing, "text/plain", "a.txt")
        .await
        .expect_err("no verdict");
}

#[tokio::test]
async fn eicar_is_infected_wherever_it_stands() {
    let eicar = corpus::eicar();
    assert_infected(&inspect(&eicar, "text/plain", "a.txt").await, "plain");
    for padding in [1, 65_500, 70_000] {
        let padded = [&vec![b'x'; padding], &eicar[..], b"tail"].concat();
        assert_infected(
            &inspect(&padded, "text/plain", "a.txt").await,
            &format!("after {padding}"),
        );
    }
    for (bytes, declared, name) in corpus::all() {
        assert_infected(
            &inspect(&[&bytes, &eicar[..]].concat(), declared, name).await,
            name,
        );
    }
}
