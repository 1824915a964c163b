//! The settings of this process, read and checked before anything is bound or connected.

use std::net::SocketAddr;

use freshline::{
    config::{Description, Faults, Life, PUBLICATION, Reader, Setting, Shared, Vars, Word},
    service::Configuration,
};

const ADDRESS: Setting<SocketAddr> = Setting::address(
    "DEMO_ADDRESS",
    "Where the demonstration listens: on loopback, for it does with the database what anybody on this machine asks.",
)
.or("127.0.0.1:9105");

const DATABASE: Setting<Consent> = Setting::word(
    "DEMO_DATABASE",
    "Says that the database is there to be shown: rows are changed by plain SQL, and commits are held on the whole server for seconds. \
     Without it the demonstration does not start.",
);

/// That the database is a demonstration's.
#[derive(Debug, Clone, Copy)]
struct Consent;

impl Word for Consent {
    const WORDS: &'static [(&'static str, Self)] = &[("this-is-a-demonstration-database", Self)];
}

/// What this process needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every process needs.
    pub shared: Shared,
    /// Where to listen.
    pub address: SocketAddr,
    /// The publication that tells what changes.
    pub publication: String,
}

impl Configuration for Config {
    fn settings() -> Vec<Description> {
        let own = [DATABASE.describe(), ADDRESS.describe(), PUBLICATION.describe()];
        Shared::SETTINGS.into_iter().chain(own).collect()
    }

    fn load(vars: &dyn Vars) -> Result<Self, Faults> {
        let mut read = Reader::new(vars);
        let (shared, consent) = (Shared::read(&mut read), read.get(&DATABASE));
        let (address, publication) = (address(&mut read), read.get(&PUBLICATION));
        read.finish(|| {
            let Consent = consent?;
            Some(Self { shared: shared?, address: address?, publication: publication? })
        })
    }

    fn life(&self) -> &Life {
        &self.shared.life
    }
}

fn address(read: &mut Reader<'_>) -> Option<SocketAddr> {
    let address = read.get(&ADDRESS)?;
    if !address.ip().is_loopback() {
        return read.fault(
            &ADDRESS.describe(),
            "is not on loopback (127.0.0.1 or [::1]), and others could change the database through it",
        );
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;

    fn load(more: &[(&str, &str)]) -> Result<Config, String> {
        let needed = [("FRESHLINE_DATABASE_URL", "postgres://u:p@h/d"), ("FRESHLINE_REDIS_URL", "redis://h/")];
        let vars: BTreeMap<String, String> =
            needed.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::load(&vars).map_err(|faults| faults.to_string())
    }

    const CONSENT: (&str, &str) = ("FRESHLINE_DEMO_DATABASE", "this-is-a-demonstration-database");

    #[rstest]
    #[case::nobody_said_so(&[], "FRESHLINE_DEMO_DATABASE: is not set. Write this-is-a-demonstration-database.")]
    #[case::in_other_words(&[("FRESHLINE_DEMO_DATABASE", "yes")], "Write this-is-a-demonstration-database.")]
    #[case::for_everybody(&[CONSENT, ("FRESHLINE_DEMO_ADDRESS", "0.0.0.0:9105")], "is not on loopback")]
    #[case::for_the_network(&[CONSENT, ("FRESHLINE_DEMO_ADDRESS", "192.168.0.7:9105")], "is not on loopback")]
    fn it_does_not_start_where_it_could_harm(#[case] vars: &[(&str, &str)], #[case] told: &str) {
        let faults = load(vars).expect_err("it is refused");
        assert!(faults.contains(told), "{faults}");
    }

    #[test]
    fn it_starts_on_loopback_where_it_was_said_in_so_many_words() {
        assert_eq!(load(&[CONSENT]).expect("a configuration").address.port(), 9105);
        assert!(load(&[CONSENT, ("FRESHLINE_DEMO_ADDRESS", "[::1]:0")]).is_ok());
    }
}
