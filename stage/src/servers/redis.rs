//! A private Redis (or Valkey): its own process, directory, port and passwords. Starting one takes some milliseconds.
//!
//! `<home>/redis.conf` is its configuration, `<home>/redis.passwords` the passwords, `<home>/dump.rdb` the file it loads at start if
//! there is one.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::daemon::{Daemon, Look, Recipe};
use super::password::Passwords;
use super::{Certificate, Home, Missing, find};
use crate::database::Login;

/// How long a server may take to be ready, loading of a file included.
const START_MAX: Duration = Duration::from_secs(60);

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long any answer may take while a test talks to it directly.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long a server may take to end in order.
const STOP_MAX: Duration = Duration::from_secs(10);

/// The name of its configuration.
const CONFIGURATION: &str = "redis.conf";

/// The name of its file of data. A copy of it can be put back: see [`Redis::restart_from`].
const DUMP: &str = "dump.rdb";

/// What all our servers have in common. Nothing is saved unless asked for. `DEBUG` is allowed, from this
/// machine, because tests make it hang.
const SETTINGS: [(&str, &str); 7] = [
    ("bind", "127.0.0.1"),
    ("save", "\"\""),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("dbfilename", DUMP),
    ("enable-debug-command", "local"),
    ("maxmemory-policy", "noeviction"),
];

/// The users that the documentation tells operators to make: every test is held to their rights. Their keys are those of the
/// namespace `freshline`; tests have namespaces of their own.
const USERS: &str = include_str!("../../../docs/redis-users.acl");

/// The user of the control command there. In Postgres it has none of its own: whoever runs it is the tables' owner.
const OPERATOR: &str = "freshline_operator";

/// The keys of the namespace that the documentation has as its example.
const KEYS: &str = "~{freshline.* ~{freshline}*";

/// What a new server is to be like.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// The port to use if it is free; without one, that of the last start in this home. If it is taken, any free port.
    pub port: Option<u16>,
    /// More lines for `redis.conf`, as (name, value): they come last, so they win.
    pub settings: Vec<(String, String)>,
    /// Speaks TLS on a second port, showing this certificate, to those whose own is of this authority.
    pub tls: Option<(Certificate, PathBuf)>,
}

/// A running private Redis. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Redis {
    daemon: Daemon,
    program: PathBuf,
    passwords: Passwords,
}

impl Deref for Redis {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}

impl Redis {
    /// Starts a server in `home` and waits until it serves.
    ///
    /// # Errors
    /// If Redis is not installed; if it does not start: with the end of its log.
    pub async fn start(home: Home, options: RedisOptions) -> Result<Self> {
        let program = find::redis().context(Missing::Redis)?.program;
        let names = Login::ALL.map(Login::redis_name).into_iter().chain([OPERATOR]).collect::<Vec<_>>();
        let passwords = Passwords::kept(&home, "redis.passwords", &names)?;
        let (asked, tls, users, to_run) = (
            options.port,
            options.tls.is_some(),
            names.iter().map(|name| user_line(&passwords, name)).collect::<Vec<_>>(),
            program.clone(),
        );
        let prepare = move |home: &Home, ports: &[u16]| {
            let configuration = home.write(CONFIGURATION, &configuration(home, ports, &users, &options))?;
            let mut command = home.user().command(&to_run);
            command.arg(configuration);
            Ok(command)
        };
        let recipe = Recipe {
            name: "redis",
            ports: if tls { 2 } else { 1 },
            start_max: START_MAX,
            stop_max: STOP_MAX,
            prepare: Box::new(prepare),
            look: Box::new(|log| if log.contains("Ready to accept connections") { Look::Ready } else { Look::NotYet }),
        };
        Ok(Self { daemon: Daemon::start(home, asked, recipe).await?, program, passwords })
    }

    /// Its program, beside which `redis-cli` usually lies.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The URL for `login`, password included.
    pub fn url(&self, login: Login) -> String {
        self.url_of(login.redis_name())
    }

    /// The URL for the control command.
    pub fn operator_url(&self) -> String {
        self.url_of(OPERATOR)
    }

    fn url_of(&self, user: &str) -> String {
        format!("redis://{user}:{}@127.0.0.1:{}/", self.passwords.of(user), self.port())
    }

    /// The same over TLS; `host` is what the server is called there.
    ///
    /// # Panics
    /// If it was started without TLS.
    pub fn tls_url(&self, login: Login, host: &str) -> String {
        let (user, port) = (login.redis_name(), self.second_port().expect("it was started with TLS"));
        format!("rediss://{user}:{}@{host}:{port}/", self.passwords.of(user))
    }

    /// The password of `login`.
    pub fn password(&self, login: Login) -> &str {
        self.passwords.of(login.redis_name())
    }

    /// A new connection of the superuser.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url(Login::Superuser)).context("a Redis URL of our own making")?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_MAX)).set_response_timeout(Some(ANSWER_MAX));
        client.get_multiplexed_async_connection_with_config(&config).await.context("connecting to Redis")
    }

    /// Runs one command as the superuser: `redis.run::<i64>(&["DEL", "key"])`.
    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let (name, arguments) = words.split_first().context("a command of no words")?;
        let mut connection = self.connect().await?;
        redis::cmd(name).arg(arguments).query_async(&mut connection).await.with_context(|| format!("running {}", words.join(" ")))
    }

    /// Writes all it holds to a file and copies that to `path`, to be put back later.
    pub async fn save_to(&self, path: &Path) -> Result<()> {
        self.run::<()>(&["SAVE"]).await?;
        let dump = self.dump_path();
        fs::copy(&dump, path).with_context(|| format!("copying {} to {}", dump.display(), path.display()))?;
        fs::remove_file(&dump).with_context(|| format!("removing {}", dump.display()))
    }

    /// Kills it and starts it again, on the same port, with what the file `path` holds: a Redis restored from an old backup.
    pub async fn restart_from(&self, path: &Path) -> Result<()> {
        self.kill().await?;
        let dump = self.dump_path();
        fs::copy(path, &dump).with_context(|| format!("copying {} to {}", path.display(), dump.display()))?;
        self.home().user().give(&dump)?;
        self.start_again().await
    }

    fn dump_path(&self) -> PathBuf {
        self.home().path().join(DUMP)
    }
}

fn configuration(home: &Home, ports: &[u16], users: &[String], options: &RedisOptions) -> String {
    let own = [("port", ports[0].to_string()), ("dir", format!("\"{}\"", home.path().display()))];
    let tls = options.tls.iter().flat_map(|(certificate, authority)| {
        let files =
            [("tls-cert-file", &certificate.certificate), ("tls-key-file", &certificate.key), ("tls-ca-cert-file", authority)];
        let files = files.map(|(name, path)| (name, format!("\"{}\"", path.display())));
        files.into_iter().chain([("tls-port", ports[1].to_string())])
    });
    let settings = SETTINGS.map(|(name, value)| (name, value.to_owned()));
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let users = users.iter().map(|line| ("user", line.clone()));
    settings.into_iter().chain(own).chain(tls).chain(users).chain(given).map(|(name, value)| format!("{name} {value}\n")).collect()
}

fn user_line(passwords: &Passwords, user: &str) -> String {
    let documented = USERS.lines().find_map(|line| line.strip_prefix(&format!("user {user} on >CHANGE_ME {KEYS} ")));
    let rights = documented.map_or_else(|| "~* &* +@all".to_owned(), |commands| format!("~* {commands}"));
    format!("{user} on >{} {rights}", passwords.of(user))
}
