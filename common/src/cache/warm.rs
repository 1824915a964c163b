//! Filling many keys ahead of their readers: by lease and fill alone, so that nothing newer is ever overwritten.

use super::{
    CacheError, FillOutcome, Loaded, Shared, Value, Warmed,
    leases::{Claim, Page},
};
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
        for (at, outcome) in at.iter().zip(self.load_leased(keys, &claims, &at, load).await?) {
            warmed[*at] = Some(outcome.into());
        }
        Ok(warmed.into_iter().flatten().collect())
    }

    /// Loads and stores the keys that a lease is held for.
    async fn load_leased<V, E, L, F>(
        &self,
        keys: &[CacheKey],
        claims: &[Claim],
        at: &[usize],
        load: L,
    ) -> Result<Vec<FillOutcome>, CacheError<E>>
    where
        V: Value,
        L: FnOnce(Vec<usize>) -> F,
        F: Future<Output = Result<Loaded<Vec<Option<V>>>, E>>,
    {
        if at.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = at.iter().map(|at| &keys[*at]).collect();
        let claims: Vec<_> = at.iter().map(|at| claims[*at]).collect();
        let loaded = match self.loads.load(&self.meters, || load(at.to_vec())).await {
            Ok(loaded) => loaded,
            Err(error) => {
                self.give_back_all(&keys, &claims).await;
                return Err(error);
            }
        };
        assert_eq!(loaded.value.len(), keys.len(), "the loader answers for each key that it was asked for");
        let bodies = loaded.value.iter().map(|value| value.as_ref().map(V::encode)).collect();
        Ok(self.store(&keys, &claims, &Page::NONE, bodies, &loaded.proof).await)
    }
}
