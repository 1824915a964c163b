//! Who may manage the cache, and where: the settings of the management calls, and which of them are refused together.

use std::net::SocketAddr;

use freshline::config::{Description, Optional, Reader, Setting};
use secrecy::{ExposeSecret, SecretString};

const ADDRESS: Optional<SocketAddr> = Setting::address(
    "API_MANAGE_ADDRESS",
    "Where management calls (`/cache/…`, `/events`) are answered, and the page at `/` is, with all other calls beside them. Left out: at \
     API_ADDRESS.",
)
.optional();

const TOKEN: Optional<SecretString> = Setting::secret(
    "API_MANAGE_TOKEN",
    "What a management call has to show as `Authorization: Bearer …`: 16 or more of `A-Z a-z 0-9 - . _ ~ + / =`. Left out: nothing, \
     which is refused where they are answered beyond this machine.",
)
.optional();

const WITHOUT_TOKEN: Setting<bool> = Setting::switch(
    "API_MANAGE_WITHOUT_TOKEN",
    "Lets whoever reaches the port manage the cache, beyond this machine and without a token. For a port that others guard.",
)
.or("false");

/// The fewest characters of a token: below that it can be guessed.
const TOKEN_LEN_MIN: usize = 16;

/// Who may manage the cache, and where.
#[derive(Debug, Clone)]
pub struct Manage {
    /// A port that has them besides all other calls; none where that is the only one.
    pub address: Option<SocketAddr>,
    /// What they have to show.
    pub token: Option<SecretString>,
}

impl Manage {
    /// The settings that [`Manage::read`] reads.
    pub const SETTINGS: [Description; 3] = [ADDRESS.describe(), TOKEN.describe(), WITHOUT_TOKEN.describe()];

    /// Reads them; `None` where one has a fault, which the reader keeps. `beside` is where all other calls are answered.
    pub fn read(read: &mut Reader<'_>, beside: Option<SocketAddr>) -> Option<Self> {
        let (address, token, without_token) = (read.optional(&ADDRESS), read.optional(&TOKEN), read.get(&WITHOUT_TOKEN));
        let (address, token) = (address?, token?);
        if token.as_ref().is_some_and(|token| !can_be_sent(token.expose_secret())) {
            return read.fault(&TOKEN.describe(), "is not 16 or more of `A-Z a-z 0-9 - . _ ~ + / =`");
        }
        let open_to_others = address.or(beside).is_some_and(|address| !address.ip().is_loopback());
        if open_to_others && token.is_none() && !without_token? {
            let at = if address.is_some() { "FRESHLINE_API_MANAGE_ADDRESS" } else { "FRESHLINE_API_ADDRESS" };
            let reason = format!(
                "is not set, and {at} is not of this machine alone, so that anybody on the network could manage the cache. Set it, or \
                 FRESHLINE_API_MANAGE_ADDRESS=127.0.0.1:8090, or, if that is meant, FRESHLINE_API_MANAGE_WITHOUT_TOKEN=true"
            );
            return read.fault(&TOKEN.describe(), &reason);
        }
        Some(Self { address, token })
    }
}

/// Whether this can stand behind `Bearer` (RFC 6750, 2.1), and is long enough.
fn can_be_sent(token: &str) -> bool {
    token.len() >= TOKEN_LEN_MIN && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;

    const LONG: &str = "0123456789abcdef";

    fn read(beside: &str, set: &[(&str, &str)]) -> Result<Manage, String> {
        let vars: BTreeMap<String, String> =
            set.iter().map(|(name, value)| (format!("FRESHLINE_API_MANAGE_{name}"), (*value).to_owned())).collect();
        let mut read = Reader::new(&vars);
        let manage = Manage::read(&mut read, Some(beside.parse().expect("an address")));
        read.finish(|| manage).map_err(|faults| faults.to_string())
    }

    #[rstest]
    #[case("127.0.0.1:8080", &[])]
    #[case("[::1]:8080", &[])]
    #[case("0.0.0.0:8080", &[("TOKEN", LONG)])]
    #[case("0.0.0.0:8080", &[("ADDRESS", "127.0.0.1:8090")])]
    #[case("127.0.0.1:8080", &[("ADDRESS", "10.0.0.1:8090"), ("TOKEN", LONG)])]
    #[case("0.0.0.0:8080", &[("WITHOUT_TOKEN", "true")])]
    fn what_nobody_else_reaches_or_has_a_token_is_taken(#[case] beside: &str, #[case] set: &[(&str, &str)]) {
        assert!(read(beside, set).is_ok(), "{:?}", read(beside, set));
    }

    #[rstest]
    #[case("0.0.0.0:8080", &[], "FRESHLINE_API_ADDRESS is not of this machine alone")]
    #[case("127.0.0.1:8080", &[("ADDRESS", "0.0.0.0:8090")], "FRESHLINE_API_MANAGE_ADDRESS is not of this machine alone")]
    #[case("0.0.0.0:8080", &[("TOKEN", "short")], "16 or more")]
    #[case("127.0.0.1:8080", &[("TOKEN", "sixteen and blanks")], "16 or more")]
    fn what_anybody_could_use_is_refused(#[case] beside: &str, #[case] set: &[(&str, &str)], #[case] why: &str) {
        let told = read(beside, set).expect_err("refused");
        assert!(told.contains(why) && !told.contains("sixteen and"), "{told}");
    }
}
