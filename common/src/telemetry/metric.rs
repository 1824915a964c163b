//! Every metric, named once. `freshline_name_unit_total`; labels come from small closed sets, never from data.

/// What the exposition says of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name: what is counted or measured, the unit, and `_total` where it only grows.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub meaning: &'static str,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is spread over buckets.
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $meaning:literal;)*) => {
        /// The names, for the `metrics` macros.
        pub mod names {
            $(#[doc = concat!($meaning, " Labels:", $(" `", $label, "`",)* ".")] pub const $constant: &str = $name;)*
        }

        /// All of them.
        pub const ALL: &[Metric] =
            &[$(Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], meaning: $meaning }),*];
    };
}

metrics! {
    READS = Counter "freshline_reads_total" ["outcome"] "Values read through the cache: hit, fallback, or the rule that kept the first look from serving.";
    READS_COALESCED = Counter "freshline_reads_coalesced_total" [] "Values read by one reader for others of the same process that missed them as well.";
    LEASES = Counter "freshline_leases_total" ["outcome"] "Leases asked for, by what became of them.";
    LOADS = Counter "freshline_loads_total" ["outcome"] "Readings of Postgres on behalf of the cache.";
    LOAD_SECONDS = Histogram "freshline_load_seconds" [] "Time of one reading of Postgres on behalf of the cache.";
    FILLS = Counter "freshline_fills_total" ["outcome"] "Values read from Postgres, by what became of their fill.";
    UNREADABLE_ENTRIES = Counter "freshline_unreadable_entries_total" ["reason"] "Entries of another version, a bad checksum or an unknown body, each read as a miss.";
    REDIS_FAILURES = Counter "freshline_redis_failures_total" ["reason"] "Calls to Redis that failed or ran into their deadline.";
    BREAKER_OPEN = Gauge "freshline_breaker_open" ["dependency"] "1 while calls to a server are refused at once, because it did not answer those before; else 0.";
    BREAKER_REFUSED = Counter "freshline_breaker_refused_total" ["dependency"] "Calls refused at once, because the server did not answer those before.";
    FALLBACK_BYTES = Gauge "freshline_fallback_bytes" [] "Memory of the values that are kept while Redis is away.";
    FALLBACK_VALUES = Gauge "freshline_fallback_values" [] "Values that are kept while Redis is away.";
    REDIS_UP = Gauge "freshline_redis_up" [] "1 while Redis answers this process, else 0.";
    REDIS_ROUND_TRIP = Histogram "freshline_redis_round_trip_seconds" [] "Time that Redis took to tell its time, asked once a second.";
    REDIS_MEMORY = Gauge "freshline_redis_memory_bytes" [] "Memory that Redis uses.";
    REDIS_MEMORY_MAX = Gauge "freshline_redis_memory_max_bytes" [] "Memory that Redis may use; 0 where it has no bound.";
    REDIS_CLIENTS = Gauge "freshline_redis_clients" [] "Connections that Redis has.";
    REDIS_EVICTED = Counter "freshline_redis_evicted_keys_total" [] "Keys that Redis has given up because its memory was full.";
    POSTGRES_UP = Gauge "freshline_postgres_up" [] "1 while Postgres answers this process, else 0.";
    POOL_SESSIONS = Gauge "freshline_pool_sessions" ["pool", "state"] "Sessions of Postgres in a pool, busy or idle.";
    POOL_SESSIONS_MAX = Gauge "freshline_pool_sessions_max" ["pool"] "Sessions of Postgres that a pool may have.";
    HTTP_REQUESTS = Counter "freshline_http_requests_total" ["method", "route", "status"] "Requests answered.";
    HTTP_REQUEST_SECONDS = Histogram "freshline_http_request_seconds" ["route"] "Time from a request's head to its answer's.";
    CHANGES_APPLIED = Counter "freshline_changes_applied_total" ["action"] "What changes touched, applied to Redis and confirmed by it: keys refreshed or invalidated, and tags.";
    CHANGES_UNUSABLE = Counter "freshline_changes_unusable_total" ["reason"] "Row changes from which no dependency or image could be made.";
    TRANSACTIONS_APPLIED = Counter "freshline_transactions_applied_total" [] "Transactions applied to Redis and confirmed by it.";
    COMMIT_TO_INVALIDATED = Histogram "freshline_commit_to_invalidated_seconds" [] "Time from a commit, by Postgres's clock, until Redis had confirmed all that it touches.";
    APPLY_SECONDS = Histogram "freshline_apply_seconds" [] "Time that one batch of changes took until Redis had confirmed all of it.";
    FRESHNESS = Gauge "freshline_freshness_seconds" [] "Age of the bound: nothing visible longer ago than this is missing from the cache. As each process sees it; infinite while the cache is closed to it.";
    STRIPES_CLOSED = Gauge "freshline_stripes_closed" [] "Stripes of the cache that the invalidator does not have open.";
    FENCED_TRANSACTIONS = Gauge "freshline_fenced_transactions" [] "Transactions applied and not yet known to be visible to a new reader.";
    POSITION_LAG = Gauge "freshline_position_lag_bytes" [] "Log written by Postgres and not yet applied, or by the relay not yet read.";
    OPENED = Counter "freshline_opened_total" ["reason"] "Times a stripe was opened under a new generation: because it was closed, or belonged to another history.";
    BUMPED = Counter "freshline_bumped_total" [] "Changes that touched everything, TRUNCATE and rewriting DDL among them: every cached value was given up.";
    SLOT_RETAINED = Gauge "freshline_slot_retained_bytes" [] "Log that the primary keeps for the replication slot.";
    SLOT_UNACKNOWLEDGED = Gauge "freshline_slot_unacknowledged_bytes" [] "Log that has not been acknowledged to the replication slot.";
    SLOTS_DROPPED = Counter "freshline_slots_dropped_total" [] "Times the replication slot was dropped on purpose, before it filled the disk.";
    RELAY_PUBLISHED = Counter "freshline_relay_published_total" [] "Messages that the relay has sent to its broker.";
    RELAY_UNSTORED = Gauge "freshline_relay_unstored" [] "Messages sent to the broker and not yet known to be stored.";
    DEAD_LETTERS = Counter "freshline_dead_letters_total" ["source"] "Messages that could not be used and were kept as dead letters, those met again included.";
    TRAIL_SKIPPED = Counter "freshline_trail_skipped_total" ["reason"] "Records of what was done that the trail does not have: sampled, behind, or not taken by Redis.";
    WARMED = Counter "freshline_warmed_total" ["outcome"] "Ids offered to the cache by the warmer, by what became of them.";
    SPANS = Counter "freshline_spans_total" ["outcome"] "Spans of traces that ended: exported, failed to be, or given up because the queue was full.";
    BUILD = Gauge "freshline_build_info" ["version"] "Always 1: tells which version of the program this is.";
    RECONNECTS = Counter "freshline_reconnects_total" ["to"] "Connections made anew after a failure.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_keep_the_grammar_and_are_there_once() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name is there twice");
        for metric in ALL {
            let plain = metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(plain && metric.name.starts_with("freshline_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
            let measured = ["_seconds", "_bytes"].iter().any(|unit| metric.name.ends_with(unit));
            assert!(measured || metric.kind != MetricKind::Histogram, "{} has no unit", metric.name);
            assert!(metric.meaning.ends_with('.'), "{}: a sentence", metric.name);
        }
    }
}
