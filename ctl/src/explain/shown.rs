//! An explained key as people read it.

use freshline::{
    cache::Explanation,
    coherence::RedisTime,
    explain::{Explained, ExplainedFences, ExplainedLease, Row},
};

use crate::{
    paint::{self, Paint},
    watch::time_of_day,
};

/// All of it.
pub fn text(explained: &Explained) -> String {
    let paint = Paint::of_output();
    let Explained { is_served, verdict, look, fences, lease, row, unseen } = explained;
    let told = if *is_served { paint.good(verdict) } else { paint.bad(verdict) };
    let mut rows = Vec::new();
    let mut add = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    add("key", look.key.clone());
    add("verdict", told);
    match &look.control {
        Some(control) => {
            add("stripe", control.stripe.to_string());
            add("generation", control.generation.clone());
            add("run", control.run.clone());
            add("history", control.source.clone());
            add("position", control.position.clone());
            add("at", if control.at_us == 0 { "not proven yet".to_owned() } else { clock(control.at_us) });
        }
        None => add("stripe", "closed".to_owned()),
    }
    entry(look, &mut add);
    for tag in &look.tags {
        let is_same =
            tag.version_then.is_some() && tag.version_then == tag.version_now && tag.generation_then == tag.generation_now;
        let state = match (&tag.version_now, is_same) {
            (_, true) => "unchanged since",
            (None, false) => "not there",
            (Some(_), false) => "changed since",
        };
        add("tag", format!("{}: {state}", tag.name));
    }
    fenced(fences.as_ref(), lease.as_ref(), &mut add);
    held(row.as_ref(), &mut add);
    for unseen in unseen {
        add("unseen", paint.bad(unseen));
    }
    paint::columns(&rows, "")
}

fn entry(look: &Explanation, add: &mut impl FnMut(&str, String)) {
    let Some(entry) = &look.entry else { return add("entry", "none".to_owned()) };
    let body = entry.body_len.map_or_else(|| "says that there is no such row".to_owned(), |len| format!("{len} bytes"));
    add("entry", format!("{body}, ETag {}", entry.etag));
    if look.control.as_ref().is_none_or(|control| control.generation != entry.generation) {
        add("its generation", entry.generation.clone());
    }
    match (&entry.snapshot, &entry.lsn) {
        (Some(snapshot), _) => add("proof", format!("read under snapshot {snapshot}")),
        (None, Some(lsn)) => add("proof", format!("holds every change up to {lsn}")),
        (None, None) => {}
    }
    add("read at", entry.read_at_us.map_or_else(|| "never: it was made from a change".to_owned(), clock));
}

fn fenced(fences: Option<&ExplainedFences>, lease: Option<&ExplainedLease>, add: &mut impl FnMut(&str, String)) {
    let listed = |xids: &[u64]| match xids {
        [] => "none".to_owned(),
        xids => xids.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    };
    match fences {
        None => add("fences", "the stripe has none: it takes no fill".to_owned()),
        Some(ExplainedFences { own, wildcard, snapshot, hi, .. }) => {
            add("fences", format!("{}; for everything: {}", listed(own), listed(wildcard)));
            add("published", format!("snapshot {snapshot}, changes applied up to {hi}"));
        }
    }
    match lease {
        None => add("lease", "nobody holds it".to_owned()),
        Some(ExplainedLease { told, snapshot, left_ms, .. }) => {
            add("lease", format!("held, {left_ms} ms left; its fill has to include {snapshot} and see: {}", listed(told)));
        }
    }
}

fn held(row: Option<&Row>, add: &mut impl FnMut(&str, String)) {
    let Some(row) = row else { return add("postgres", "no rule makes such a key of a row".to_owned()) };
    let Row { table, snapshot, value, etag, agrees, is_there } = row;
    let told = if *is_there { format!("a row of {table}") } else { format!("no such row in {table}") };
    let agrees = match agrees {
        None => "",
        Some(true) => "; the entry holds the same",
        Some(false) => "; the entry holds something else",
    };
    add("postgres", format!("{told}, under snapshot {snapshot}{agrees}"));
    if let (Some(value), Some(etag)) = (value, etag) {
        add("its value", format!("ETag {etag}"));
        add("", value.get().to_owned());
    }
}

fn clock(at_us: u64) -> String {
    format!("{} UTC", time_of_day(RedisTime::from_micros(at_us)))
}
