//! What a read says of itself: where it came from (`Cache-Status`, RFC 9211) and how old it may be (`Age`).

use std::time::Duration;

use freshline::{
    cache::{FillOutcome, Found, Origin},
    coherence::Refusal,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// How an answer came about (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

const HIT: HeaderValue = HeaderValue::from_static("Freshline; hit; detail=redis");
const FALLBACK: HeaderValue = HeaderValue::from_static("Freshline; hit; detail=fallback");

/// Where one value, or several of one answer, came from.
#[derive(Debug, Clone, Copy)]
pub struct Provenance {
    hits: usize,
    /// Whether any of them came from memory, because Redis is away.
    is_fallback: bool,
    values: usize,
    /// The oldest.
    age: Duration,
    /// Of the first that the cache did not serve.
    refusal: Option<Refusal>,
    fill: Option<FillOutcome>,
}

impl Provenance {
    /// Of one value.
    pub fn of<V>(found: &Found<V>) -> Self {
        let Found { age, origin, refusal, fill, .. } = *found;
        Self {
            hits: usize::from(origin != Origin::Postgres),
            is_fallback: origin == Origin::Fallback,
            values: 1,
            age,
            refusal,
            fill,
        }
    }

    /// Of this and more.
    pub fn and<V>(self, found: &[Found<V>]) -> Self {
        found.iter().map(Self::of).fold(self, |all, one| Self {
            hits: all.hits + one.hits,
            is_fallback: all.is_fallback | one.is_fallback,
            values: all.values + one.values,
            age: all.age.max(one.age),
            refusal: all.refusal.or(one.refusal),
            fill: all.fill.or(one.fill),
        })
    }

    /// Of nothing yet.
    pub const fn none() -> Self {
        Self { hits: 0, is_fallback: false, values: 0, age: Duration::ZERO, refusal: None, fill: None }
    }

    /// The headers of an answer made of it.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CACHE_STATUS, self.cache_status());
        headers.insert(header::AGE, age(self.age));
        headers
    }

    fn cache_status(&self) -> HeaderValue {
        if self.hits == self.values {
            return if self.is_fallback { FALLBACK } else { HIT };
        }
        let text = if self.hits > 0 {
            let origin = if self.is_fallback { Origin::Fallback } else { Origin::Redis };
            format!("Freshline; fwd=partial; detail={}:{}/{}", origin.as_str(), self.hits, self.values)
        } else {
            self.forwarded()
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Freshline; fwd=miss"))
    }

    /// Why it was not served from the cache, and what became of the fill.
    fn forwarded(&self) -> String {
        let reason = self.refusal.map_or("miss", forwarded);
        let refusal = self.refusal.map_or("missing", Refusal::as_str);
        match self.fill {
            Some(FillOutcome::Filled) => format!("Freshline; fwd={reason}; stored; detail={refusal}"),
            Some(fill) if fill.as_str() != refusal => format!("Freshline; fwd={reason}; detail={refusal}/{}", fill.as_str()),
            Some(_) | None => format!("Freshline; fwd={reason}; detail={refusal}"),
        }
    }
}

/// RFC 9211's word for it (its §2.2).
const fn forwarded(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Closed | Refusal::OtherRun | Refusal::Unreachable => "bypass",
        Refusal::Missing | Refusal::Garbled => "miss",
        Refusal::OtherGeneration | Refusal::TagChanged | Refusal::Unproven => "stale",
        Refusal::NotOwn => "request",
    }
}

/// In whole seconds, rounded down, as RFC 9111 counts it. Nearly all are within the bound, and made once.
fn age(age: Duration) -> HeaderValue {
    const FEW: [HeaderValue; 6] = [
        HeaderValue::from_static("0"),
        HeaderValue::from_static("1"),
        HeaderValue::from_static("2"),
        HeaderValue::from_static("3"),
        HeaderValue::from_static("4"),
        HeaderValue::from_static("5"),
    ];
    match age.as_secs() {
        seconds @ 0..=5 => FEW[seconds as usize].clone(),
        seconds => HeaderValue::from(seconds),
    }
}

#[cfg(test)]
mod tests {
    use freshline::coherence::ETag;
    use rstest::rstest;

    use super::*;

    fn found(origin: Origin, refusal: Option<Refusal>, fill: Option<FillOutcome>) -> Found<()> {
        Found { value: None, etag: ETag::of(b""), age: Duration::from_millis(1900), origin, refusal, fill, explanation: None }
    }

    #[rstest]
    #[case::hit(Origin::Redis, None, None, "Freshline; hit; detail=redis")]
    #[case::fallback(Origin::Fallback, None, None, "Freshline; hit; detail=fallback")]
    #[case::filled(
        Origin::Postgres,
        Some(Refusal::Missing),
        Some(FillOutcome::Filled),
        "Freshline; fwd=miss; stored; detail=missing"
    )]
    #[case::another_fills(
        Origin::Postgres,
        Some(Refusal::Missing),
        Some(FillOutcome::Busy),
        "Freshline; fwd=miss; detail=missing/busy"
    )]
    #[case::closed(Origin::Postgres, Some(Refusal::Closed), Some(FillOutcome::Closed), "Freshline; fwd=bypass; detail=closed")]
    #[case::token(Origin::Postgres, Some(Refusal::NotOwn), Some(FillOutcome::Old), "Freshline; fwd=request; detail=not-own/old")]
    #[case::too_old(Origin::Postgres, Some(Refusal::Unproven), None, "Freshline; fwd=stale; detail=unproven")]
    fn an_answer_says_where_it_came_from(
        #[case] origin: Origin,
        #[case] refusal: Option<Refusal>,
        #[case] fill: Option<FillOutcome>,
        #[case] status: &str,
    ) {
        let headers = Provenance::of(&found(origin, refusal, fill)).headers();
        assert_eq!(headers[CACHE_STATUS], status);
        assert_eq!(headers[header::AGE], "1");
    }

    #[test]
    fn an_answer_of_several_values_counts_those_from_the_cache() {
        let (hit, miss) = (found(Origin::Redis, None, None), found(Origin::Postgres, Some(Refusal::Missing), None));
        let status = |found: &[Found<()>]| Provenance::none().and(found).cache_status();
        assert_eq!(status(&[hit.clone(), miss.clone(), hit.clone()]), "Freshline; fwd=partial; detail=redis:2/3");
        assert_eq!(status(&[hit.clone(), hit]), "Freshline; hit; detail=redis");
        let kept = found(Origin::Fallback, None, None);
        assert_eq!(status(&[kept.clone(), miss.clone(), kept.clone()]), "Freshline; fwd=partial; detail=fallback:2/3");
        assert_eq!(status(&[kept]), "Freshline; hit; detail=fallback");
        assert_eq!(status(&[miss]), "Freshline; fwd=miss; detail=missing");
    }
}
