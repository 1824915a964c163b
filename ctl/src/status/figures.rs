//! The figures of a process on one line: what it did lately, how long that took, and what waits.

use freshline::{
    figures::{Figures, Reads, Work},
    registry::Process,
};

use crate::paint;

/// Whether a process says that it is ready; `-` where it says nothing.
pub fn ready(process: &Process) -> &'static str {
    match process.figures.as_ref().and_then(|figures| figures.is_ready) {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}

/// What its figures say; `-` where it has none.
pub fn told(process: &Process) -> String {
    let said = process.figures.as_ref().map(parts).unwrap_or_default();
    if said.is_empty() { "-".to_owned() } else { said.join(", ") }
}

fn parts(figures: &Figures) -> Vec<String> {
    let Figures { requests, reads, loads, changes, freshness_ms, stripes_closed, fenced, lag_bytes, relay, warmed, .. } = figures;
    let told = [
        requests.map(|requests| work("requests", requests)),
        reads.and_then(hit_rate),
        loads.map(|loads| format!("{:.1} loads/s", loads.per_s)),
        changes.map(|changes| work("changes", changes)),
        freshness_ms.map(|freshness| format!("fresh to {}", millis(freshness))),
        stripes_closed.filter(|closed| *closed > 0).map(|closed| format!("{closed} stripes closed")),
        fenced.map(|fenced| format!("{fenced} fenced")),
        lag_bytes.map(|lag| format!("{} behind", paint::bytes(i64::try_from(lag).unwrap_or(i64::MAX)))),
        relay.map(|relay| format!("{} published, {} unstored", relay.published, relay.unstored)),
        warmed.map(|warmed| format!("{warmed} warmed")),
    ];
    told.into_iter().flatten().collect()
}

fn work(name: &str, work: Work) -> String {
    let took = work.p50_ms.zip(work.p99_ms).map(|(half, most)| format!(" (p50 {}, p99 {})", millis(half), millis(most)));
    format!("{:.1} {name}/s{}", work.per_s, took.unwrap_or_default())
}

/// Hits among all reads since the process began; none before the first.
fn hit_rate(Reads { hits, misses, fallbacks, .. }: Reads) -> Option<String> {
    let all = hits + misses + fallbacks;
    (all > 0).then(|| format!("{:.1} % hits", hits as f64 * 100.0 / all as f64))
}

fn millis(ms: f64) -> String {
    paint::micros((ms * 1_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use freshline::{figures::Growth, registry::Role};

    use super::*;

    #[test]
    fn a_process_is_told_on_one_line() {
        let figures = Figures {
            is_ready: Some(true),
            requests: Some(Work { total: 9, per_s: 12.34, p50_ms: Some(0.5), p99_ms: Some(2.0) }),
            reads: Some(Reads { hits: 3, misses: 1, ..Reads::default() }),
            loads: Some(Growth { total: 1, per_s: 0.5 }),
            fenced: Some(2),
            ..Figures::default()
        };
        let process = Process { figures: Some(figures), ..Process::this(Role::Api) };
        let (half, most) = (millis(0.5), millis(2.0));
        let line = format!("12.3 requests/s (p50 {half}, p99 {most}), 75.0 % hits, 0.5 loads/s, 2 fenced");
        assert_eq!((told(&process), ready(&process)), (line, "yes"));
        let silent = Process::this(Role::Demo);
        assert_eq!((told(&silent).as_str(), ready(&silent)), ("-", "-"));
    }
}
