//! The report: one page of HTML that needs nothing else.

use std::fmt::Write;

use super::tally::{QUANTILES, Second, Tally, millis};

/// The size of a chart, in its own units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
svg { width: 100%; height: auto; overflow: visible; }
polyline { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.a { stroke: #1f77b4; } .b { stroke: #d95f02; }
.wrong { color: #c0392b; font-weight: 600; }
figcaption .a::before { content: '■ '; color: #1f77b4; } figcaption .b::before { content: '■ '; color: #d95f02; }
";

/// The page of a load; `about` says what it was.
pub fn page(tally: &Tally, about: &str) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\n\
         <title>Load</title><style>{STYLE}</style>\n<h1>Load</h1>\n<p>{}.</p>\n",
        escaped(about)
    );
    table(&mut page, tally);
    let each = |figure: &dyn Fn(&Second) -> f64| tally.seconds.iter().map(figure).collect::<Vec<_>>();
    let at = |quantile: f64| each(&|second| second.latency.value_at_quantile(quantile) as f64 / 1_000.0);
    chart(&mut page, "Latency, ms", &[("p50", at(0.5)), ("p99", at(0.99))]);
    let rate = each(&|second| if second.reads == 0 { 0.0 } else { 100.0 * second.hits as f64 / second.reads as f64 });
    let errors = each(&|second| second.errors as f64);
    chart(&mut page, "From the cache, % of the reads without a token; errors", &[("hit rate", rate), ("errors", errors)]);
    page
}

fn table(page: &mut String, tally: &Tally) {
    let heads: String = QUANTILES.iter().map(|(_, name)| format!("<th>{name}")).collect();
    push(page, format_args!("<table>\n<tr><th>ms, from when they were due<th>answers{heads}\n"));
    for (group, latencies) in tally.groups() {
        let figures: String = QUANTILES.iter().map(|(at, _)| format!("<td>{}", millis(latencies.value_at_quantile(*at)))).collect();
        push(page, format_args!("<tr><td>{}<td>{}{figures}\n", group.as_str(), latencies.len()));
    }
    for (count, what) in tally.wrongs() {
        push(page, format_args!("<tr class=wrong><td>{what}<td>{count}\n"));
    }
    page.push_str("</table>\n");
    if let Some(rate) = tally.hit_rate() {
        push(page, format_args!("<p>{rate:.1} % of the reads without a token came from the cache.</p>\n"));
    }
}

/// Some lines over the seconds, on one scale from 0.
fn chart(page: &mut String, title: &str, lines: &[(&str, Vec<f64>)]) {
    let most = lines.iter().flat_map(|(_, figures)| figures).copied().fold(1e-9, f64::max);
    push(page, format_args!("<figure><figcaption><b>{title}</b>"));
    for ((name, _), class) in lines.iter().zip(["a", "b"]) {
        push(page, format_args!(" <span class={class}>{name}</span>"));
    }
    push(page, format_args!(" (top: {most:.1})</figcaption>\n<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='{title}'>"));
    push(page, format_args!("<path d='M0 0H{WIDTH}M0 {HEIGHT}H{WIDTH}' stroke=currentColor stroke-opacity=.2 />"));
    for ((_, figures), class) in lines.iter().zip(["a", "b"]) {
        let step = WIDTH / (figures.len().max(2) - 1) as f64;
        let point = |(n, figure): (usize, &f64)| format!("{:.1},{:.1} ", n as f64 * step, HEIGHT * (1.0 - figure / most));
        let points: String = figures.iter().enumerate().map(point).collect();
        push(page, format_args!("<polyline class={class} points='{points}' />"));
    }
    page.push_str("</svg></figure>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Writing to memory does not fail.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    if page.write_fmt(text).is_err() {
        page.push_str("(not written)");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::caller::{Answer, Came};

    #[test]
    fn the_page_shows_what_was_counted_and_asks_nobody_for_more() {
        let mut tally = Tally::new(Duration::from_secs(3));
        for (second, came) in [(0, Came::Hit), (1, Came::Miss), (2, Came::Older)] {
            tally.count(Answer { due: Duration::from_secs(second), took: Duration::from_millis(4), came });
        }
        let page = page(&tally, "1 request/s to http://a?b&c, <mix>");
        for said in
            ["b&amp;c, &lt;mix>", "reads from the cache<td>1<td>4.0", "older than the write", "50.0 % of the reads", "<polyline"]
        {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(!page.contains("src=") && !page.contains("href="), "{page}");
    }
}
