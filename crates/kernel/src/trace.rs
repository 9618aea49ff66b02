//! Traces: which one a piece of work belongs to, and how another program is told.
//!
//! Spans of `tracing` become spans of OpenTelemetry in a process that was started to tell them; in any other
//! one nothing of this costs more than a look at a flag.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Instant;

use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, Value};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Target of the spans and events that only traces show. The log knows the spans of requests and jobs alone:
/// a line names the innermost, whose fields say whose work it is.
pub const TARGET: &str = "traces";

/// Longest `tracestate` that is passed on, in characters: as much as every system has to take.
const MAX_STATE: usize = 512;

/// Whether traces are told.
pub fn is_on() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// A place in a trace, as W3C Trace Context writes it: of whoever asked for some work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// What a client or a proxy sent, if it is sane: else the work begins a trace of its own.
    pub fn of(headers: &HeaderMap) -> Option<TraceContext> {
        let mut parents = headers.get_all("traceparent").iter();
        let (parent, None) = (parents.next()?.to_str().ok()?, parents.next()) else {
            return None;
        };
        // One list, however many headers it is spread over.
        let states: Vec<&str> = headers
            .get_all("tracestate")
            .iter()
            .filter_map(|state| state.to_str().ok())
            .collect();
        TraceContext::parse(parent, Some(&states.join(",")))
    }

    /// From the values of both headers; a state that is no good is left out.
    pub fn parse(parent: &str, state: Option<&str>) -> Option<TraceContext> {
        let parts: Vec<&str> = parent.split('-').collect();
        let [version, trace, span, flags, ref more @ ..] = parts[..] else {
            return None;
        };
        // Only a later version may have more parts, and 255 is none.
        let known = hex(version, 2)? == 0;
        if version == "ff" || (known && !more.is_empty()) {
            return None;
        }
        let sampled = hex(flags, 2)? & 1 == 1;
        let state = state.filter(|state| state.len() <= MAX_STATE);
        let context = SpanContext::new(
            TraceId::from(hex(trace, 32)?),
            SpanId::from(u64::try_from(hex(span, 16)?).ok()?),
            TraceFlags::default().with_sampled(sampled),
            true,
            state
                .and_then(|state| TraceState::from_str(state).ok())
                .unwrap_or_default(),
        );
        context.is_valid().then_some(TraceContext(context))
    }

    /// The value of `tracestate`, if there is any.
    pub fn state(&self) -> Option<String> {
        Some(self.0.trace_state().header()).filter(|state| !state.is_empty())
    }

    /// Writes both headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: String| {
            headers.extend(
                value
                    .parse()
                    .ok()
                    .map(|value| (http::HeaderName::from_static(name), value)),
            );
        };
        set("traceparent", self.to_string());
        if let Some(state) = self.state() {
            set("tracestate", state);
        }
    }
}

/// The value of `traceparent`.
impl Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = &self.0;
        let flags = context.trace_flags() & TraceFlags::SAMPLED;
        write!(f, "00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
    }
}

/// Lower-case hexadecimal digits, exactly so many.
fn hex(digits: &str, length: usize) -> Option<u128> {
    let fits = digits.len() == length && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u128::from_str_radix(digits, 16).ok().filter(|_| fits)
}

/// Makes a span, which was not entered yet, the continuation of the trace of whoever asked for its work, and has
/// its log lines name that trace (in the fields `trace_id` and `span_id`). Returns what the work is to pass on: the
/// span's own place where traces are told, else what it was given.
pub fn follow(span: &Span, caller: Option<TraceContext>) -> Option<TraceContext> {
    if !is_on() {
        if let Some(TraceContext(caller)) = &caller {
            span.record("trace_id", tracing::field::display(caller.trace_id()));
        }
        return caller;
    }
    if let Some(TraceContext(caller)) = caller {
        // Refused only for a span that the traces do not show.
        let _ = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    let own = of(span)?;
    tracing::record_all!(span, trace_id = %own.0.trace_id(), span_id = %own.0.span_id());
    Some(own)
}

/// The place of a span, if traces show it.
pub fn of(span: &Span) -> Option<TraceContext> {
    if !is_on() {
        return None;
    }
    let own = span.context().span().span_context().clone();
    own.is_valid().then_some(TraceContext(own))
}

/// Adds what only traces show to a span.
pub fn note(span: &Span, name: &'static str, value: impl Into<Value>) {
    if is_on() {
        span.set_attribute(name, value);
    }
}

/// Shows in traces what sqlx tells nothing of: the beginning of a transaction, the wait for its connection included,
/// and its end.
pub(crate) fn statement(statement: &'static str, started: Instant) {
    tracing::trace!(target: TARGET, summary = statement, elapsed_secs = started.elapsed().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parsed(parent: &str) -> Option<String> {
        TraceContext::parse(parent, None).map(|context| context.to_string())
    }

    #[test]
    fn what_is_sane_is_passed_on() {
        assert_eq!(parsed(PARENT).as_deref(), Some(PARENT));
        let unsampled = PARENT.replace("-01", "-00");
        assert_eq!(parsed(&unsampled), Some(unsampled));
        // Of a later version what is known of this one.
        let later = PARENT.replace("00-0af", "cc-0af").replace("-01", "-09-more");
        assert_eq!(parsed(&later).as_deref(), Some(PARENT));
    }

    #[test]
    fn anything_else_counts_as_not_sent() {
        for parent in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-'; drop table x-01",
        ] {
            assert_eq!(parsed(parent), None, "{parent}");
        }
        let mut headers = HeaderMap::new();
        headers.append("traceparent", PARENT.parse().expect("a value"));
        assert!(TraceContext::of(&headers).is_some());
        headers.append("traceparent", PARENT.parse().expect("a value"));
        assert_eq!(TraceContext::of(&headers), None, "which of the two?");
    }

    #[test]
    fn a_state_travels_with_it_as_one_list() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", PARENT.parse().expect("a value"));
        headers.append("tracestate", "rojo=00f067aa0ba902b7".parse().expect("a value"));
        headers.append("tracestate", "congo=t61rcWkgMzE".parse().expect("a value"));
        let context = TraceContext::of(&headers).expect("sane");
        assert_eq!(
            context.state().as_deref(),
            Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        );
        let mut written = HeaderMap::new();
        context.write(&mut written);
        assert_eq!(TraceContext::of(&written), Some(context));

        for bad in ["no key", &format!("a={}", "x".repeat(MAX_STATE))] {
            let context = TraceContext::parse(PARENT, Some(bad)).expect("the parent is sane");
            assert_eq!(context.state(), None, "{bad}");
        }
    }

    #[test]
    fn without_traces_a_caller_is_passed_on_as_he_came() {
        let caller = TraceContext::parse(PARENT, Some("a=b"));
        assert_eq!(follow(&Span::none(), caller.clone()), caller);
        assert_eq!(of(&Span::none()), None);
    }
}
