//! PDF documents.

use inspect::{Verdict, reason};

use crate::corpus::{eicar, pdf, pdf_stream};
use crate::{assert_clean, assert_infected, assert_rejected, corpus, inspect};

async fn verdict(bytes: &[u8]) -> Verdict {
    inspect(bytes, "application/pdf", "a.pdf").await
}

#[tokio::test]
async fn what_acts_is_refused_plain_escaped_and_compressed() {
    let script = "<< /S /JavaScript /JS (app.alert(1)) >>";
    let packed = |dictionary: &str| pdf_stream(dictionary, format!("4 0 {script}").as_bytes());
    for (case, extra) in [
        ("plain", script.as_bytes().to_vec()),
        ("escaped", b"<< /S /J#61va#53cript >>".to_vec()),
        ("launch", b"<< /S /Launch /F (cmd.exe) >>".to_vec()),
        ("attachment", b"<< /Type /EmbeddedFile >>".to_vec()),
        ("attachments", b"<< /EmbeddedFiles 5 0 R >>".to_vec()),
        ("object stream", packed("/Type /ObjStm /N 1 /First 4")),
        ("escaped object stream", packed("/Type /Obj#53tm /N 1 /First 4")),
        (
            "claiming to be an image",
            packed("/Type /ObjStm /Subtype /Image /N 1 /First 4"),
        ),
        (
            "behind a long dictionary",
            packed(&format!(
                "/Type /ObjStm /First 4 /X ({}) /Subtype /Image",
                "x".repeat(5000)
            )),
        ),
        ("markup", b"(<script>)".to_vec()),
    ] {
        assert_rejected(&verdict(&pdf(&extra)).await, reason::ACTIVE_CONTENT, case);
    }
}

#[tokio::test]
async fn opening_may_only_show_a_page() {
    let stream = |object: &str| {
        [
            &b"<< /OpenAction 5 0 R >>"[..],
            &pdf_stream("/Type /ObjStm /N 1 /First 4", format!("5 0 {object}").as_bytes()),
        ]
        .concat()
    };
    for (case, extra) in [
        (
            "LibreOffice",
            b"<< /OpenAction[1 0 R /XYZ null null 0] >>".to_vec(),
        ),
        (
            "inline",
            b"<< /OpenAction << /S /GoTo /D [3 0 R /Fit] >> >>".to_vec(),
        ),
        (
            "LaTeX",
            b"<< /OpenAction 5 0 R >>\n5 0 obj\n<< /S /GoTo /D [3 0 R /Fit ] >>\nendobj".to_vec(),
        ),
        ("in an object stream", stream("<< /S /GoTo /D [3 0 R /Fit] >>")),
    ] {
        assert_clean(verdict(&pdf(&extra)).await, case);
    }
    for (case, extra) in [
        (
            "inline",
            b"<< /OpenAction << /S /URI /URI (http://x) >> >>".to_vec(),
        ),
        (
            "chained",
            b"<< /OpenAction << /S /GoTo /Next 7 0 R >> >>".to_vec(),
        ),
        ("missing", b"<< /OpenAction 5 0 R >>".to_vec()),
        (
            "object",
            b"<< /OpenAction 5 0 R >>\n5 0 obj\n<< /S /URI >>\nendobj".to_vec(),
        ),
        (
            "replaced",
            b"<< /OpenAction 5 0 R >>\n5 0 obj\n[3 0 R]\nendobj\n5 0 obj\n<< /S /URI >>\nendobj".to_vec(),
        ),
        ("in an object stream", stream("<< /S /SubmitForm >>")),
    ] {
        assert_rejected(&verdict(&pdf(&extra)).await, reason::ACTIVE_CONTENT, case);
    }
}

#[tokio::test]
async fn nothing_follows_or_shares_the_document() {
    let zip = corpus::zip();
    let plain = pdf(b"");
    assert_rejected(
        &verdict(&[&plain[..], &zip].concat()).await,
        reason::ACTIVE_CONTENT,
        "ZIP tail",
    );
    assert_rejected(&verdict(&pdf(&zip)).await, reason::ACTIVE_CONTENT, "ZIP inside");
    assert_rejected(
        &verdict(&[&plain[..], b"more"].concat()).await,
        reason::TRAILING_DATA,
        "tail",
    );
    assert_clean(verdict(&[&plain[..], b"\r\n\0\0"].concat()).await, "padding");
    assert_rejected(
        &verdict(&plain[..plain.len() - 10]).await,
        reason::MALFORMED,
        "truncated",
    );
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_refused() {
    assert_rejected(
        &verdict(&pdf(b"<< /Encrypt 5 0 R >>")).await,
        reason::UNSCANNABLE,
        "encrypted",
    );
    let lzw = b"9 0 obj\n<< /Type /ObjStm /First 4 /Filter /LZWDecode >>\nstream\nxxxx\nendstream";
    assert_rejected(&verdict(&pdf(lzw)).await, reason::UNSCANNABLE, "LZW objects");
    let bomb = pdf_stream("", &vec![0; 60_000_000]);
    assert_rejected(&verdict(&pdf(&bomb)).await, reason::ARCHIVE_BOMB, "bomb");
}

#[tokio::test]
async fn ordinary_streams_are_clean_and_malware_in_them_is_found() {
    let page = pdf_stream("", b"BT /F1 12 Tf (Factura) Tj ET");
    let picture = pdf_stream("/Subtype /Image /Width 5000 /Height 5000", &vec![7; 75_000_000]);
    assert_clean(verdict(&pdf(&[page, picture].concat())).await, "page and picture");
    assert_infected(&verdict(&pdf(&pdf_stream("", &eicar()))).await, "EICAR");
}
