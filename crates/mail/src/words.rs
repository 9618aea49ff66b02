//! Text that strangers chose and that others read in their mail.

use kernel::text::is_invisible;
use serde::{Serialize, Serializer};

/// Longer names are cut: a name is no place for a message.
const CHARS: usize = 100;

/// The name of a person, company or device as a mail may show it: one line, of bounded length, and
/// nothing in it that a mail client would turn into a link. `http://evil.co` reads `http: evil·co`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Name(String);

impl Name {
    /// The name as it may be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Name {
    fn from(text: T) -> Name {
        // Control and format characters: line ends, and those that hide or turn text around.
        let one_line: String = text
            .as_ref()
            .chars()
            .map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c })
            .collect();
        let words: Vec<String> = one_line.split_whitespace().map(inert).collect();
        let mut name: String = words.join(" ");
        if let Some((end, _)) = name.char_indices().nth(CHARS) {
            name.truncate(end);
            name.push('…');
        }
        Name(name)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A dot before two letters may begin a top-level domain. `S.A.S.` and `4.5` stay as they are.
fn inert(word: &str) -> String {
    let word = word.replace("://", ": ");
    let chars: Vec<char> = word.chars().collect();
    let begins_domain = |i: usize| {
        i > 0
            && chars[i - 1].is_alphanumeric()
            && i + 2 < chars.len()
            && chars[i + 1..=i + 2].iter().all(|c| c.is_alphabetic())
    };
    chars
        .iter()
        .enumerate()
        .map(|(i, &c)| if c == '.' && begins_domain(i) { '·' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(text: &str, expected: &str) {
        assert_eq!(Name::from(text).as_str(), expected);
    }

    #[test]
    fn names_are_one_line_of_bounded_length() {
        shown("Ana\r\nBcc: x@y", "Ana Bcc: x@y");
        shown(" Tienda\u{202E} La\u{0}  Rosa ", "Tienda La Rosa");
        shown(&"ñ".repeat(100), &"ñ".repeat(100));
        shown(&"ñ".repeat(101), &format!("{}…", "ñ".repeat(100)));
    }

    #[test]
    fn names_hold_no_links() {
        shown("http://evil.example/x", "http: evil·example/x");
        shown("Gana en www.evil.co ya", "Gana en www·evil·co ya");
        shown("ana@evil.co", "ana@evil·co");
    }

    #[test]
    fn names_of_companies_stay() {
        for name in [
            "Comercial Andina S.A.S.",
            "J.M. & Hijos Ltda.",
            "Café 4.5",
            "D'Oñate <3",
            "Dr. Ruiz",
        ] {
            shown(name, name);
        }
    }
}
