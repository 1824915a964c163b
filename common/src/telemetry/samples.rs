//! What this process's own metrics say at one moment, to be compared with what they said before: totals, rates and quantiles without a
//! second count of anything.

use std::collections::BTreeMap;

/// Values of some metrics, with the labels of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    by_name: BTreeMap<String, Vec<Sample>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    /// As they are written: `route="/products",le="0.1"`.
    labels: String,
    value: f64,
}

/// Samples of a histogram: how many were at most so much.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Each bound with its count, which holds those below; sorted by bound.
    counts: Vec<(f64, f64)>,
}

impl Samples {
    /// Those of these metrics, or of the buckets of these histograms, in a text as Prometheus reads it. What is no sample is left out.
    pub(crate) fn parse(text: &str, names: &[&str]) -> Self {
        let mut samples = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let base = name.strip_suffix("_bucket").unwrap_or(name);
            if let (true, Ok(value)) = (names.contains(&base), value.parse()) {
                let labels = labels.trim_end_matches('}').to_owned();
                samples.by_name.entry(name.to_owned()).or_default().push(Sample { labels, value });
            }
        }
        samples
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.by_name.get(name).into_iter().flatten()
    }

    /// The sum of a metric over those labels that `is_wanted`; `None` where there are none.
    pub fn sum(&self, name: &str, is_wanted: impl Fn(&str) -> bool) -> Option<f64> {
        let wanted = self.of(name).filter(|sample| is_wanted(&sample.labels)).map(|sample| sample.value);
        wanted.reduce(|sum, value| sum + value)
    }

    /// The buckets of a histogram over those labels that `is_wanted`.
    pub fn buckets(&self, name: &str, is_wanted: impl Fn(&str) -> bool) -> Buckets {
        let mut counts: Vec<(f64, f64)> = Vec::new();
        for Sample { labels, value } in self.of(&format!("{name}_bucket")).filter(|sample| is_wanted(&sample.labels)) {
            let bound = labels.rsplit("le=\"").next().and_then(|rest| rest.strip_suffix('"')?.parse::<f64>().ok());
            let Some(bound) = bound else { continue };
            match counts.iter_mut().find(|(of, _)| *of == bound) {
                Some((_, count)) => *count += value,
                None => counts.push((bound, *value)),
            }
        }
        counts.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Buckets { counts }
    }
}

impl Buckets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// What came since.
    pub fn since(&self, before: &Self) -> Self {
        let count_before = |bound: f64| before.counts.iter().find(|(of, _)| *of == bound).map_or(0.0, |(_, count)| *count);
        Self { counts: self.counts.iter().map(|(bound, count)| (*bound, (count - count_before(*bound)).max(0.0))).collect() }
    }

    /// The value below which this share of the samples lies, in the unit of the bounds, as if they were spread evenly within their
    /// bucket. What lies above all bounds counts as the highest. `None` without samples.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.counts.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let (mut below, mut count_below) = (0.0, 0.0);
        for (bound, count) in &self.counts {
            if *count >= all * share && *count > 0.0 {
                let within = ((all * share - count_below) / (count - count_below)).clamp(0.0, 1.0);
                return Some(if bound.is_finite() { below + (bound - below) * within } else { below });
            }
            (below, count_below) = (*bound, *count);
        }
        Some(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP reads_total Reads.\n\
        # TYPE reads_total counter\n\
        reads_total{outcome=\"hit\"} 30\n\
        reads_total{outcome=\"missing\"} 3\n\
        others_total 7\n\
        up NaN\n\n\
        took_seconds_bucket{route=\"/a\",le=\"0.1\"} 8\n\
        took_seconds_bucket{route=\"/a\",le=\"0.5\"} 10\n\
        took_seconds_bucket{route=\"/a\",le=\"+Inf\"} 10\n\
        took_seconds_bucket{route=\"/b\",le=\"0.1\"} 1\n\
        took_seconds_bucket{route=\"/b\",le=\"0.5\"} 1\n\
        took_seconds_bucket{route=\"/b\",le=\"+Inf\"} 2\n\
        took_seconds_sum{route=\"/a\"} 1.5\n";

    fn samples() -> Samples {
        Samples::parse(TEXT, &["reads_total", "took_seconds", "up"])
    }

    #[test]
    fn a_metric_is_summed_over_the_labels_that_are_wanted() {
        let samples = samples();
        assert_eq!(samples.sum("reads_total", |_| true), Some(33.0));
        assert_eq!(samples.sum("reads_total", |labels| labels.contains("\"hit\"")), Some(30.0));
        assert_eq!(samples.sum("reads_total", |labels| labels.contains("none")), None);
        assert_eq!(samples.sum("others_total", |_| true), None, "it was not asked for");
        assert!(samples.sum("up", |_| true).is_some_and(f64::is_nan));
    }

    #[test]
    fn a_quantile_lies_within_its_bucket_and_never_above_the_highest_bound() {
        let of = |route: &str| samples().buckets("took_seconds", |labels| labels.contains(route));
        let near = |quantile: Option<f64>, wanted: f64| quantile.is_some_and(|quantile| (quantile - wanted).abs() < 1e-9);
        assert!(near(of("/a").quantile(0.5), 0.1 * 5.0 / 8.0), "{:?}", of("/a").quantile(0.5));
        assert!(near(of("/a").quantile(0.9), 0.3), "{:?}", of("/a").quantile(0.9));
        assert!(near(of("/b").quantile(0.99), 0.5), "{:?}", of("/b").quantile(0.99));
        assert!(near(of("/").quantile(0.75), 0.1), "{:?}", of("/").quantile(0.75));
        assert_eq!(of("/c").quantile(0.5), None);
        assert_eq!(of("/a").since(&of("/a")).quantile(0.5), None, "nothing came");
        assert!(near(of("/").since(&of("/a")).quantile(0.5), 0.1));
    }
}
