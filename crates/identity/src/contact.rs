//! E-mail addresses, telephone numbers and the NIT: parsed once, stored in one form.

use garde::Error as Fault;
use kernel::error::Result;
use sqlx::PgConnection;

/// A garde rule: an e-mail address of plausible form. Only mail proves that it is one.
///
/// Letters whose lower case is that of another letter too are refused, such as the Kelvin sign and the Turkish
/// `İ`: with one of them an address is another mailbox, and the same address to who compares without case.
///
/// # Errors
/// `email`.
pub fn email(value: &str, _: &()) -> garde::Result {
    let plausible = || {
        let (local, domain) = value.rsplit_once('@')?;
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.chars().all(|c| c.is_alphanumeric() || c == '-')
        };
        let ok = value.len() <= 254
            && !local.is_empty()
            && local.len() <= 64
            && !local.contains("..")
            && !local.starts_with('.')
            && !local.ends_with('.')
            && local
                .chars()
                .all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
            && value.chars().all(has_own_lower_case)
            && domain.contains('.')
            && domain.split('.').all(label);
        ok.then_some(())
    };
    plausible().ok_or_else(|| Fault::new("email: must be an e-mail address"))
}

/// Whether no other letter has the same lower case.
fn has_own_lower_case(letter: char) -> bool {
    letter.to_lowercase().eq([letter]) || letter.to_lowercase().flat_map(char::to_uppercase).eq([letter])
}

/// An e-mail address as the database compares it: what it is counted by. Rust's own lower case differs from the
/// database's for some letters, so that one account would have several counters.
///
/// # Errors
/// Those of the database.
pub async fn folded(conn: &mut PgConnection, email: &str) -> Result<String> {
    let folded = sqlx::query_scalar!(r#"select lower($1::text) as "folded!""#, email);
    Ok(folded.fetch_one(conn).await?)
}

/// A telephone number in E.164. Spaces, dashes, dots and parentheses are dropped; without `+` it is
/// a Colombian number: ten digits, mobile (3…) or land line (60…).
pub fn phone_number(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')'))
        .collect();
    let (international, digits) = match digits.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, digits.as_str()),
    };
    let national = |d: &str| d.len() == 10 && (d.starts_with('3') || d.starts_with("60"));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        None
    } else if international {
        let plausible = (7..=15).contains(&digits.len()) && !digits.starts_with('0');
        let colombian = digits.strip_prefix("57").is_none_or(national);
        (plausible && colombian).then(|| format!("+{digits}"))
    } else {
        let digits = digits
            .strip_prefix("57")
            .filter(|d| national(d))
            .unwrap_or(digits);
        national(digits).then(|| format!("+57{digits}"))
    }
}

/// A garde rule for [`phone_number`].
///
/// # Errors
/// `phone`.
pub fn phone(value: &str, _: &()) -> garde::Result {
    let fault = || Fault::new("phone: must be a telephone number in E.164, or ten digits of a Colombian one");
    phone_number(value).map(drop).ok_or_else(fault)
}

/// The number of an identity document in one form: 4 to 20 letters and digits. Spaces, dots and dashes are
/// dropped, letters are put in upper case.
pub fn dni_number(text: &str) -> Option<String> {
    let number: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '.' | '-'))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let plausible = (4..=20).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_alphanumeric());
    plausible.then_some(number)
}

/// A garde rule for [`dni_number`].
///
/// # Errors
/// `dni`.
pub fn dni(value: &str, _: &()) -> garde::Result {
    let fault = || Fault::new("dni: must be the number of an identity document: 4 to 20 letters and digits");
    dni_number(value).map(drop).ok_or_else(fault)
}

/// Check digit of a NIT given as digits (DIAN, Orden Administrativa 4 of 1989): weights from the
/// right, modulo 11.
pub fn nit_check_digit(digits: &str) -> Option<u32> {
    const WEIGHTS: [u32; 15] = [3, 7, 13, 17, 19, 23, 29, 37, 41, 43, 47, 53, 59, 67, 71];
    if digits.is_empty() || digits.len() > WEIGHTS.len() {
        return None;
    }
    let mut sum = 0;
    for (digit, weight) in digits.chars().rev().zip(WEIGHTS) {
        sum += digit.to_digit(10)? * weight;
    }
    let remainder = sum % 11;
    Some(if remainder < 2 { remainder } else { 11 - remainder })
}

/// A NIT taken apart.
#[derive(Debug, PartialEq, Eq)]
pub enum Nit {
    Valid {
        digits: String,
        check_digit: String,
    },
    /// Well formed, but the given check digit is another one.
    WrongCheckDigit,
}

/// `900123456`, `900.123.456` or, with its check digit, `900123456-8`.
pub fn nit(text: &str) -> Option<Nit> {
    let text: String = text.chars().filter(|c| !matches!(c, '.' | ' ')).collect();
    let (digits, given) = match text.split_once('-') {
        Some((digits, given)) => (digits, Some(given)),
        None => (text.as_str(), None),
    };
    let well_formed = (6..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    if !well_formed || given.is_some_and(|g| g.len() != 1 || !g.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let check_digit = nit_check_digit(digits)?.to_string();
    Some(match given {
        Some(given) if given != check_digit => Nit::WrongCheckDigit,
        _ => Nit::Valid {
            digits: digits.to_owned(),
            check_digit,
        },
    })
}

/// A garde rule for the form of a [`nit`]; the check digit has a problem of its own.
///
/// # Errors
/// `nit`.
pub fn nit_form(value: &str, _: &()) -> garde::Result {
    let fault = || Fault::new("nit: must have 6 to 15 digits, optionally with a dash and the check digit");
    nit(value).map(drop).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_of_published_nits() {
        for (digits, expected) in [
            ("900123456", 8),
            ("830063999", 3),
            ("901886184", 7),
            ("899999068", 1),
            ("860002964", 4),
        ] {
            assert_eq!(nit_check_digit(digits), Some(expected), "{digits}");
        }
        assert_eq!(nit("900.123.456-8"), nit("900123456"));
        assert_eq!(nit("900123456-1"), Some(Nit::WrongCheckDigit));
        for bad in [
            "",
            "12345",
            "0123456789",
            "90012345a",
            "900123456-",
            "900123456-88",
            "1234567890123456",
            "٩٠٠١٢٣٤٥٦",
        ] {
            assert_eq!(nit(bad), None, "{bad}");
        }
    }

    #[test]
    fn telephone_numbers_become_e164() {
        for (text, expected) in [
            ("3001234567", "+573001234567"),
            ("+57 300 123-4567", "+573001234567"),
            ("573001234567", "+573001234567"),
            ("(601) 234 5678", "+576012345678"),
            ("+14155552671", "+14155552671"),
        ] {
            assert_eq!(phone_number(text).as_deref(), Some(expected), "{text}");
        }
        for bad in [
            "",
            "+",
            "12345",
            "2345678",
            "+57123",
            "+0123456789",
            "30012345678",
            "abc",
            "+1234567890123456",
        ] {
            assert_eq!(phone_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_of_plausible_form() {
        for good in [
            "user@example.com",
            "a.b+c@sub.example.co",
            "josé@correo.com.co",
            "JOSÉ.ÑAÑEZ@CORREO.COM.CO",
            "ΑΣ.ς@example.com",
        ] {
            assert!(email(good, &()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "a@",
            "@b.co",
            "a@b",
            "a@b..co",
            "a b@c.co",
            "a@-b.co",
            "a@b.co\n",
            ".a@b.co",
            "a..b@c.co",
            // The Turkish letter, Kelvin, ångström and ohm: in lower case i, k, å and ω.
            "M\u{130}KE@b.co",
            "\u{212a}im@b.co",
            "a@\u{212a}im.co",
            "\u{212b}sa@b.co",
            "\u{2126}@b.co",
        ] {
            assert!(email(bad, &()).is_err(), "{bad:?}");
        }
    }
}
