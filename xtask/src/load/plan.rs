//! What is asked, and when: decided by the seed alone. Pure.

use std::{fmt, time::Duration};

use stage::Random;

/// Of a hundred requests, how many are what; the others read one product.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    pub writes: u8,
    pub lists: u8,
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}% writes, {}% lists", self.writes, self.lists)
    }
}

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A read of one product.
    Product,
    /// A read of the first page of all.
    List,
    /// A change of a product's price to so many cents, and a read that has to include it.
    Write { cents: u32 },
}

/// A request, and when it is due after the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub due: Duration,
    pub kind: Kind,
    /// Which product.
    pub key: usize,
    /// Which of the APIs, where there are some.
    pub turn: usize,
}

/// All requests, one after another.
pub struct Plan {
    rate: u32,
    duration: Duration,
    mix: Mix,
    popularity: Zipf,
    random: Random,
    next: u64,
}

impl Plan {
    /// So many requests a second for so long, about so many products whose popularity falls with this exponent.
    pub fn new(rate: u32, duration: Duration, mix: Mix, (keys, exponent): (usize, f64), seed: u64) -> Self {
        Self { rate, duration, mix, popularity: Zipf::new(keys, exponent), random: Random::new(seed), next: 0 }
    }

    /// When the last is due.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

impl Iterator for Plan {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let due = Duration::from_secs_f64(self.next as f64 / f64::from(self.rate));
        if due >= self.duration {
            return None;
        }
        let turn = usize::try_from(self.next).unwrap_or(0);
        self.next += 1;
        let kind = match self.random.below(100) {
            n if n < usize::from(self.mix.writes) => {
                Kind::Write { cents: u32::try_from(self.random.below(100_000)).unwrap_or_default() }
            }
            n if n < usize::from(self.mix.writes + self.mix.lists) => Kind::List,
            _ => Kind::Product,
        };
        Some(Request { due, kind, key: self.popularity.pick(&mut self.random), turn })
    }
}

/// Zipf's law: the n-th is asked for in proportion to 1 / n^s.
struct Zipf {
    /// What the first n weigh together.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(count: usize, exponent: f64) -> Self {
        let weight = |n: usize| (n as f64).powf(-exponent);
        let sums = (1..=count).scan(0.0, |sum, n| {
            *sum += weight(n);
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    fn pick(&self, random: &mut Random) -> usize {
        let all = self.sums.last().copied().unwrap_or_default();
        let at = random.part() * all;
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan::new(1_000, Duration::from_secs(20), Mix { writes: 10, lists: 20 }, (100, 1.0), seed)
    }

    #[test]
    fn requests_are_due_at_the_rate_that_was_asked_for() {
        let due: Vec<_> = plan(7).map(|request| request.due).collect();
        assert_eq!(due.len(), 20_000);
        assert_eq!((due[0], due[1_000]), (Duration::ZERO, Duration::from_secs(1)));
        assert!(due.is_sorted());
    }

    #[test]
    fn one_seed_is_one_load() {
        let told = |seed| plan(seed).map(|request| (request.kind, request.key)).collect::<Vec<_>>();
        assert!(told(7) == told(7) && told(7) != told(8));
    }

    #[test]
    fn kinds_and_products_come_as_often_as_they_should() {
        let requests: Vec<_> = plan(7).collect();
        let part = |is: &dyn Fn(&&Request) -> bool| requests.iter().filter(is).count() as f64 / requests.len() as f64;
        assert!((part(&|request| matches!(request.kind, Kind::Write { .. })) - 0.1).abs() < 0.01);
        assert!((part(&|request| request.kind == Kind::List) - 0.2).abs() < 0.01);
        // Of 100 with the exponent 1 the first has 1 in H(100) = 5.187, and the second half of that.
        assert!((part(&|request| request.key == 0) - 0.193).abs() < 0.01);
        assert!((part(&|request| request.key == 1) - 0.096).abs() < 0.01);
        assert!(requests.iter().all(|request| request.key < 100));
    }
}
