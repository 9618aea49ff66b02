//! What browsers may show in place, and names that are fit for keys.

use company_settings::PICTURES;
use kernel::text::unaccented;

/// Whether a browser may show it in place: it runs nothing.
pub(crate) fn is_safe_inline(content_type: &str) -> bool {
    PICTURES.contains(&content_type) || content_type == "application/pdf"
}

/// A name as it may stand in an object's key: ASCII letters, digits, `.`, `-` and `_`, the latter three neither
/// first nor last before the extension, at most 100 bytes with its extension kept.
pub(crate) fn key_name(filename: &str) -> String {
    const MAX: usize = 100;
    let kept = |c: char| match unaccented(c) {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') => c,
        _ => '_',
    };
    let cleaned: String = filename.chars().map(kept).collect();
    let is_extension =
        |text: &str| (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    let (stem, extension) = match cleaned.rsplit_once('.') {
        Some((stem, extension)) if is_extension(extension) => (stem, Some(extension)),
        _ => (cleaned.as_str(), None),
    };
    let room = MAX - extension.map_or(0, |e| e.len() + 1);
    let stem: String = stem.trim_matches(['.', '-', '_']).chars().take(room).collect();
    let stem = if stem.is_empty() { "file" } else { &stem };
    extension.map_or_else(|| stem.to_owned(), |extension| format!("{stem}.{extension}"))
}

/// `Content-Disposition` of RFC 6266: the name in plain ASCII, and as it was given.
pub(crate) fn disposition(kind: &str, filename: &str) -> String {
    let encoded: String = filename.bytes().fold(String::new(), |mut encoded, byte| {
        // RFC 8187: what need not be encoded.
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
        encoded
    });
    format!(
        "{kind}; filename=\"{}\"; filename*=UTF-8''{encoded}",
        key_name(filename)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_keys_are_harmless() {
        for (name, expected) in [
            ("product_image.jpg", "product_image.jpg"),
            ("Piña colada (1).JPG", "Pina_colada__1.JPG"),
            ("../../etc/passwd", "etc_passwd"),
            ("..", "file"),
            ("a\r\nX-Evil: 1.png", "a__X-Evil__1.png"),
            ("\u{202e}gpj.exe", "gpj.exe"),
            (".htaccess", "file.htaccess"),
            ("файл.txt", "file.txt"),
            ("a@thumb_160", "a_thumb_160"),
        ] {
            assert_eq!(key_name(name), expected, "{name:?}");
        }
        let long = key_name(&format!("{}.jpeg", "x".repeat(400)));
        assert!(long.len() <= 100 && long.ends_with(".jpeg"));
    }

    #[test]
    fn a_disposition_carries_any_name_and_no_header() {
        let shown = disposition("attachment", "Piña \"1\"\r\n.pdf");
        assert_eq!(
            shown,
            "attachment; filename=\"Pina__1.pdf\"; filename*=UTF-8''Pi%C3%B1a%20%221%22%0D%0A.pdf"
        );
    }

    #[test]
    fn five_hundred_names_survive_their_header() {
        let letters: Vec<char> = "abcXYZ019 .-_'\"\\/;:%*()<>@,=?[]{}\r\n\t\0áñÜçß€漢字🦤\u{202e}\u{200b}"
            .chars()
            .collect();
        let mut state = 360_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for _ in 0..500 {
            let length = 1 + random(60);
            let name: String = (0..length).map(|_| letters[random(letters.len())]).collect();
            let shown = disposition("attachment", &name);
            assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)), "{shown:?}");
            assert_eq!(shown.matches('"').count(), 2, "{shown:?}");
            let (_, encoded) = shown
                .split_once("; filename*=UTF-8''")
                .expect("the name as it was given");
            let mut pieces = encoded.split('%');
            let mut decoded = pieces.next().expect("a piece").as_bytes().to_vec();
            for piece in pieces {
                let (digits, rest) = piece.split_at(2);
                decoded.push(u8::from_str_radix(digits, 16).expect("two digits"));
                decoded.extend(rest.as_bytes());
            }
            assert_eq!(String::from_utf8(decoded).expect("UTF-8"), name);
        }
    }
}
