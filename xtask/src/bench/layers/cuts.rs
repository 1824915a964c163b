//! The layers on the way of a hit, and what has to be changed in the sources so that each can be left out of a process.
//!
//! The product has no such switches: the changes are made to a copy of its sources, and a build of that copy is what is measured. All
//! layers are switches of one build, because two builds differ by where the compiler and the linker put things, and that alone by more
//! than most layers cost.

use anyhow::{Result, ensure};

/// A layer: how it is named in the report, and in [`EDITS`].
pub struct Layer {
    /// As a row of the report.
    pub row: &'static str,
    /// As a word in [`EDITS`].
    pub word: &'static str,
}

const fn layer(word: &'static str, row: &'static str) -> Layer {
    Layer { row, word }
}

/// All of them. The place of one is its number, which the copy is told.
pub const LAYERS: [Layer; 13] = [
    layer("tracing", "layers: tracing, which is off"),
    layer("request_id", "layers: a request id"),
    layer("metrics", "layers: counters and a histogram"),
    layer("tally", "layers: counts by kind of value"),
    layer("server_timing", "layers: Server-Timing"),
    layer("panics", "layers: a panic becomes an answer"),
    layer("cache_status", "layers: Cache-Status and Age"),
    layer("caching", "layers: Cache-Control and Vary"),
    layer("conditions", "layers: ETag and conditions"),
    layer("codings", "layers: the choice of a coding"),
    layer("pace", "layers: limits on slow callers"),
    layer("fallback", "layers: the fallback, which is empty"),
    layer("breaker", "layers: whether Redis is to be asked"),
];

/// One place in the sources, and what stands there in the copy. `WITHOUT(word)` is whether that layer is left out.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn edit(file: &'static str, from: &'static str, to: &'static str) -> Edit {
    Edit { file, from, to }
}

const FRONT: &str = "api/src/front.rs";
const ANSWER: &str = "api/src/read/answer.rs";
const SERVER: &str = "common/src/server.rs";
const PACED: &str = "common/src/server/paced.rs";
const LOOKUP: &str = "common/src/cache/lookup.rs";
const DOOR: &str = "common/src/cache/door.rs";

/// The package is renamed, so that its program does not take the real one's place.
const EDITS: [Edit; 28] = [
    edit("api/Cargo.toml", "name = \"freshline-api\"", "name = \"freshline-api-without\""),
    edit("common/src/lib.rs", "pub mod admin;", SWITCHES),
    edit(
        FRONT,
        "let (begun, counted, span) = (Instant::now(), self.meter.of(&request), traced::span(&request));",
        "let begun = Instant::now();
        let counted = if WITHOUT(metrics) { None } else { Some(self.meter.of(&request)) };
        let span = if WITHOUT(tracing) { None } else { traced::span(&request) };",
    ),
    edit(
        FRONT,
        "let id = RequestId::of(request.headers());",
        "let id = if WITHOUT(request_id) { None } else { Some(RequestId::of(request.headers())) };",
    ),
    edit(
        FRONT,
        "let answering = id.clone().scope(answered(self.router.clone(), request));",
        "let answering = async {
            match &id {
                Some(id) => id.clone().scope(answered(self.router.clone(), request)).await,
                None => answered(self.router.clone(), request).await,
            }
        };",
    ),
    edit(
        FRONT,
        "response.headers_mut().insert(REQUEST_ID, id.value());",
        "if let Some(id) = &id { response.headers_mut().insert(REQUEST_ID, id.value()); }",
    ),
    edit(
        FRONT,
        "if let Ok(timing) = HeaderValue::try_from(format!(",
        "if WITHOUT(server_timing) {} else if let Ok(timing) = HeaderValue::try_from(format!(",
    ),
    edit(
        FRONT,
        "counted.answered(response.status(), took);",
        "if let Some(counted) = counted { counted.answered(response.status(), took); }",
    ),
    edit(
        FRONT,
        "match AssertUnwindSafe(async move { router.call(request).await }).catch_unwind().await {",
        "let answer = match WITHOUT(panics) {
            true => Ok(router.call(request).await),
            false => AssertUnwindSafe(async move { router.call(request).await }).catch_unwind().await,
        };
        match answer {",
    ),
    edit(
        "common/src/cache.rs",
        "self.meters.served(served.origin);",
        "if !WITHOUT(metrics) { self.meters.served(served.origin); }",
    ),
    edit("api/src/read.rs", "self.tally.read(kind, &found);", "if !WITHOUT(tally) { self.tally.read(kind, &found); }"),
    edit(
        "api/src/headers.rs",
        "headers.insert(CACHE_STATUS, self.cache_status());",
        "if WITHOUT(cache_status) { return headers; }
        headers.insert(CACHE_STATUS, self.cache_status());",
    ),
    edit(
        "api/src/caching.rs",
        "headers.insert(header::VARY, VARY);",
        "if WITHOUT(caching) { return; }
        headers.insert(header::VARY, VARY);",
    ),
    edit(
        "api/src/extract.rs",
        "if_none_match: given(header::IF_NONE_MATCH), accept_encoding: given(header::ACCEPT_ENCODING)",
        "if_none_match: if WITHOUT(conditions) { None } else { given(header::IF_NONE_MATCH) },
            accept_encoding: if WITHOUT(codings) { None } else { given(header::ACCEPT_ENCODING) }",
    ),
    edit(
        ANSWER,
        "let coding = Coding::of(asked.accept_encoding.as_ref(), body.len());",
        "let coding = if WITHOUT(codings) { None } else { Coding::of(asked.accept_encoding.as_ref(), body.len()) };",
    ),
    edit(
        ANSWER,
        "if let Ok(etag) = HeaderValue::try_from(Coding::etag(coding, etag)) {",
        "if WITHOUT(conditions) {} else if let Ok(etag) = HeaderValue::try_from(Coding::etag(coding, etag)) {",
    ),
    edit(ANSWER, "if is_known(", "if !WITHOUT(conditions) && is_known("),
    edit(SERVER, ".header_read_timeout(limits.idle)", ".header_read_timeout(if WITHOUT(pace) { None } else { Some(limits.idle) })"),
    edit(SERVER, "asked.notify_one();\n        turns.pass();", "asked.notify_one();\n        if !WITHOUT(pace) { turns.pass(); }"),
    edit(SERVER, "turns.pass();\n            Ok::<", "if !WITHOUT(pace) { turns.pass(); }\n            Ok::<"),
    edit(
        PACED,
        "let before = buffer.filled().len();",
        "if WITHOUT(pace) { return Pin::new(&mut self.stream).poll_read(cx, buffer); }
        let before = buffer.filled().len();",
    ),
    edit(
        PACED,
        "if written.is_ready() {",
        "if WITHOUT(pace) { return written; }
        if written.is_ready() {",
    ),
    edit(LOOKUP, "self.fallback.clear();", "if !WITHOUT(fallback) { self.fallback.clear(); }"),
    edit(
        LOOKUP,
        "let looking = Span::child(\"cache.look\", SpanKind::Client);",
        "let looking = if WITHOUT(tracing) { None } else { Span::child(\"cache.look\", SpanKind::Client) };",
    ),
    edit(
        DOOR,
        "if stripes.iter().any(|stripe| self.is_paused(*stripe)) {",
        "if !WITHOUT(breaker) && stripes.iter().any(|stripe| self.is_paused(*stripe)) {",
    ),
    edit(DOOR, "if is_refused.load(Relaxed) &&", "if !WITHOUT(breaker) && is_refused.load(Relaxed) &&"),
    edit(
        "common/src/coherence/links.rs",
        "self.unbroken().filter(|link| !link.is_silent())",
        "self.unbroken().filter(|link| WITHOUT(breaker) || !link.is_silent())",
    ),
    edit(
        "common/src/coherence/link.rs",
        "if self.is_silent() {\n                    self.shared",
        "if !WITHOUT(breaker) && self.is_silent() {\n                    self.shared",
    ),
];

/// The variable that says which layers a process leaves out: the sum of 2 to the power of their numbers.
pub const WITHOUT: &str = "BENCH_WITHOUT";

/// What the copy of the library knows of that. It is asked once a process, so that a layer that stays costs one load more.
const SWITCHES: &str = "extern crate self as freshline;

/// Layers that can be left out.
pub mod without {
    static LAYERS: std::sync::LazyLock<u32> =
        std::sync::LazyLock::new(|| std::env::var(\"BENCH_WITHOUT\").ok().and_then(|sum| sum.parse().ok()).unwrap_or(0));

    /// Whether this one is left out.
    #[inline]
    pub fn is(number: u32) -> bool {
        *LAYERS >> number & 1 == 1
    }
}

pub mod admin;";

/// What a file of the sources is in the copy.
///
/// # Errors
/// If a place that is to be changed is not there, or is not the only one like it.
pub fn cut(file: &str, mut text: String) -> Result<String> {
    for edit in EDITS.iter().filter(|edit| edit.file == file) {
        let found = text.matches(edit.from).count();
        ensure!(found == 1, "{file} has {found} times `{}`, which `bench layers` changes: see bench/layers/cuts.rs", edit.from);
        text = text.replace(edit.from, &with_numbers(edit.to));
    }
    Ok(text)
}

fn with_numbers(to: &str) -> String {
    LAYERS.iter().enumerate().fold(to.to_owned(), |to, (number, layer)| {
        to.replace(&format!("WITHOUT({})", layer.word), &format!("freshline::without::is({number})"))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkout::root;

    #[test]
    fn every_layer_can_be_left_out_of_the_sources_as_they_are() {
        for edit in &EDITS {
            let text = fs::read_to_string(root().join(edit.file)).expect("a source");
            let changed = cut(edit.file, text).unwrap_or_else(|error| panic!("{error:#}"));
            assert!(!changed.contains("WITHOUT("), "{}: a layer that there is not", edit.file);
        }
        for layer in LAYERS {
            let word = format!("WITHOUT({})", layer.word);
            assert!(EDITS.iter().any(|edit| edit.to.contains(&word)), "{} is cut nowhere", layer.word);
        }
    }

    #[test]
    fn a_place_that_has_changed_is_named() {
        let told = cut("common/src/lib.rs", "nothing".to_owned()).expect_err("it is not there").to_string();
        assert!(told.contains("common/src/lib.rs has 0 times `pub mod admin;`"), "{told}");
    }
}
