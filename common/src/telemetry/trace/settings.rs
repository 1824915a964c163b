//! Where traces go, and how many of them.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Scheme};

/// Where OTLP over HTTP is taken by a collector, where its URL has no path.
const PATH: &str = "/v1/traces";

/// What is traced.
#[derive(Debug, Clone)]
pub struct Tracing {
    /// Who takes the spans.
    pub collector: CollectorUrl,
    /// How many of the requests are traced of which nobody has said whether to.
    pub ratio: Ratio,
}

/// The URL of a collector that takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl(Uri);

impl CollectorUrl {
    /// Its host and port.
    pub(super) fn authority(&self) -> (&str, u16) {
        (self.0.host().unwrap_or_default().trim_matches(['[', ']']), self.0.port_u16().unwrap_or(80))
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for CollectorUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => return Err("is not http: a collector near by can speak TLS to others"),
            Some(_) | None => return Err("is no URL that begins with http://"),
        }
        let mut parts = uri.into_parts();
        if parts.path_and_query.as_ref().is_none_or(|path| path.as_str() == "/") {
            parts.path_and_query = PATH.parse().ok();
        }
        Uri::from_parts(parts).map(Self).map_err(|_| "is no URL")
    }
}

/// A part of all, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Of 2^32 numbers those below this.
    below: u64,
}

impl Ratio {
    pub(super) const fn new(of_one: f64) -> Self {
        Self { below: (of_one * (1_u64 << 32) as f64) as u64 }
    }

    /// Whether a random number is in it.
    pub(super) fn takes(self, random: u32) -> bool {
        u64::from(random) < self.below
    }
}

impl FromStr for Ratio {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of_one = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        of_one.map(Self::new).ok_or("is not a number from 0 to 1")
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://collector:4318", "http://collector:4318/v1/traces")]
    #[case("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces")]
    #[case("http://[::1]:4318/of/ours", "http://[::1]:4318/of/ours")]
    fn a_collector_is_asked_where_otlp_is_taken(#[case] given: &str, #[case] asked: &str) {
        assert_eq!(given.parse::<CollectorUrl>().map(|url| url.to_string()), Ok(asked.to_owned()));
    }

    #[rstest]
    #[case("collector:4318")]
    #[case("https://collector:4318")]
    #[case("grpc://collector:4317")]
    #[case("/v1/traces")]
    fn what_is_no_collector_is_refused(#[case] given: &str) {
        assert!(given.parse::<CollectorUrl>().is_err(), "{given}");
    }

    #[test]
    fn a_ratio_is_a_part_of_one() {
        for (text, low, high) in [("0", false, false), ("0.5", true, false), ("1", true, true)] {
            let ratio: Ratio = text.parse().expect("a ratio");
            assert_eq!((ratio.takes(0), ratio.takes(u32::MAX)), (low, high), "{text}");
        }
        for wrong in ["-0.1", "1.1", "NaN", "half"] {
            assert!(wrong.parse::<Ratio>().is_err(), "{wrong}");
        }
    }
}
