//! What the probes found, and which operations they reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use http::StatusCode;
use testkit::{Answer, Client};

use super::operations::Operation;
use super::world::Call;

/// One line each: check, operation, reason.
const EXEMPT: &str = include_str!("../matrix_exempt.txt");

/// Probes of one check.
pub struct Report {
    check: &'static str,
    probes: BTreeMap<String, usize>,
    pub faults: Vec<String>,
}

impl Report {
    pub fn new(check: &'static str) -> Report {
        Report {
            check,
            probes: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Sends a request of an operation. What holds for every answer is checked here.
    pub async fn send(&mut self, operation: &Operation, call: &Call, client: &Client) -> Answer {
        let answer = call.by(client).await;
        *self.probes.entry(operation.id.clone()).or_default() += 1;
        let status = answer.status.as_u16();
        self.expect(
            operation,
            "a documented status",
            operation.documents(status),
            &answer,
        );
        self.expect(
            operation,
            "no-store",
            answer.header("cache-control") == "no-store",
            &answer,
        );
        let is_problem =
            answer.header("content-type") == "application/problem+json" && answer.json["status"] == status;
        self.expect(
            operation,
            "a problem",
            answer.status.is_success() || is_problem,
            &answer,
        );
        self.expect(
            operation,
            "no internal error",
            answer.status != StatusCode::INTERNAL_SERVER_ERROR,
            &answer,
        );
        answer
    }

    /// Notes a fault unless the expectation holds.
    pub fn expect(&mut self, operation: &Operation, expected: impl Display, holds: bool, answer: &Answer) {
        if !holds {
            self.faults.push(format!(
                "{}: expected {expected}, got {} {:?} {}",
                operation.id,
                answer.status,
                answer.headers,
                answer.text()
            ));
        }
    }

    /// Expects a problem.
    pub fn expect_problem(
        &mut self,
        operation: &Operation,
        what: impl Display,
        status: u16,
        code: &str,
        answer: &Answer,
    ) {
        let holds = answer.status.as_u16() == status && answer.json["code"] == code;
        self.expect(
            operation,
            format_args!("{status} {code} for {what}"),
            holds,
            answer,
        );
    }

    /// Notes a fault.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// Asserts that nothing was found and that every one of these operations was reached, but those
    /// that `matrix_exempt.txt` names; prints the number of probes.
    #[track_caller]
    pub fn finish<'a>(self, operations: impl Iterator<Item = &'a Operation>) {
        let exempt: BTreeSet<&str> = exemptions()
            .into_iter()
            .filter(|(check, ..)| *check == self.check)
            .map(|(_, id, _)| id)
            .collect();
        let wanted: BTreeSet<&str> = operations.map(|o| o.id.as_str()).collect();
        let reached: BTreeSet<&str> = self.probes.keys().map(String::as_str).collect();
        let missed: Vec<_> = wanted
            .difference(&reached)
            .filter(|id| !exempt.contains(*id))
            .collect();
        let stale: Vec<_> = exempt
            .iter()
            .filter(|id| reached.contains(*id) || !wanted.contains(*id))
            .collect();
        let total: usize = self.probes.values().sum();
        eprintln!(
            "matrix {}: {total} probes of {} operations, {} faults",
            self.check,
            reached.len(),
            self.faults.len()
        );
        assert!(
            self.faults.is_empty(),
            "{} faults:\n{}",
            self.faults.len(),
            self.faults.join("\n")
        );
        assert!(missed.is_empty(), "{}: no probe reached {missed:?}", self.check);
        assert!(
            stale.is_empty(),
            "{}: matrix_exempt.txt exempts {stale:?} without need",
            self.check
        );
    }
}

/// Whether `matrix_exempt.txt` leaves the operation out of the check.
pub fn exempt(check: &str, operation: &str) -> bool {
    exemptions()
        .iter()
        .any(|(of, id, _)| (*of, *id) == (check, operation))
}

/// Check, operation and reason.
fn exemptions() -> Vec<(&'static str, &'static str, &'static str)> {
    let lines = EXEMPT
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, ' ');
            let parsed = (|| Some((parts.next()?, parts.next()?, parts.next()?)))();
            parsed.unwrap_or_else(|| panic!("matrix_exempt.txt: `{line}` is not `check operation reason`"))
        })
        .collect()
}

/// Whether an operation did what it is for, or would have but for the state of a fresh resource.
pub fn reached(operation: &Operation, answer: &Answer) -> bool {
    let code = answer.json["code"].as_str();
    let early = EARLY
        .iter()
        .any(|(id, expected)| *id == operation.id && code == Some(expected));
    answer.status.is_success() || early
}

/// What operations say of a resource that nothing has happened to yet.
const EARLY: [(&str, &str); 4] = [
    ("accept_invitation_signed_in", "invitation-invalid"),
    ("complete_upload", "upload-missing"),
    ("download_file", "file-not-ready"),
    ("retry_job", "job-not-ended"),
];
