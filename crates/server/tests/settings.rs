//! `.env.example` is the settings reference: it and the command line name the same settings with the
//! same defaults.

use std::collections::BTreeMap;

use clap::CommandFactory;
use server::cli::Cli;

const EXAMPLE: &str = include_str!("../../../.env.example");

/// Read from the environment only, by whoever they are for.
const NO_FLAG: [&str; 11] = [
    "ALLY360_PG_BIN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "RUST_LOG",
];

/// Names in the file with their values; `None` for those that are commented out.
fn documented() -> BTreeMap<String, Option<String>> {
    let mut settings = BTreeMap::new();
    let mut before = "";
    for line in EXAMPLE.lines() {
        let live = !line.starts_with('#');
        if let Some((name, value)) = line
            .trim_start_matches('#')
            .split_once('=')
            .filter(|(name, _)| is_name(name))
        {
            assert!(before.starts_with("# "), "{name} has no comment above it");
            let value = live.then(|| value.to_owned());
            assert!(
                settings.insert(name.to_owned(), value).is_none(),
                "{name} stands there twice"
            );
        }
        before = line;
    }
    settings
}

fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Names that the command line knows with their defaults.
fn known() -> BTreeMap<String, Option<String>> {
    let command = Cli::command();
    let text = |value: &std::ffi::OsStr| value.to_str().expect("UTF-8").to_owned();
    command
        .get_arguments()
        .filter_map(|argument| {
            let default = argument.get_default_values().first().map(|value| text(value));
            Some((text(argument.get_env()?), default))
        })
        .collect()
}

#[test]
fn the_example_file_lists_every_setting_with_its_default() {
    let (mut documented, known) = (documented(), known());
    for name in NO_FLAG {
        assert_eq!(documented.remove(name), Some(None), "{name}");
    }
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(documented, known, "left: .env.example, right: ally360 --help");
}

#[test]
fn the_example_file_is_a_readable_env_file() {
    let read: BTreeMap<_, _> = dotenvy::from_read_iter(EXAMPLE.as_bytes())
        .map(|entry| entry.expect("an entry"))
        .collect();
    let live = documented()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    assert_eq!(read, live.collect());
}
