//! A span: begun, told of, and ended when it is dropped.

use std::{borrow::Cow, time::SystemTime};

use http::HeaderMap;
use metrics::counter;

use super::{
    CURRENT, Ratio, SpanContext, TRACER,
    context::{Parent, new_trace},
    current,
};
use crate::telemetry::names;

/// Which side of what a span is, in OpenTelemetry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of this process alone.
    Internal = 1,
    /// Somebody's request, answered here.
    Server = 2,
    /// A call to Redis or Postgres.
    Client = 3,
    /// Something taken from a stream.
    Consumer = 5,
}

/// What is told of a span under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

/// A sampled span that is under way. It ends when it is dropped, and is then exported.
#[derive(Debug)]
pub struct Span(Box<Ended>);

/// A span that has ended, or will.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub context: SpanContext,
    /// The span of the same trace that it is a part of.
    pub parent: Option<u64>,
    /// A span of another trace that it follows from.
    pub link: Option<SpanContext>,
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    pub begun: SystemTime,
    pub ended: SystemTime,
    pub told: Vec<(&'static str, Value)>,
    pub has_failed: bool,
}

impl Span {
    /// The span of a request, if it is traced: as its `traceparent` says, and without one by the ratio.
    pub fn of_request(headers: &HeaderMap, name: impl FnOnce() -> String) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = headers.get("traceparent").map_or(Parent::Unknown, |value| Parent::parse(value.as_bytes()));
        let (context, parent) = sampled(parent, tracer.ratio)?;
        Some(Self::begun(context, parent, name().into(), SpanKind::Server))
    }

    /// The span of some work that nobody asked for from outside, if it is traced: by the ratio.
    pub fn root(name: &'static str) -> Option<Self> {
        let (context, parent) = sampled(Parent::Unknown, TRACER.get()?.ratio)?;
        Some(Self::begun(context, parent, name.into(), SpanKind::Internal))
    }

    /// A part of the span that is under way here; `None` where none is.
    pub fn child(name: &'static str, kind: SpanKind) -> Option<Self> {
        let parent = current()?;
        Some(Self::begun(parent.sibling(), Some(parent.span), name.into(), kind))
    }

    /// The first span of a trace that follows from a span of another; `None` where nothing is traced.
    pub fn following(written_by: SpanContext, name: &'static str, kind: SpanKind, begun: SystemTime) -> Option<Self> {
        TRACER.get()?;
        let mut span = Self::begun(SpanContext::root(), None, name.into(), kind);
        (span.0.link, span.0.begun) = (Some(written_by), begun);
        Some(span)
    }

    fn begun(context: SpanContext, parent: Option<u64>, name: Cow<'static, str>, kind: SpanKind) -> Self {
        let now = SystemTime::now();
        let told = Vec::with_capacity(8);
        Self(Box::new(Ended { context, parent, link: None, name, kind, begun: now, ended: now, told, has_failed: false }))
    }

    /// Its ids.
    pub fn context(&self) -> SpanContext {
        self.0.context
    }

    /// Says something of it.
    pub fn tell(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.told.push((name, value.into()));
    }

    /// Says that what it is about has failed.
    pub fn fail(&mut self) {
        self.0.has_failed = true;
    }

    /// Awaits something of which the spans are parts of this one.
    pub async fn scope<F: Future>(&self, work: F) -> F::Output {
        CURRENT.scope(self.0.context, work).await
    }
}

/// The ids of a new span and its parent, if it is traced.
fn sampled(parent: Parent, ratio: Ratio) -> Option<(SpanContext, Option<u64>)> {
    match parent {
        Parent::Sampled(parent) => Some((parent.sibling(), Some(parent.span))),
        Parent::Unsampled => None,
        Parent::Unknown => {
            let trace = new_trace();
            // The low half, because that is where W3C wants a trace's id to be random.
            ratio.takes(trace as u32).then(|| (SpanContext::of(trace), None))
        }
    }
}

impl Drop for Span {
    /// Never waits: where the queue is full the span is given up, and counted.
    fn drop(&mut self) {
        let Some(tracer) = TRACER.get() else { return };
        self.0.ended = SystemTime::now();
        if tracer.ended.try_send((*self.0).clone()).is_err() {
            counter!(names::SPANS, "outcome" => "full").increment(1);
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Ratio = Ratio::new(1.0);
    const NONE: Ratio = Ratio::new(0.0);

    #[test]
    fn who_asks_decides_and_where_nobody_does_the_ratio() {
        let parent = SpanContext::root();
        let (context, of) = sampled(Parent::Sampled(parent), NONE).expect("asked for");
        assert_eq!((context.trace, of), (parent.trace, Some(parent.span)));
        assert!(sampled(Parent::Unsampled, ALL).is_none());
        assert!(sampled(Parent::Unknown, NONE).is_none());
        assert!(sampled(Parent::Unknown, ALL).is_some_and(|(_, parent)| parent.is_none()));
        let taken = (0..10_000).filter(|_| sampled(Parent::Unknown, Ratio::new(0.1)).is_some()).count();
        assert!((800..1_200).contains(&taken), "{taken} of 10,000 at a ratio of 0.1");
    }
}
