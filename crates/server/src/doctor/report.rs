//! What the doctor found.

use std::fmt::{self, Display};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// Works, and should be different.
    Warn,
    /// Does not work, or is not safe.
    Fail,
}

/// Findings in the order of examination: verdict, topic, text.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(Verdict, &'static str, String)>);

impl Report {
    pub(super) fn ok(&mut self, topic: &'static str, text: impl Display) {
        self.add(topic, (Verdict::Ok, text.to_string()));
    }

    pub(super) fn warn(&mut self, topic: &'static str, text: impl Display) {
        self.add(topic, (Verdict::Warn, text.to_string()));
    }

    pub(super) fn fail(&mut self, topic: &'static str, text: impl Display) {
        self.add(topic, (Verdict::Fail, text.to_string()));
    }

    pub(super) fn add(&mut self, topic: &'static str, (verdict, text): (Verdict, String)) {
        self.0.push((verdict, topic, text));
    }

    pub(super) fn failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    fn count(&self, of: Verdict) -> usize {
        self.0.iter().filter(|(verdict, ..)| *verdict == of).count()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (verdict, topic, text) in &self.0 {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            writeln!(f, "{verdict:<5} {topic:<11} {text}")?;
        }
        write!(
            f,
            "{} failed, {} warnings",
            self.count(Verdict::Fail),
            self.count(Verdict::Warn)
        )
    }
}
