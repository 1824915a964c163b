//! Filling many keys ahead of their readers: by lease and fill alone, so that nothing newer is ever overwritten.

use super::{CacheError, Loaded, Shared, Value, Warmed, explanation::Trace, leases::Page};
use crate::coherence::CacheKey;

impl Shared {
    pub(super) async fn warm<V, E, L, F>(&self, keys: &[CacheKey], load: L) -> Result<Vec<Warmed>, CacheError<E>>
    where
        V: Value,
        L: FnOnce(Vec<usize>) -> F,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        let wanted: Vec<_> = keys.iter().map(|key| (key, None)).collect();
        let claims = self.lease(&wanted).await;
        let mut warmed: Vec<_> = claims.iter().map(|claim| claim.held().err().map(Warmed::from)).collect();
        let at: Vec<_> = (0..keys.len()).filter(|at| warmed[*at].is_none()).collect();
        if !at.is_empty() {
            let leased: Vec<_> = at.iter().map(|at| &keys[*at]).collect();
            let leases: Vec<_> = at.iter().map(|at| claims[*at]).collect();
            let fetched = self.fetch(&leased, &leases, &Page::NONE, &mut Trace::new(false), || load(at.clone())).await?;
            at.into_iter().zip(fetched.values).for_each(|(at, (_, _, outcome))| warmed[at] = Some(outcome.into()));
        }
        Ok(warmed.into_iter().flatten().collect())
    }
}
