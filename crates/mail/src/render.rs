//! From a letter to its subject, text and HTML.

use std::sync::LazyLock;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, State, UndefinedBehavior, context};

use crate::{Letter, Name, Recipient};

/// A letter as its reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
}

macro_rules! templates {
    ($($name:literal)*) => {
        &[
            ("layout.html", include_str!("../templates/layout.html")),
            ("button.html", include_str!("../templates/button.html")),
            ("layout.txt", include_str!("../templates/layout.txt")),
            $(
                (concat!($name, ".es.html"), include_str!(concat!("../templates/", $name, ".es.html"))),
                (concat!($name, ".es.txt"), include_str!(concat!("../templates/", $name, ".es.txt"))),
                (concat!($name, ".en.html"), include_str!(concat!("../templates/", $name, ".en.html"))),
                (concat!($name, ".en.txt"), include_str!(concat!("../templates/", $name, ".en.txt"))),
            )*
        ]
    };
}

const TEMPLATES: &[(&str, &str)] = templates![
    "verify-email" "password-reset" "password-changed" "email-change" "email-change-notice" "invitation"
    "account-exists" "new-sign-in" "malware-found" "storage-nearly-full" "trial"
];

static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    // The suffix .html makes minijinja escape every value.
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("span", span);
    environment.add_filter("moment", moment);
    environment.add_filter("role", role);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
});

/// Writes a letter to its recipient, in his language.
///
/// # Errors
/// When a template is missing, or names a value that the letter has not.
pub(crate) fn render<L: Letter>(to: &Recipient, letter: &L) -> anyhow::Result<Rendered> {
    let environment = ENVIRONMENT.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    let lang = to.language.code();
    let fill = |suffix: &str| -> anyhow::Result<String> {
        let template = environment.get_template(&format!("{}.{lang}.{suffix}", L::NAME))?;
        let name = Name::from(&to.name);
        let values = context! { name => name.as_str(), lang => lang, ..Value::from(Serde(letter)) };
        Ok(template.render(values)?)
    };
    let text = fill("txt")?;
    let (head, body) = text.split_once("\n\n").context("the text has no body")?;
    let subject = head
        .strip_prefix("Subject: ")
        .context("the text has no subject")?;
    // Blocks leave empty lines behind.
    let mut text = body.trim().to_owned();
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    Ok(Rendered {
        subject: subject.trim().to_owned(),
        text: text + "\n",
        // A slash needs no escape, and not every client undoes it in a link.
        html: fill("html")?.replace("&#x2f;", "/"),
    })
}

const COLOMBIA: &str = "America/Bogota";

fn in_english(state: &State) -> bool {
    state
        .lookup("lang")
        .is_some_and(|lang| lang.as_str() == Some("en"))
}

/// `30 minutos`, `24 horas`, `7 days`: days from two on, hours from one on, else minutes, each rounded. What is
/// left of a time is always a little less than the time, so the unit is chosen by size.
fn span(state: &State, seconds: u64) -> String {
    const UNITS: [(u64, u64, [[&str; 2]; 2]); 3] = [
        (24 * 60, 2, [["día", "días"], ["day", "days"]]),
        (60, 1, [["hora", "horas"], ["hour", "hours"]]),
        (1, 0, [["minuto", "minutos"], ["minute", "minutes"]]),
    ];
    let minutes = ((seconds + 30) / 60).max(1);
    let fits = |(unit, least, _): &&(u64, u64, _)| minutes >= unit * least;
    let (unit, _, names) = UNITS.iter().find(fits).unwrap_or(&UNITS[2]);
    let number = (minutes + unit / 2) / unit;
    let name = names[usize::from(in_english(state))][usize::from(number != 1)];
    format!("{number} {name}")
}

/// `23/11/2026, 12:05 (hora de Colombia)`, which has no summer time; in another zone with its IANA name.
fn moment(state: &State, at: &str, zone: Option<&str>) -> Result<String, minijinja::Error> {
    let invalid =
        |error: jiff::Error| minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string());
    let at: Timestamp = at.parse().map_err(invalid)?;
    if let Some(zone) = zone.filter(|zone| *zone != COLOMBIA) {
        let at = at.in_tz(zone).map_err(invalid)?;
        let form = if in_english(state) {
            "%-d %B %Y, %H:%M (%Q)"
        } else {
            "%d/%m/%Y, %H:%M (%Q)"
        };
        return Ok(at.strftime(form).to_string());
    }
    let at = at.to_zoned(TimeZone::fixed(tz::offset(-5)));
    Ok(if in_english(state) {
        at.strftime("%-d %B %Y, %H:%M (Colombian time)").to_string()
    } else {
        at.strftime("%d/%m/%Y, %H:%M (hora de Colombia)").to_string()
    })
}

/// The built-in roles in the reader's language; others are called as the company calls them.
fn role(state: &State, name: &str) -> String {
    let spanish = match name {
        "owner" => "propietario",
        "admin" => "administrador",
        "accountant" => "contador",
        "seller" => "vendedor",
        "cashier" => "cajero",
        "viewer" => "consulta",
        other => other,
    };
    if in_english(state) { name } else { spanish }.to_owned()
}
