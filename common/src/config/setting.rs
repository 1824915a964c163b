//! A setting, described once: what reads it and what documents it use the same constant.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;

use super::{
    PREFIX, PostgresUrl, RedisUrl,
    form::{self, Form, Word},
    names,
};

/// A setting whose value is a `T`: its description, and how its text becomes a value.
#[derive(Debug, Clone, Copy)]
pub struct Setting<T> {
    description: Description,
    parse: fn(&Form, &str) -> Result<T, String>,
}

/// A setting that may be left out: there is no value then, and no default.
#[derive(Debug, Clone, Copy)]
pub struct Optional<T>(pub(super) Setting<T>);

/// What the documentation says of a setting.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Its name, without [`PREFIX`]. A unit, where it has one, is the end of it.
    pub name: &'static str,
    /// What it decides, in a sentence or two.
    pub meaning: &'static str,
    /// What stands for it where it is not set.
    pub default: Default,
    form: Form,
}

/// What stands for a setting that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Nothing: it has to be set.
    None,
    /// Nothing: it may be left out.
    Absent,
    /// This text.
    Text(&'static str),
}

impl<T> Optional<T> {
    /// What the documentation says of it.
    pub const fn describe(&self) -> Description {
        self.0.description
    }
}

impl<T> Setting<T> {
    const fn new(name: &'static str, form: Form, parse: fn(&Form, &str) -> Result<T, String>, meaning: &'static str) -> Self {
        assert!(names::known(name), "add the setting's name to config/names.rs");
        let has_file = !form.is_secret() || names::known_with(name, names::FILE);
        assert!(has_file, "a secret may be in a file: add its name with _FILE to config/names.rs");
        Self { description: Description { name, meaning, default: Default::None, form }, parse }
    }

    /// The same setting with a default, so that it need not be set.
    pub const fn or(mut self, default: &'static str) -> Self {
        self.description.default = Default::Text(default);
        self
    }

    /// The same setting, which may be left out.
    pub const fn optional(mut self) -> Optional<T> {
        self.description.default = Default::Absent;
        Optional(self)
    }

    /// What the documentation says of it.
    pub const fn describe(&self) -> Description {
        self.description
    }

    /// The value that a text stands for, or why it stands for none.
    pub(super) fn parse(&self, text: &str) -> Result<T, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        (self.parse)(&self.description.form, text)
    }
}

impl<T: TryFrom<u64>> Setting<T> {
    /// A number of things, within a range.
    pub const fn count(name: &'static str, range: RangeInclusive<u64>, meaning: &'static str) -> Self {
        Self::new(name, Form::Count { min: *range.start(), max: *range.end() }, form::count, meaning)
    }
}

impl<T: Word> Setting<T> {
    /// One of a few words.
    pub const fn word(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Words(form::words_of::<T>), form::word, meaning)
    }
}

impl<T: FromStr<Err: Display>> Setting<T> {
    /// What a type of the process's own reads from a text; its error completes "the value …".
    pub const fn parsed(name: &'static str, example: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Text { example }, form::parsed, meaning)
    }
}

impl Setting<Duration> {
    /// A length of time in whole milliseconds, within a range of them. Its name ends in `_MS`.
    pub const fn millis(name: &'static str, range: RangeInclusive<u64>, meaning: &'static str) -> Self {
        Self::new(name, Form::Millis { min: *range.start(), max: *range.end() }, form::millis, meaning)
    }
}

impl Setting<SocketAddr> {
    /// An address and port to listen on.
    pub const fn address(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Address, form::address, meaning)
    }
}

impl Setting<PathBuf> {
    /// The path of a file, which is not looked at here.
    pub const fn path(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Path, form::path, meaning)
    }
}

impl Setting<bool> {
    /// `true` or `false`.
    pub const fn switch(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Switch, form::switch, meaning)
    }
}

impl Setting<PostgresUrl> {
    /// Where a Postgres is, and who asks: a secret.
    pub const fn postgres_url(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::PostgresUrl, form::postgres_url, meaning)
    }
}

impl Setting<RedisUrl> {
    /// Where a Redis is, and who asks: a secret.
    pub const fn redis_url(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::RedisUrl, form::redis_url, meaning)
    }
}

impl Setting<Vec<String>> {
    /// Names with commas between.
    pub const fn list(name: &'static str, example: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::List { example }, form::list, meaning)
    }
}

impl Setting<String> {
    /// Any text.
    pub const fn text(name: &'static str, example: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Text { example }, form::text, meaning)
    }

    /// A name that keeps one cache apart from others in the same Redis.
    pub const fn namespace(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Namespace, form::namespace, meaning)
    }

    /// What to log: directives of `tracing`'s environment filter.
    pub const fn log_filter(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::LogFilter, form::log_filter, meaning)
    }
}

impl Setting<SecretString> {
    /// A password, token or seed.
    pub const fn secret(name: &'static str, meaning: &'static str) -> Self {
        Self::new(name, Form::Secret, form::secret, meaning)
    }
}

impl Description {
    /// The variable that carries it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// The variable that names a file which holds it instead, where it is a secret.
    pub fn file_variable(&self) -> Option<String> {
        self.is_secret().then(|| format!("{PREFIX}{}{}", self.name, names::FILE))
    }

    /// Which texts it takes, for a table.
    pub fn takes(&self) -> String {
        match self.file_variable() {
            Some(file) => format!("{}; or `{file}` names a file that holds it", self.form),
            None => self.form.to_string(),
        }
    }

    /// Whether its value has to be kept from logs and messages.
    pub fn is_secret(&self) -> bool {
        self.form.is_secret()
    }

    /// What to write where its value is missing or wrong.
    pub(super) fn remedy(&self) -> String {
        match self.default {
            Default::Text(default) => format!("Write {}, or unset it (default {default}).", self.form),
            Default::Absent => format!("Write {}, or unset it.", self.form),
            Default::None => format!("Write {}.", self.form),
        }
    }
}

/// The settings as a process lists them: as lines of an `.env` file where the form asked for is `env`, else as a Markdown table.
pub fn listing(settings: &[Description], form: Option<&str>) -> String {
    if form == Some("env") { env_example(settings) } else { markdown_table(settings) }
}

/// The settings as a Markdown table.
pub fn markdown_table(settings: &[Description]) -> String {
    let mut table = String::from("| variable | takes | default | meaning |\n|---|---|---|---|\n");
    for setting in settings {
        let default = match setting.default {
            Default::Text(default) => format!("`{default}`"),
            Default::Absent => "none".to_owned(),
            Default::None => "must be set".to_owned(),
        };
        let row = [format!("`{}`", setting.variable()), setting.takes(), default, setting.meaning.to_owned()];
        table.extend(row.iter().map(|cell| format!("| {} ", cell.replace('|', "\\|"))));
        table.push_str("|\n");
    }
    table
}

/// The settings as lines of an `.env` file: those with a default commented out, those without to be filled in.
pub fn env_example(settings: &[Description]) -> String {
    let mut lines = String::new();
    for setting in settings {
        lines.extend([format!("# {} Takes {}.\n", setting.meaning, setting.takes())]);
        lines.extend(match setting.default {
            Default::Text(default) => [format!("# {}={default}\n\n", setting.variable())],
            Default::Absent => [format!("# {}={}\n\n", setting.variable(), setting.form.example())],
            Default::None => [format!("{}={}\n\n", setting.variable(), setting.form.example())],
        });
    }
    lines
}
