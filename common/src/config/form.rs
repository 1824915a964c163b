//! The forms that a setting's text can have, each with its parser.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use super::{PostgresUrl, RedisUrl};
use crate::coherence::Stripes;

/// Which texts a setting takes. Shown as what comes after "write".
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Millis { min: u64, max: u64 },
    Count { min: u64, max: u64 },
    Address,
    PostgresUrl,
    RedisUrl,
    Path,
    Namespace,
    Switch,
    LogFilter,
    Words(fn() -> Vec<&'static str>),
    Servers { example: &'static str },
    Secret,
}

/// A type whose values are written as words.
pub trait Word: Copy + 'static {
    /// Each value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

impl Form {
    /// Whether the text carries a password.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::PostgresUrl | Self::RedisUrl | Self::Secret)
    }

    /// A text of this form, for a setting that has no default.
    pub(super) fn example(self) -> String {
        match self {
            Self::Millis { min, .. } | Self::Count { min, .. } => min.to_string(),
            Self::Address => "127.0.0.1:8080".to_owned(),
            Self::PostgresUrl => "postgres://user:password@localhost:5432/database".to_owned(),
            Self::RedisUrl => "redis://user:password@localhost:6379/0".to_owned(),
            Self::Path => "path/to/file".to_owned(),
            Self::Servers { example } => example.to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::Namespace => "freshline".to_owned(),
            Self::Switch => "true".to_owned(),
            Self::LogFilter => "info".to_owned(),
            Self::Words(words) => words().first().copied().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Millis { min, max } => write!(f, "a whole number of milliseconds from {min} to {max}"),
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Words(words) => f.write_str(&words().join(" or ")),
            Self::Namespace => f.write_str("1 to 32 letters, digits, `_` or `-`"),
            Self::Switch => f.write_str("true or false"),
            Self::Address => write!(f, "an address and port such as {}", self.example()),
            Self::Path => write!(f, "a path such as {}", self.example()),
            Self::Servers { example } => write!(f, "addresses such as {example}, separated by commas"),
            Self::Secret => f.write_str("a text that is kept secret"),
            Self::PostgresUrl | Self::RedisUrl => write!(f, "a URL such as {}", self.example()),
            Self::LogFilter => f.write_str("a level or directives such as info,freshline=debug"),
        }
    }
}

fn number(text: &str, min: u64, max: u64, what: &str) -> Result<u64, String> {
    // No sign, no underscores, no blanks: what `parse` takes beyond digits is a plus.
    let number = text.parse().ok().filter(|_| !text.starts_with('+')).ok_or_else(|| format!("is not {what}"))?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(format!("is not between {min} and {max}")) }
}

pub(super) fn millis(form: &Form, text: &str) -> Result<Duration, String> {
    let Form::Millis { min, max } = *form else { return Err(misdescribed()) };
    number(text, min, max, "a whole number of milliseconds").map(Duration::from_millis)
}

pub(super) fn count<T: TryFrom<u64>>(form: &Form, text: &str) -> Result<T, String> {
    let Form::Count { min, max } = *form else { return Err(misdescribed()) };
    T::try_from(number(text, min, max, "a whole number")?).map_err(|_| "is too large for this machine".to_owned())
}

/// A constructor of [`super::Setting`] paired a form with the parser of another.
fn misdescribed() -> String {
    "is described wrongly in the program".to_owned()
}

pub(super) fn words_of<T: Word>() -> Vec<&'static str> {
    T::WORDS.iter().map(|(word, _)| *word).collect()
}

pub(super) fn word<T: Word>(_: &Form, text: &str) -> Result<T, String> {
    T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| "is not one of its words".to_owned())
}

pub(super) fn address(_: &Form, text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is not an address and port".to_owned())
}

pub(super) fn path(_: &Form, text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

pub(super) fn switch(_: &Form, text: &str) -> Result<bool, String> {
    bool::from_str(text).map_err(|_| "is neither true nor false".to_owned())
}

pub(super) fn postgres_url(_: &Form, text: &str) -> Result<PostgresUrl, String> {
    PostgresUrl::parse(text)
}

pub(super) fn redis_url(_: &Form, text: &str) -> Result<RedisUrl, String> {
    RedisUrl::parse(text)
}

pub(super) fn namespace(_: &Form, text: &str) -> Result<String, String> {
    let usable = Stripes::new(text, 1).is_some();
    usable.then(|| text.to_owned()).ok_or_else(|| "is not a usable namespace".to_owned())
}

pub(super) fn log_filter(_: &Form, text: &str) -> Result<String, String> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|wrong| format!("is not a log filter ({wrong})"))
}

/// Printable, and without a password: those have settings of their own, which are kept secret.
pub(super) fn servers(_: &Form, text: &str) -> Result<String, String> {
    match text {
        _ if text.contains('@') => Err("carries a password or user, which has a setting of its own".to_owned()),
        _ if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err("is not a list of addresses".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn secret(_: &Form, text: &str) -> Result<SecretString, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(SecretString::from(text)) }
}
