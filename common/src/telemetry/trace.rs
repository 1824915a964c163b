//! Traces: what a sampled request, write or change spent its time on, as OpenTelemetry's spans.
//!
//! Off unless there is somewhere to send them to. A request that is not sampled makes no span: it costs a look at one header and one
//! random number, and nothing at all where traces are off. That is why these are not spans of `tracing`, which exist, and cost, for
//! every request whose callsite is enabled, and whose filter would be that of the log.
//!
//! A change is linked to the write that made it by a transactional logical message in the write's own transaction: its prefix is
//! [`PREFIX`], its content the `traceparent` of the write. It comes to the invalidator through any source, exactly with its change.
//! Whoever writes to Postgres may add one: `select pg_logical_emit_message(true, 'freshline.trace', '00-…-01')`.

mod context;
mod export;
mod otlp;
mod settings;
mod span;

pub use context::SpanContext;
pub use export::{Exporting, start};
pub use settings::{CollectorUrl, Ratio, Tracing};
pub use span::{Span, SpanKind, Value};

use std::sync::OnceLock;

use tokio::sync::mpsc;

/// The prefix of the logical message that tells which span wrote a transaction.
pub const PREFIX: &str = "freshline.trace";

/// Where ended spans go; empty where traces are off. One for a process, as the log and the metrics are.
static TRACER: OnceLock<Tracer> = OnceLock::new();

struct Tracer {
    ended: mpsc::Sender<span::Ended>,
    ratio: Ratio,
}

tokio::task_local! {
    /// The span that what runs here is a part of.
    static CURRENT: SpanContext;
}

/// Whether anything is traced in this process. One load from memory.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}

/// The span that is under way here, as `traceparent` carries it; `None` where nothing is traced.
pub fn traceparent() -> Option<String> {
    current().map(|context| context.to_string())
}

/// Awaits something as a part of the span that is under way here, if one is.
pub async fn step<F: Future>(name: &'static str, kind: SpanKind, work: F) -> F::Output {
    let _ended_by_drop = Span::child(name, kind);
    work.await
}

fn current() -> Option<SpanContext> {
    if is_on() { CURRENT.try_with(|context| *context).ok() } else { None }
}
