//! What a Redis says of itself (`INFO`), field by field.

use super::link::{Link, LinkError};

/// The answer to `INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info(String);

impl Info {
    /// Asks for it. Without the sections' names: several at once came with 7.0, and some proxies know one only.
    ///
    /// # Errors
    /// Any [`LinkError`].
    pub async fn read(link: &Link) -> Result<Self, LinkError> {
        link.call(&redis::cmd("INFO")).await.map(Self)
    }

    /// A field, as it is written.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// A field that is a whole number; 0 where it is not there, or none.
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Every field whose name begins so, with what follows in its name.
    pub fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.lines().filter_map(move |line| line.trim().strip_prefix(prefix)?.split_once(':'))
    }

    /// Which server it is: `Redis` or `Valkey`.
    pub fn server(&self) -> &'static str {
        if self.text("valkey_version").is_some() { "Valkey" } else { "Redis" }
    }

    /// Its version.
    pub fn version(&self) -> &str {
        self.text("valkey_version").or(self.text("redis_version")).unwrap_or("of unknown version")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info =
            Info("# Memory\r\nused_memory:12\r\nused_memory_rss:99\r\nredis_version:7.0.15\r\ndb0:keys=3,expires=1\r\n".into());
        assert_eq!((info.number("used_memory"), info.number("used"), info.server(), info.version()), (12, 0, "Redis", "7.0.15"));
        assert_eq!(info.beginning("db").collect::<Vec<_>>(), [("0", "keys=3,expires=1")]);
    }
}
