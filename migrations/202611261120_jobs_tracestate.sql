-- What the systems before ours keep about a trace, beside its traceparent: a job goes on with both.
alter table jobs add column tracestate text;
