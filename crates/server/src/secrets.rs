//! Secrets kept in files: every setting whose value `--help` hides may be given as `NAME_FILE`, the
//! path of a file that holds it, as Docker, Kubernetes and systemd hand over secrets.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use clap::{Arg, Command, Id};

/// What the files say, by argument.
pub(crate) type Secrets = HashMap<Id, &'static str>;

/// Reads the files that the environment names for the secrets of `command`.
///
/// # Errors
/// When a secret is given both ways, or its file cannot be read, is empty or is not text; the
/// message names variable and path, never the content.
pub(crate) fn from_files(command: &Command) -> anyhow::Result<Secrets> {
    read(command, &|name| {
        std::env::var_os(name).filter(|value| !value.is_empty())
    })
}

fn read(command: &Command, variable: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<Secrets> {
    let mut secrets = Secrets::new();
    for argument in command.get_arguments().filter(|a| a.is_hide_env_values_set()) {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        let file_name = format!("{name}_FILE");
        let Some(path) = variable(&file_name) else {
            continue;
        };
        if variable(name).is_some() {
            bail!("{name} and {file_name} are both set: keep one");
        }
        let secret = content(path.as_ref())
            .with_context(|| format!("{file_name} cannot be used: {}", Path::new(&path).display()))?;
        secrets.insert(argument.get_id().clone(), secret);
    }
    Ok(secrets)
}

/// The file without its last line break, which editors and `echo` add. It lives as long as the
/// process, as the defaults of arguments must.
fn content(path: &Path) -> anyhow::Result<&'static str> {
    let text = std::fs::read_to_string(path)?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    ensure!(!secret.is_empty(), "it is empty");
    ensure!(!secret.contains('\n'), "it has several lines");
    Ok(secret.to_owned().leak())
}

/// The argument with its secret as default, so that a flag still wins.
pub(crate) fn apply(argument: Arg, secrets: &Secrets) -> Arg {
    match secrets.get(argument.get_id()) {
        Some(secret) => argument.default_value(*secret).hide_default_value(true),
        None => argument,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn secret_names() -> Vec<String> {
        let command = Cli::command();
        let hidden = command.get_arguments().filter(|a| a.is_hide_env_values_set());
        hidden
            .map(|a| {
                a.get_env()
                    .expect("a variable")
                    .to_str()
                    .expect("text")
                    .to_owned()
            })
            .collect()
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content.as_bytes()).expect("written");
        file
    }

    /// The content as read, or what was said.
    fn of(content: &str) -> Result<String, String> {
        let file = file(content);
        let path = file.path().as_os_str().to_owned();
        let read = read(&Cli::command(), &|name| {
            (name == "APP_SECRET_STRING_FILE").then(|| path.clone())
        });
        match read {
            Ok(secrets) => Ok((*secrets.values().next().expect("one")).to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    #[test]
    fn every_secret_may_lie_in_a_file() {
        let names = secret_names();
        assert!(names.iter().any(|name| name == "POSTGRES_PASSWORD"), "{names:?}");
        let file = file("s3cret");
        let path = file.path().as_os_str().to_owned();
        let all = read(&Cli::command(), &|name| {
            name.ends_with("_FILE").then(|| path.clone())
        });
        let all = all.expect("all are read");
        assert_eq!(all.len(), names.len());
        assert!(all.values().all(|secret| *secret == "s3cret"));
    }

    #[test]
    fn one_line_break_at_the_end_is_not_part_of_it() {
        assert_eq!(of("s3cret"), Ok("s3cret".to_owned()));
        assert_eq!(of("s3cret\n"), Ok("s3cret".to_owned()));
        assert_eq!(of("s3cret\r\n"), Ok("s3cret".to_owned()));
        assert_eq!(of(" s3 cret "), Ok(" s3 cret ".to_owned()));
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_by_name_and_not_shown() {
        for content in ["", "\n", "first\nsecond\n"] {
            let said = of(content).expect_err(content);
            assert!(
                said.starts_with("APP_SECRET_STRING_FILE cannot be used: /"),
                "{said}"
            );
            assert!(!said.contains("first"), "{said}");
        }
        let missing = read(&Cli::command(), &|name| {
            (name == "POSTGRES_PASSWORD_FILE").then(|| "/nowhere/it".into())
        });
        let said = format!("{:#}", missing.expect_err("no such file"));
        assert!(
            said.contains("POSTGRES_PASSWORD_FILE") && said.contains("/nowhere/it"),
            "{said}"
        );
    }

    #[test]
    fn several_in_one_file_are_split_like_the_variable() {
        let secrets = Secrets::from([(Id::from("previous"), "one,two")]);
        let argument = Arg::new("previous")
            .value_delimiter(',')
            .action(clap::ArgAction::Append);
        let matches = Command::new("ally360")
            .arg(apply(argument, &secrets))
            .get_matches_from(["ally360"]);
        let values: Vec<&String> = matches.get_many("previous").expect("values").collect();
        assert_eq!(values, ["one", "two"]);
    }

    #[test]
    fn a_secret_given_both_ways_is_refused() {
        let both = read(&Cli::command(), &|name| {
            name.starts_with("APP_SECRET_STRING").then(|| "value".into())
        });
        let said = both.expect_err("which one?").to_string();
        assert!(
            said.contains("APP_SECRET_STRING and APP_SECRET_STRING_FILE"),
            "{said}"
        );
    }
}
