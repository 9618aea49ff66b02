//! Every letter, as its readers get it.

use std::time::Duration;

use crate::render::render;
use crate::{
    AccountExists, EmailChange, EmailChangeNotice, Invitation, Language, Letter, MalwareFound, Name,
    NewSignIn, PasswordChanged, PasswordReset, Recipient, StorageNearlyFull, VerifyEmail,
};

const HOURS: Duration = Duration::from_secs(3600);

fn recipient(language: Language) -> Recipient {
    Recipient {
        address: "rosa@example.com".to_owned(),
        name: "Rosa".to_owned(),
        language,
    }
}

fn link(path: &str) -> String {
    format!("https://app.example.com/account/{path}")
}

fn invitation(company: &str, inviter: &str) -> Invitation {
    Invitation {
        link: link("accept-invitation#token=t0k3n"),
        inviter: inviter.into(),
        company: company.into(),
        role: "accountant".into(),
        expires_in: 7 * 24 * HOURS,
    }
}

#[track_caller]
fn written<L: Letter>(letter: &L) {
    for language in [Language::Es, Language::En] {
        let mail = render(&recipient(language), letter).expect("a mail");
        let whole = format!("Subject: {}\n\n{}\n{}", mail.subject, mail.text, mail.html);
        insta::with_settings!({omit_expression => true}, {
            insta::assert_snapshot!(format!("{}.{}", L::NAME, language.code()), whole);
        });
        // For looking at them: ALLY360_MAIL_PAGES=DIR cargo nextest run -p mail
        if let Some(dir) = std::env::var_os("ALLY360_MAIL_PAGES") {
            let page = std::path::Path::new(&dir).join(format!("{}.{}.html", L::NAME, language.code()));
            std::fs::write(page, mail.html).expect("a page");
        }
    }
}

#[test]
fn verify_email() {
    written(&VerifyEmail {
        link: link("verify-email#token=t0k3n"),
        expires_in: 24 * HOURS,
    });
}

#[test]
fn password_reset() {
    written(&PasswordReset {
        link: link("reset-password#token=t0k3n"),
        expires_in: HOURS / 2,
    });
}

#[test]
fn password_changed() {
    let at = "2026-11-23T17:05:00Z".parse().expect("a time");
    written(&PasswordChanged {
        at,
        reset_link: link("reset-password"),
    });
}

#[test]
fn email_change() {
    written(&EmailChange {
        link: link("confirm-email#token=t0k3n"),
        expires_in: HOURS,
    });
}

#[test]
fn email_change_notice() {
    written(&EmailChangeNotice {
        link: link("confirm-email#token=t0k3n"),
        new_address: "rosa.nueva@example.com".to_owned(),
        expires_in: HOURS,
    });
}

#[test]
fn an_invitation() {
    written(&invitation("Panadería <La Espiga> S.A.S.", "Ana & Hijos"));
}

#[test]
fn account_exists() {
    written(&AccountExists {
        sign_in_link: link("sign-in"),
        reset_link: link("reset-password"),
    });
}

#[test]
fn new_sign_in() {
    written(&NewSignIn {
        at: "2026-11-23T17:05:00Z".parse().expect("a time"),
        device: "Firefox, Android".into(),
        origin: "203.0.113.7".into(),
        reset_link: link("reset-password"),
    });
}

#[test]
fn malware_found() {
    written(&MalwareFound {
        company: "Panadería <La Espiga> S.A.S.".into(),
        filename: "factura.pdf.zip".into(),
        malware: "Win.Test.EICAR_HDB-1".into(),
        at: "2026-11-23T17:05:00Z".parse().expect("a time"),
        time_zone: "America/Lima".to_owned(),
    });
}

#[test]
fn storage_nearly_full() {
    written(&StorageNearlyFull {
        company: "Panadería <La Espiga> S.A.S.".into(),
        percent: 92,
    });
}

#[test]
fn trial() {
    written(&crate::trial::Trial {});
}

/// Whoever may choose a name must not be able to write the mail.
#[test]
fn names_are_no_markup_no_headers_and_no_links() {
    let hostile = invitation(
        "<a href=https://evil.example>x</a>\r\nBcc: victim@example.com",
        "http://evil.example/pay {{ link }} \"onmouseover=alert(1)",
    );
    let to = Recipient {
        name: "</p><script>alert(1)</script>".to_owned(),
        ..recipient(Language::Es)
    };
    let mail = render(&to, &hostile).expect("a mail");
    assert_eq!(mail.subject.lines().count(), 1, "{}", mail.subject);
    for part in [&mail.subject, &mail.text, &mail.html] {
        assert!(!part.contains("evil.example"), "{part}");
        assert!(!part.contains("://evil"), "{part}");
    }
    assert!(!mail.html.contains("<script"), "{}", mail.html);
    assert!(!mail.html.contains("<a href=https"), "{}", mail.html);
    assert!(mail.html.contains("&lt;script&gt;"), "{}", mail.html);
    assert!(
        mail.text.contains("{{ link }}"),
        "a value is no template: {}",
        mail.text
    );
}

/// Between a token's making and its mail some time passes.
#[test]
fn how_long_a_link_works_is_told_in_the_unit_that_people_use() {
    let little = Duration::from_millis(10);
    for (expires_in, spanish, english) in [
        (7 * 24 * HOURS - little, "7 días", "7 days"),
        (48 * HOURS - little, "2 días", "2 days"),
        (24 * HOURS - little, "24 horas", "24 hours"),
        (24 * HOURS - 40 * HOURS / 60, "23 horas", "23 hours"),
        (HOURS - little, "1 hora", "1 hour"),
        (HOURS / 2 - little, "30 minutos", "30 minutes"),
        (HOURS / 60, "1 minuto", "1 minute"),
        (little, "1 minuto", "1 minute"),
    ] {
        let link = link("reset-password#token=t0k3n");
        let letter = PasswordReset { link, expires_in };
        for (language, told) in [(Language::Es, spanish), (Language::En, english)] {
            let mail = render(&recipient(language), &letter).expect("a mail");
            for part in [&mail.text, &mail.html] {
                assert!(
                    part.contains(&format!(" {told}")),
                    "{expires_in:?} is {told}: {part}"
                );
            }
        }
    }
}

#[test]
fn without_a_name_the_greeting_stands_alone() {
    let letter = PasswordReset {
        link: link("reset-password#token=t"),
        expires_in: HOURS,
    };
    let to = Recipient {
        name: " ".to_owned(),
        ..recipient(Language::En)
    };
    let mail = render(&to, &letter).expect("a mail");
    assert!(mail.text.starts_with("Hello,\n"), "{}", mail.text);
}

/// A template that names a value which its letter has not must not send a mail with a hole.
#[test]
fn a_missing_value_is_an_error() {
    #[derive(serde::Serialize)]
    struct Hollow {
        link: Name,
    }
    impl Letter for Hollow {
        const NAME: &'static str = "verify-email";
    }
    let error = render(&recipient(Language::Es), &Hollow { link: "x".into() }).expect_err("expires_in");
    assert!(format!("{error:#}").contains("undefined"), "{error:#}");
}
