//! Retrying, under a paused clock: what is tried again, for how long, and what is said.

use std::cell::Cell;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
struct Refused(Kind);

impl Classified for Refused {
    fn kind(&self) -> Kind {
        self.0
    }
}

const POLICY: Policy =
    Policy { base: Duration::from_millis(100), cap: Duration::from_secs(1), deadline: Some(Duration::from_secs(10)) };

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_while_is_tried_until_it_works() {
    let tries = Cell::new(0);
    let third = || {
        tries.set(tries.get() + 1);
        let answer = if tries.get() < 3 { Err(Refused(Kind::Transient)) } else { Ok("connected") };
        async move { answer }
    };
    let got = retry("the server", POLICY, &CancellationToken::new(), third).await;
    assert_eq!((got.expect("the third try works"), tries.get()), ("connected", 3));
}

#[rstest::rstest]
#[case(Kind::Permanent)]
#[case(Kind::Bug)]
#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_tried_again(#[case] kind: Kind) {
    let tries = Cell::new(0);
    let fails = || {
        tries.set(tries.get() + 1);
        async move { Err::<(), _>(Refused(kind)) }
    };
    let got = retry("the server", POLICY, &CancellationToken::new(), fails).await;
    assert!(matches!(got, Err(GivenUp::Hopeless { error, .. }) if error == Refused(kind)));
    assert_eq!(tries.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_lasts_is_given_up_at_the_deadline() {
    let begun = Instant::now();
    let got = retry("the server", POLICY, &CancellationToken::new(), || async { Err::<(), _>(Refused(Kind::Transient)) }).await;
    let Err(GivenUp::TooLong { tries, lasted, .. }) = got else { panic!("{got:?}") };
    assert!(begun.elapsed() <= Duration::from_secs(10) && lasted >= Duration::from_secs(9), "{lasted:?}");
    assert!(tries > 10, "{tries} tries in ten seconds, at waits of at most one");
}

#[tokio::test(start_paused = true)]
async fn a_try_that_hangs_ends_at_the_deadline() {
    let begun = Instant::now();
    let got = retry("the server", POLICY, &CancellationToken::new(), std::future::pending::<Result<(), Refused>>).await;
    assert!(matches!(got, Err(GivenUp::NoAnswer { .. })), "{got:?}");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_inside_a_try_and_inside_a_wait() {
    let stop = CancellationToken::new();
    let hangs = retry("the server", Policy::FOR_EVER, &stop, std::future::pending::<Result<(), Refused>>);
    let waits = async {
        let mut retry = Retry::new("the server", Policy { base: Duration::MAX / 4, cap: Duration::MAX / 4, deadline: None });
        retry.failed(Refused(Kind::Transient), &stop).await
    };
    let (hung, waited, ()) = tokio::join!(hangs, waits, async { stop.cancel() });
    assert!(matches!(hung, Err(GivenUp::Stopped { .. })), "{hung:?}");
    assert!(matches!(waited, Err(GivenUp::Stopped { .. })), "{waited:?}");
}

#[test]
fn waits_are_drawn_from_nothing_to_a_limit_that_doubles_up_to_the_cap() {
    let limits = [100, 200, 400, 800, 1_000, 1_000];
    let mut longest = [Duration::ZERO; 6];
    let mut shortest = [Duration::MAX; 6];
    for _ in 0..2_000 {
        let mut backoff = full_jitter(Policy { deadline: None, ..POLICY });
        for n in 0..limits.len() {
            let wait = backoff.next_backoff().expect("no deadline");
            (longest[n], shortest[n]) = (longest[n].max(wait), shortest[n].min(wait));
        }
    }
    for (n, limit) in limits.into_iter().map(Duration::from_millis).enumerate() {
        assert!(longest[n] <= limit && longest[n] > limit * 9 / 10, "wait {n}: at most {:?} of {limit:?}", longest[n]);
        assert!(shortest[n] < limit / 10, "wait {n}: at least {:?} of {limit:?}", shortest[n]);
    }
}

#[tokio::test(start_paused = true)]
async fn after_it_worked_a_failure_is_a_new_one() {
    let (mut retry, stop) = (Retry::new("the server", POLICY), CancellationToken::new());
    retry.failed(Refused(Kind::Transient), &stop).await.expect("within the deadline");
    retry.succeeded();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    retry.failed(Refused(Kind::Transient), &stop).await.expect("a deadline of its own");
    assert_eq!(retry.failing.map(|failing| failing.tries), Some(1));
}
