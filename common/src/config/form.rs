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
    List { example: &'static str },
    Text { example: &'static str },
    Secret,
    Words(fn() -> Vec<&'static str>),
}

/// A type whose values are written as words.
pub trait Word: Copy + 'static {
    /// Each value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

impl Form {
    /// Whether the text carries a password.
    pub(super) const fn is_secret(self) -> bool {
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
            Self::Namespace => "freshline".to_owned(),
            Self::Switch => "true".to_owned(),
            Self::LogFilter => "info".to_owned(),
            Self::List { example } | Self::Text { example } => example.to_owned(),
            Self::Secret => "secret".to_owned(),
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
            Self::PostgresUrl | Self::RedisUrl => write!(f, "a URL such as {}", self.example()),
            Self::List { example } => write!(f, "one or more, with commas between, such as {example}"),
            Self::Text { example } => write!(f, "a text such as {example}"),
            Self::Secret => f.write_str("a secret"),
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

pub(super) fn list(_: &Form, text: &str) -> Result<Vec<String>, String> {
    let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) { Err("has a gap between two commas".to_owned()) } else { Ok(names) }
}

pub(super) fn text(_: &Form, text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(_: &Form, text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn secret(_: &Form, text: &str) -> Result<SecretString, String> {
    Ok(SecretString::from(text))
}
