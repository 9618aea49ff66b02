//! Which passwords are refused: those that everybody tries first.

use std::collections::HashSet;
use std::sync::LazyLock;

use kernel::error::{Code, Error, Result};
use kernel::text::unaccented;

pub(crate) const PASSWORD_TOO_COMMON: Code = Code::new(
    422,
    "password-too-common",
    "The password is among the first that are tried: choose another",
);

/// Common passwords as long as ours have to be, in lower case; sources are at the head of the file.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = include_str!("common_passwords.txt").lines();
    lines.filter(|line| !line.starts_with("# ")).collect()
});

/// So many letters and digits must remain of a password without what is known of its owner.
const OF_ITS_OWN: usize = 6;
/// Shorter words stand in too many others to count as somebody's name.
const SHORTEST_WORD: usize = 3;

/// Checks a new password against the list and against what is known of its owner: his address and his
/// names, which anybody tries first.
///
/// # Errors
/// `password-too-common` at `pointer`.
pub fn check(password: &str, email: &str, names: &[&str], pointer: &str) -> Result<()> {
    let password = folded(password);
    let email = folded(email);
    let local = email.split('@').next().unwrap_or_default().to_owned();
    let mut words: Vec<String> = names
        .iter()
        .flat_map(|name| name.split_whitespace())
        .map(folded)
        .collect();
    words.extend(local.split(['.', '-', '_', '+']).map(ToOwned::to_owned));
    words.extend([email, local, "ally360".to_owned()]);
    // The longest first: an address holds names.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut rest = password.clone();
    for word in words.iter().filter(|word| word.chars().count() >= SHORTEST_WORD) {
        rest = rest.replace(word.as_str(), " ");
    }
    let own = rest.chars().filter(|c| c.is_alphanumeric()).count();
    if COMMON.contains(password.as_str()) || (rest != password && own < OF_ITS_OWN) {
        return Err(Error::new(&PASSWORD_TOO_COMMON).at(pointer));
    }
    Ok(())
}

/// In lower case and without the accents of Spanish: how people type names into passwords.
fn folded(text: &str) -> String {
    text.to_lowercase().chars().map(unaccented).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str) -> bool {
        check(
            password,
            "ana.gomez@example.com",
            &["Ana María", "Gómez"],
            "/password",
        )
        .is_err()
    }

    #[test]
    fn the_list_is_there() {
        assert!(COMMON.len() > 2000);
        assert!(
            COMMON
                .iter()
                .all(|p| p.chars().count() >= 10 && *p == p.to_lowercase())
        );
    }

    #[test]
    fn common_passwords_and_ones_own_name_are_refused() {
        for password in [
            "1234567890",
            "password123",
            "QwertyUIOP",
            "ana.gomez@example.com",
            "Ana.Gomez@Example.com1",
            "anagomez2024",
            "maríagómez1",
            "ANA-GOMEZ-99",
            "Maria Gomez 1",
            "Ally360Ally360",
            "gomez.gomez.gomez",
        ] {
            assert!(refused(password), "{password}");
        }
        for password in [
            "una frase bien larga",
            "banana split 1990",
            "Gómez come tamales",
            "!!!!!!!!!!",
            "🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑",
        ] {
            assert!(!refused(password), "{password}");
        }
    }
}
