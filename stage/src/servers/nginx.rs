//! A private nginx in front of something: a cache of somebody else's, which keeps what the answers' headers allow.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::{Daemon, Look, Recipe};
use super::{Home, Missing, find, install};

/// How long it may take to be ready, or to end.
const TURN_MAX: Duration = Duration::from_secs(30);

/// The header in which it says what its cache made of a request: `MISS`, `HIT`, `REVALIDATED` and others.
pub const NGINX_CACHE: &str = "nginx-cache";

/// A running private nginx. Dropped, it is killed. What can be done to it beside what is here: see [`Daemon`].
pub struct Nginx(Daemon);

impl Deref for Nginx {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.0
    }
}

impl Nginx {
    /// Starts one in front of this address, such as `127.0.0.1:8080`, and waits until it listens.
    ///
    /// # Errors
    /// If it is not installed and may not be; if it does not start: with the end of its log.
    pub async fn start(home: Home, before: &str) -> Result<Self> {
        let (program, before) = (program()?, before.to_owned());
        let prepare = move |home: &Home, ports: &[u16]| {
            let configuration = home.write("nginx.conf", &configuration(home, ports[0], &before))?;
            let mut command = home.user().command(&program);
            command.args(["-e", "stderr", "-c"]).arg(configuration);
            Ok(command)
        };
        let recipe = Recipe {
            name: "nginx",
            ports: 1,
            start_max: TURN_MAX,
            stop_max: TURN_MAX,
            prepare: Box::new(prepare),
            look: Box::new(|log| if log.contains("start worker process ") { Look::Ready } else { Look::NotYet }),
        };
        Ok(Self(Daemon::start(home, None, recipe).await?))
    }

    /// Its own address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Forgets all that it keeps.
    ///
    /// # Errors
    /// If its files cannot be removed.
    pub fn forget(&self) -> Result<()> {
        let kept = self.home().path().join("kept");
        for entry in fs::read_dir(&kept).with_context(|| format!("looking into {}", kept.display()))? {
            let path = entry?.path();
            fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

fn program() -> Result<PathBuf> {
    install::ensure_all(&[Missing::Nginx])?;
    find::program("nginx").context("nginx was here a moment ago")
}

fn configuration(home: &Home, port: u16, before: &str) -> String {
    let path = home.path().display();
    format!(
        "daemon off;
worker_processes 1;
error_log stderr notice;
pid {path}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {path}/client;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    proxy_cache_path {path}/kept levels=1:2 keys_zone=kept:1m use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{before};
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_cache kept;
            proxy_cache_revalidate on;
            proxy_cache_background_update on;
            add_header {NGINX_CACHE} $upstream_cache_status always;
        }}
    }}
}}
"
    )
}
