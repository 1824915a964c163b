//! Certificates made for a test: an authority of its own, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Home, Missing, fetched, install};

/// A new elliptic key is made in some milliseconds.
const KEY: [&str; 6] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch"];

/// What a certificate may be used for, and by whom it may be shown.
const USES: &str = "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n";

/// A certificate authority that nobody else trusts. Its files are the servers' user's, and gone when it is dropped.
#[derive(Debug)]
pub struct Authority {
    home: Home,
}

/// A certificate of an [`Authority`], with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM (PKCS #8) without a password.
    pub key: PathBuf,
    /// Both in one file, the key first.
    pub both: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If the command `openssl` is not here and may not be installed.
    pub fn new() -> Result<Self> {
        install::ensure_all(&[Missing::OpenSsl])?;
        let authority = Self { home: Home::scratch()? };
        let (key, certificate) = (authority.path("ca.key"), authority.certificate());
        // A name of its own: by its name it is looked for.
        let subject = format!("/CN=freshline test authority {}", uuid::Uuid::new_v4().simple());
        authority.openssl(&["req", "-x509", "-days", "2", "-subj", &subject], |command| {
            command.args(KEY).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        })?;
        Ok(authority)
    }

    /// Its own certificate, to be trusted.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Signs a certificate for these names, such as `IP:127.0.0.1,DNS:localhost`, that is good for so many days from now on; below 0
    /// it is over already. `name` is that of its files, and what it is called in it.
    ///
    /// # Errors
    /// What openssl says.
    pub fn sign(&self, name: &str, names: &str, days: i32) -> Result<Certificate> {
        let [key, request, certificate] = ["key", "csr", "pem"].map(|end| self.path(&format!("{name}.{end}")));
        self.openssl(&["req", "-subj", &format!("/CN={name}")], |command| {
            command.args(KEY).arg("-keyout").arg(&key).arg("-out").arg(&request);
        })?;
        let extensions = self.home.write(&format!("{name}.ext"), &format!("subjectAltName={names}\n{USES}"))?;
        self.openssl(&["x509", "-req", "-CAcreateserial", "-days", &days.to_string()], |command| {
            command.arg("-CA").arg(self.certificate()).arg("-CAkey").arg(self.path("ca.key"));
            command.arg("-in").arg(&request).arg("-extfile").arg(&extensions).arg("-out").arg(&certificate);
        })?;
        let both = fs::read_to_string(&key)? + &fs::read_to_string(&certificate)?;
        let both = self.home.write(&format!("{name}.both.pem"), &both)?;
        Ok(Certificate { certificate, key, both })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn openssl(&self, words: &[&str], more: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.home.user().command(Path::new("openssl"));
        command.args(words);
        more(&mut command);
        fetched::run(&mut command)
    }
}
