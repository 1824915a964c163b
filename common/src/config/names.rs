//! The names of all settings of all processes, because they share one environment: what is not in here is unknown to every one.

/// Every name, without its prefix. [`super::Setting`] does not compile under a name that is missing here.
pub(super) const ALL: &[&str] = &[
    "ABSENT_TTL_MS",
    "API_ADDRESS",
    "API_BODY_MAX_BYTES",
    "API_BODY_MS",
    "API_BUSY_WAIT_MS",
    "API_CERTIFICATE_FILE",
    "API_CONNECTIONS_MAX",
    "API_CORS_ORIGINS",
    "API_FALLBACK_MAX_BYTES",
    "API_HEAD_MS",
    "API_IDLE_MS",
    "API_KEY_FILE",
    "API_LAME_DUCK_MS",
    "API_LIST_MAX_AGE_S",
    "API_MANAGE_ADDRESS",
    "API_MANAGE_TOKEN",
    "API_MANAGE_TOKEN_FILE",
    "API_MANAGE_WITHOUT_TOKEN",
    "API_PRODUCT_MAX_AGE_S",
    "API_READ_SESSIONS_MAX",
    "API_REDIS_DEADLINE_MS",
    "API_SESSION_WAIT_MS",
    "API_STALE_WHILE_REVALIDATE_S",
    "API_STALL_MS",
    "API_STATEMENT_MS",
    "API_WRITE_SESSIONS_MAX",
    "DATABASE_PASSWORD",
    "DATABASE_PASSWORD_FILE",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "DEMO_ADDRESS",
    "DEMO_DATABASE",
    "GRACE_MS",
    "INVALIDATOR_ADDRESS",
    "KAFKA_BROKERS",
    "KAFKA_CA_FILE",
    "KAFKA_CERTIFICATE_FILE",
    "KAFKA_CONNECT_URL",
    "KAFKA_CONNECT_URL_FILE",
    "KAFKA_DECIMALS",
    "KAFKA_GROUP",
    "KAFKA_KEY_FILE",
    "KAFKA_PARTITIONS",
    "KAFKA_PASSWORD",
    "KAFKA_PASSWORD_FILE",
    "KAFKA_RETENTION_MS",
    "KAFKA_SASL",
    "KAFKA_TLS",
    "KAFKA_TOPIC",
    "KAFKA_TOPICS",
    "KAFKA_USER",
    "LEASE_TTL_MS",
    "LOG",
    "LOG_FORMAT",
    "MAX_STALENESS_MS",
    "NAMESPACE",
    "NATS_CONSUMER",
    "NATS_CREDENTIALS",
    "NATS_MAX_AGE_MS",
    "NATS_NKEY",
    "NATS_NKEY_FILE",
    "NATS_PASSWORD",
    "NATS_PASSWORD_FILE",
    "NATS_STREAM",
    "NATS_TLS_CA",
    "NATS_TLS_CERT",
    "NATS_TLS_KEY",
    "NATS_TOKEN",
    "NATS_TOKEN_FILE",
    "NATS_URL",
    "NATS_USER",
    "POLL_MS",
    "PUBLICATION",
    "REDIS_CA_FILE",
    "REDIS_CERTIFICATE_FILE",
    "REDIS_KEY_FILE",
    "REDIS_PASSWORD",
    "REDIS_PASSWORD_FILE",
    "REDIS_REPLICAS",
    "REDIS_REPLICAS_TIMEOUT_MS",
    "REDIS_URL",
    "REDIS_URL_FILE",
    "RELAY_ADDRESS",
    "RELAY_SLOT",
    "RELAY_TO",
    "RULES",
    "SHARD",
    "SLOT",
    "SLOT_DROP_BYTES",
    "SLOT_WARN_BYTES",
    "SOURCE",
    "STRIPES",
    "TRACES_RATIO",
    "TRACES_URL",
    "TRAIL",
    "VALUE_TTL_MS",
    "WARMER_ADDRESS",
];

/// What the name of a file that holds a secret ends in, after the secret's own.
pub(super) const FILE: &str = "_FILE";

/// Whether a setting of this name exists.
pub(super) const fn known(name: &str) -> bool {
    known_with(name, "")
}

/// Whether a setting of this name and end exists. A loop over bytes, because it runs in constants.
pub(super) const fn known_with(name: &str, end: &str) -> bool {
    let mut n = 0;
    while n < ALL.len() {
        let (whole, name_len) = (ALL[n].as_bytes(), name.len());
        if whole.len() == name_len + end.len() && has_at(whole, 0, name.as_bytes()) && has_at(whole, name_len, end.as_bytes()) {
            return true;
        }
        n += 1;
    }
    false
}

const fn has_at(whole: &[u8], at: usize, part: &[u8]) -> bool {
    let mut n = 0;
    while n < part.len() {
        if whole[at + n] != part[n] {
            return false;
        }
        n += 1;
    }
    true
}

/// The name that a misspelt one was probably meant to be: the nearest, unless more than a third of it would have to change.
pub(super) fn meant_by(misspelt: &str) -> Option<&'static str> {
    let nearest = ALL.iter().copied().min_by_key(|name| edits(misspelt, name))?;
    (edits(misspelt, nearest) <= (nearest.len() / 3).max(2)).then_some(nearest)
}

/// How many characters have to be put in, taken out or replaced to make one text the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::a_letter_missing("MAX_STALENES_MS", Some("MAX_STALENESS_MS"))]
    #[case::the_unit_missing("MAX_STALENESS", Some("MAX_STALENESS_MS"))]
    #[case::two_letters_swapped("DATABSAE_URL", Some("DATABASE_URL"))]
    #[case::in_lower_case_words("STRIPE", Some("STRIPES"))]
    #[case::something_of_another_version("COMPRESSION_LEVEL", None)]
    fn a_misspelt_name_is_told_from_a_foreign_one(#[case] name: &str, #[case] meant: Option<&str>) {
        assert_eq!(meant_by(name), meant);
    }

    #[test]
    fn the_names_are_sorted_and_each_is_there_once() {
        assert!(ALL.is_sorted_by(|a, b| a < b), "sort ALL: {ALL:?}");
        assert!(ALL.iter().all(|name| known(name)) && !known("LO") && !known("LOGS"));
        assert!(known_with("REDIS_URL", FILE) && !known_with("LOG", FILE) && !known_with("REDIS_URL", "_FILES"));
    }
}
