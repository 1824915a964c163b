//! Servers that speak TLS, with certificates of an authority that is made for one test.

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::servers::{Authority, Certificate, PostgresOptions, RedisOptions};
use crate::{Login, Stage};

/// What the servers of a test are called in their certificate.
const NAMES: &str = "IP:127.0.0.1,DNS:localhost";

/// How long a certificate is good for, in days: longer than any test.
const DAYS: i32 = 2;

/// An authority, and what it has signed for one test: Postgres and Redis show a certificate of its making, and Redis asks for one.
pub struct Trust {
    authority: Authority,
    /// Our own.
    pub own: Certificate,
}

impl Trust {
    /// A stage on servers of its own that speak TLS; Redis beside its plain port, which stays for the hands of the test.
    ///
    /// # Panics
    /// If a server can't be started, or openssl is missing.
    pub async fn stage() -> (Stage, Self) {
        let trust = Self::new().unwrap_or_else(|error| panic!("{error:#}"));
        let server = trust.signed("server", NAMES, DAYS);
        let path = |path: &std::path::Path| path.display().to_string();
        let settings = [
            ("ssl", "on".to_owned()),
            ("ssl_cert_file", path(&server.certificate)),
            ("ssl_key_file", path(&server.key)),
            ("ssl_ca_file", path(&trust.authority.certificate())),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        let postgres = PostgresOptions { settings, ..PostgresOptions::default() };
        let redis = RedisOptions { tls: Some((server, trust.authority.certificate())), ..RedisOptions::default() };
        (Stage::own_with(postgres, redis).await, trust)
    }

    fn new() -> Result<Self> {
        let authority = Authority::new()?;
        let own = authority.sign("own", "DNS:freshline", DAYS)?;
        Ok(Self { authority, own })
    }

    /// A certificate for these names, good for so many days; below 0 it is over already.
    ///
    /// # Panics
    /// If openssl does not make it.
    pub fn signed(&self, name: &str, names: &str, days: i32) -> Certificate {
        self.authority.sign(name, names, days).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// One that has expired.
    pub fn expired(&self) -> Certificate {
        self.signed("expired", NAMES, -1)
    }

    /// One for another server.
    pub fn of_another(&self) -> Certificate {
        self.signed("another", "DNS:elsewhere.example", DAYS)
    }

    /// The authority's own certificate, to be trusted.
    pub fn authority(&self) -> String {
        self.authority.certificate().display().to_string()
    }

    /// What the URL of a Postgres ends in, for whoever verifies it to its name.
    pub fn parameters(&self) -> String {
        let path = |path: &std::path::Path| utf8_percent_encode(&path.display().to_string(), NON_ALPHANUMERIC).to_string();
        let (certificate, key) = (path(&self.own.certificate), path(&self.own.key));
        format!("?sslmode=verify-full&sslrootcert={}&sslcert={certificate}&sslkey={key}", path(&self.authority.certificate()))
    }

    /// The settings of a process that reaches both servers over TLS, and verifies them.
    pub fn variables(&self, stage: &Stage, login: Login) -> [(&'static str, String); 5] {
        [
            ("FRESHLINE_DATABASE_URL", stage.database_url(login) + &self.parameters()),
            ("FRESHLINE_REDIS_URL", stage.redis().tls_url(login, "127.0.0.1")),
            ("FRESHLINE_REDIS_CA_FILE", self.authority()),
            ("FRESHLINE_REDIS_CERTIFICATE_FILE", self.own.certificate.display().to_string()),
            ("FRESHLINE_REDIS_KEY_FILE", self.own.key.display().to_string()),
        ]
    }

    /// From now on Postgres shows this certificate to those who connect.
    ///
    /// # Errors
    /// If it does not take it.
    pub async fn postgres_shows(&self, stage: &Stage, certificate: &Certificate) -> Result<()> {
        // In between the two do not fit, and Postgres stays with what it has.
        stage.postgres().set("ssl_cert_file", &certificate.certificate.display().to_string()).await?;
        stage.postgres().set("ssl_key_file", &certificate.key.display().to_string()).await
    }

    /// From now on Redis shows this certificate to those who connect.
    ///
    /// # Errors
    /// If it does not take it.
    pub async fn redis_shows(&self, stage: &Stage, certificate: &Certificate) -> Result<()> {
        let (certificate, key) = (certificate.certificate.display().to_string(), certificate.key.display().to_string());
        stage.redis().run(&["CONFIG", "SET", "tls-cert-file", &certificate, "tls-key-file", &key]).await
    }
}
