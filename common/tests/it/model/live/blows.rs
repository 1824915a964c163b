//! What the world does to a real Redis, and where everything lies in it.

use bytes::Bytes;
use freshline::coherence::LinkError;

use super::{Live, OTHER_RUN};
use crate::model::{
    call::{Blow, Place},
    garbage,
    universe::Universe,
};

impl Live<'_> {
    pub(super) async fn suffer(&self, blow: &Blow) -> Result<(), LinkError> {
        match blow {
            Blow::Lose(place) => self.link.call(redis::cmd("DEL").arg(name(self.universe, *place))).await,
            Blow::Garble(place, which) => {
                let commands = garbage::commands(&name(self.universe, *place), *place, *which);
                self.scripts().send(&commands).await
            }
            Blow::FlushAll => self.clear().await,
            Blow::OtherRun(at) => self.rewrite_run(*at).await,
            Blow::Save => self.save().await,
            Blow::Restore => self.restore().await,
        }
    }

    /// Removes everything.
    pub async fn clear(&self) -> Result<(), LinkError> {
        self.link.call(&redis::cmd("FLUSHALL")).await
    }

    async fn rewrite_run(&self, at: usize) -> Result<(), LinkError> {
        let name = name(self.universe, Place::Ctl(at));
        let run_at = 1 + 16;
        if self.link.call::<String>(redis::cmd("TYPE").arg(&name)).await? == "string"
            && self.link.call::<usize>(redis::cmd("STRLEN").arg(&name)).await? > garbage::LEN_MAX
        {
            let () = self.link.call(redis::cmd("SETRANGE").arg(&name).arg(run_at).arg(OTHER_RUN)).await?;
        }
        Ok(())
    }

    async fn save(&self) -> Result<(), LinkError> {
        let mut saved = Vec::new();
        for name in &self.names {
            let left: i64 = self.link.call(redis::cmd("PTTL").arg(name)).await?;
            if let Some(bytes) = self.link.call::<Option<Vec<u8>>>(redis::cmd("DUMP").arg(name)).await? {
                saved.push((name.clone(), left.max(0), Bytes::from(bytes)));
            }
        }
        self.saved.replace(saved);
        Ok(())
    }

    async fn restore(&self) -> Result<(), LinkError> {
        self.clear().await?;
        let saved = self.saved.borrow().clone();
        for (name, left, bytes) in saved {
            let () = self.link.call(redis::cmd("RESTORE").arg(name).arg(left).arg(&bytes[..])).await?;
        }
        Ok(())
    }
}

fn name(universe: &Universe, place: Place) -> String {
    let stripes = &universe.stripes;
    match place {
        Place::Ctl(at) => stripes.ctl(universe.stripe(at)),
        Place::Fences(at) => stripes.fences(universe.stripe(at)),
        Place::Value(_, key) => stripes.value(&Universe::key_name(key)),
        Place::Lease(_, key) => stripes.lease(&Universe::key_name(key)),
        Place::Tag(_, tag) => stripes.tag(&Universe::tag_name(tag)),
    }
}

/// Every key of Redis that a history may leave behind, in the order of the stripes and their parts.
pub(super) fn names(universe: &Universe) -> Vec<String> {
    let mut names = Vec::new();
    for (at, stripe) in universe.stripes.all().enumerate() {
        let (keys, tags) = (universe.keys_in(stripe), universe.tags_in(stripe));
        let values = keys.iter().map(|key| Place::Value(at, *key));
        let leases = keys.iter().map(|key| Place::Lease(at, *key));
        let places = [Place::Ctl(at), Place::Fences(at)].into_iter().chain(values).chain(leases);
        names.extend(places.chain(tags.iter().map(|tag| Place::Tag(at, *tag))).map(|place| name(universe, place)));
    }
    names
}
