//! How fresh the cache is, as a reader of it sees it.

use std::time::Duration;

use super::Cache;
use crate::coherence::Control;

impl Cache {
    /// Age of the bound, at worst over all stripes: nothing visible longer ago than this is missing. `None` where a stripe is closed or
    /// Redis does not answer.
    ///
    /// It grows by itself while nobody proves it anew, also where the invalidator, which could tell it as well, is gone.
    pub async fn freshness(&self) -> Option<Duration> {
        let link = self.shared.door.link()?;
        let mut command = redis::cmd("MGET");
        command.arg(&*self.shared.controls);
        let controls: Vec<Option<Vec<u8>>> = link.call(&command).await.ok()?;
        let (run, now) = (link.run(), link.now());
        let age = |bytes: Option<Vec<u8>>| {
            let control = Control::decode(&bytes?)?;
            (control.run == run).then(|| control.at.age_at(now))
        };
        controls.into_iter().map(age).try_fold(Duration::ZERO, |worst, age| Some(worst.max(age?)))
    }
}
