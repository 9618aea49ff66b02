//! Archives and Office documents.

use inspect::{Verdict, reason};

use crate::corpus::{DOCX, XLSX, eicar, office};
use crate::zip::Zip;
use crate::{assert_clean, assert_infected, assert_rejected, corpus, inspect};

async fn verdict(zip: &Zip) -> Verdict {
    inspect(&zip.build(), "application/zip", "a.zip").await
}

fn one() -> Zip {
    Zip::default().deflated("a.txt", b"uno")
}

#[tokio::test]
async fn bombs_are_refused() {
    let zeroes = vec![0; 20_000_000];
    let bomb = Zip::default().deflated("a.txt", &zeroes);
    assert!(bomb.build().len() < 30_000);
    assert_rejected(&verdict(&bomb).await, reason::ARCHIVE_BOMB, "ratio");
    let liar = bomb.clone().with(|item| item.inflated = 100);
    assert_rejected(
        &verdict(&liar).await,
        reason::ARCHIVE_BOMB,
        "declared smaller than it is",
    );
    let boaster = one().with(|item| item.inflated = 4);
    assert_rejected(
        &verdict(&boaster).await,
        reason::ARCHIVE_BOMB,
        "declared larger than it is",
    );
    let huge = (0..30).fold(Zip::default(), |zip, i| {
        zip.deflated(&i.to_string(), b"x")
            .with(|item| item.inflated = 4_000_000_000)
    });
    assert_rejected(&verdict(&huge).await, reason::ARCHIVE_BOMB, "declared 120 GB");
    let many = (0..1_001).fold(Zip::default(), |zip, i| zip.stored(&i.to_string(), b""));
    assert_rejected(&verdict(&many).await, reason::ARCHIVE_BOMB, "1,001 entries");
    let most = (0..1_000).fold(Zip::default(), |zip, i| zip.stored(&i.to_string(), b""));
    assert_clean(verdict(&most).await, "1,000 entries");
}

#[tokio::test]
async fn entries_do_not_overlap() {
    let kernel = one();
    let mut overlapping = kernel.clone();
    let mut again = kernel.items[0].clone();
    again.header = Some(0);
    overlapping.items.push(again.clone());
    assert_rejected(
        &verdict(&overlapping).await,
        reason::ARCHIVE_BOMB,
        "the same bytes twice",
    );
    // One entry quoted inside the data of another.
    let inner = one().build();
    let mut quoted = Zip::default().stored("b.txt", &[b"xx", &inner[..inner.len() - 22]].concat());
    again.header = Some(30 + 5 + 2);
    quoted.items.push(again);
    assert_rejected(&verdict(&quoted).await, reason::ARCHIVE_BOMB, "quoted");
}

#[tokio::test]
async fn nothing_hides_between_or_around_entries() {
    let zip = one().build();
    assert_rejected(
        &inspect(&[&zip, &b"x"[..]].concat(), "application/zip", "a.zip").await,
        reason::TRAILING_DATA,
        "tail",
    );
    let moved = one()
        .stored("b.txt", &[b'x'; 100])
        .with(|item| item.crc = 0)
        .build();
    assert_rejected(
        &inspect(&moved, "application/zip", "a.zip").await,
        reason::MALFORMED,
        "checksum",
    );
    // An entry that the directory does not name.
    let both = one().stored("hidden.txt", b"hidden").build();
    let first = one().build();
    let (data, end) = (both.len() - 22 - 2 * 46 - 5 - 10, first.len() - 22);
    let directory = &first[end - 46 - 5..end];
    let mut hidden = [&both[..data], directory, &first[end..]].concat();
    let start = hidden.len() - 6;
    hidden[start..start + 4].copy_from_slice(&u32::try_from(data).expect("small").to_le_bytes());
    assert_rejected(
        &inspect(&hidden, "application/zip", "a.zip").await,
        reason::MALFORMED,
        "hidden entry",
    );
    let twice = one().stored("A.TXT", b"otro");
    assert_rejected(
        &verdict(&twice).await,
        reason::ARCHIVE_NAMES,
        "the same name twice",
    );
}

#[tokio::test]
async fn names_stay_below_the_directory() {
    for name in [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "C:\\a",
        "C:a",
        "a\\..\\b",
        "a//b",
        "./a",
        "",
        "a\nb",
        "a\0b",
        "..",
    ] {
        assert_rejected(
            &verdict(&Zip::default().stored(name, b"")).await,
            reason::ARCHIVE_NAMES,
            name,
        );
    }
    assert_clean(
        verdict(&Zip::default().stored("a/", b"").stored("a/ñ..txt", b"x")).await,
        "usual names",
    );
    let link = Zip::default()
        .stored("a", b"/etc/passwd")
        .with(|item| item.mode = 0o120_777);
    assert_rejected(&verdict(&link).await, reason::ARCHIVE_NAMES, "symbolic link");
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_refused() {
    let encrypted = one().with(|item| item.flags = 1);
    assert_rejected(&verdict(&encrypted).await, reason::UNSCANNABLE, "encrypted");
    let strong = one().with(|item| item.flags = 1 << 6);
    assert_rejected(&verdict(&strong).await, reason::UNSCANNABLE, "strongly encrypted");
    let lzma = one().with(|item| item.method = 14);
    assert_rejected(&verdict(&lzma).await, reason::UNSCANNABLE, "LZMA");
    for nested in [
        corpus::zip(),
        b"Rar!\x1a\x07\0".to_vec(),
        b"\x1f\x8b\x08\0".to_vec(),
        corpus::xlsx(),
    ] {
        let zip = Zip::default().deflated("a.dat", &nested);
        assert_rejected(
            &verdict(&zip).await,
            reason::ARCHIVE_NESTED,
            "archive in an archive",
        );
    }
}

#[tokio::test]
async fn entries_are_no_programs_and_no_malware() {
    assert_rejected(
        &verdict(&Zip::default().stored("a.txt", b"\x7fELF")).await,
        reason::EXECUTABLE,
        "ELF",
    );
    for name in ["a.exe", "b/A.JS", "c.html", "d.lnk"] {
        assert_rejected(
            &verdict(&Zip::default().stored(name, b"x")).await,
            reason::ACTIVE_CONTENT,
            name,
        );
    }
    assert_rejected(
        &verdict(&Zip::default().stored("a.txt", b"<html>")).await,
        reason::ACTIVE_CONTENT,
        "HTML",
    );
    let padded = [&vec![b'x'; 65_500], &eicar()[..]].concat();
    assert_infected(
        &verdict(&Zip::default().deflated("a.txt", &padded)).await,
        "EICAR inside",
    );
    let zip = Zip::default()
        .deflated("a.txt", b"uno")
        .deflated("b.txt", &eicar());
    assert_infected(&verdict(&zip).await, "EICAR in the second entry");
    let nested = Zip::default().stored("a.zip", &zip.build());
    assert!(
        !matches!(verdict(&nested).await, Verdict::Clean(_)),
        "EICAR in a nested archive"
    );
}

#[tokio::test]
async fn office_documents_have_no_macros_and_load_nothing() {
    let xlsx = || office("xl/workbook.xml", "spreadsheetml.sheet.main+xml");
    let attached = br#"<Relationship Type="http://x/relationships/attachedTemplate" Target="http://x/" TargetMode="External"/>"#;
    for zip in [
        xlsx().stored("xl/vbaProject.bin", b"x"),
        xlsx().stored("xl/activeX/activeX1.bin", b"x"),
        xlsx().stored("xl/embeddings/oleObject1.bin", b"x"),
        xlsx().stored("xl/macrosheets/sheet1.xml", b"x"),
        xlsx().deflated("xl/_rels/settings.xml.rels", attached),
        office(
            "xl/workbook.xml",
            "spreadsheetml.sheet.main+xml application/vnd.ms-excel.sheet.macroEnabled.main+xml",
        ),
    ] {
        assert_rejected(
            &inspect(&zip.build(), XLSX, "a.xlsx").await,
            reason::ACTIVE_CONTENT,
            "active part",
        );
    }
    let chart = xlsx().deflated("xl/embeddings/libro.xlsx", &corpus::xlsx());
    assert_rejected(
        &inspect(&chart.build(), XLSX, "a.xlsx").await,
        reason::ARCHIVE_NESTED,
        "a workbook in a workbook",
    );
    assert_rejected(
        &inspect(&corpus::zip(), DOCX, "a.docx").await,
        reason::TYPE_MISMATCH,
        "a plain archive",
    );
}
