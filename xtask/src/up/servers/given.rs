//! Servers that somebody else runs, named by `--database-url` and `--redis-url`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Url;
use sqlx::{Connection, PgConnection};
use stage::Login;
use stage::servers::Passwords;

use crate::checkout::Place;
use crate::state::Urls;

/// How long a server that was given may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Brings schema and roles of a given Postgres up to date, and answers with the URL of each role in it.
///
/// # Errors
/// If it does not answer, or a role in it has a password that isn't known here.
pub async fn postgres(place: &Place, url: &str) -> Result<Urls> {
    let parsed = Url::parse(url).with_context(|| "--database-url: write postgres://user:password@host:port/database")?;
    let mut connection = connect(url).await.context("--database-url: check host, port, user and password")?;
    stage::migrate(&mut connection).await?;
    let passwords = Passwords::kept(&place.server_home("given")?, "pgpass", &Login::ROLES.map(Login::postgres_name))?;
    let mut urls = Urls::new(|_| url.to_owned());
    for login in Login::ROLES {
        let password = passwords.of(login.postgres_name());
        let role_url = with_login(&parsed, login.postgres_name(), password)?;
        if connect(&role_url).await.is_err() {
            give_password(&mut connection, login, password).await?;
            connect(&role_url).await.with_context(|| format!("logging in as {}", login.postgres_name()))?.close().await?;
        }
        urls.set(login, role_url);
    }
    connection.close().await?;
    Ok(urls)
}

/// A given Redis is used with one URL by all.
pub async fn redis(url: &str) -> Result<Urls> {
    let client = redis::Client::open(url).context("--redis-url: write redis://user:password@host:port/")?;
    let connected = tokio::time::timeout(ANSWER_MAX, client.get_multiplexed_async_connection()).await;
    connected.context("--redis-url: no answer")?.context("--redis-url: check host, port, user and password")?;
    Ok(Urls::new(|_| url.to_owned()))
}

/// Sets the password of a role that has none. One that has is somebody's, who may use it elsewhere.
async fn give_password(connection: &mut PgConnection, login: Login, password: &str) -> Result<()> {
    let role = login.postgres_name();
    let has_one: Option<bool> = sqlx::query_scalar("select rolpassword is not null from pg_authid where rolname = $1")
        .bind(role)
        .fetch_optional(&mut *connection)
        .await
        .with_context(|| format!("seeing whether {role} has a password: --database-url has to be a superuser's"))?;
    match has_one {
        Some(false) => stage::set_password(connection, login, password).await,
        Some(true) => {
            bail!("{role} has a password that is not known here: take it away (alter role {role} password null) and run this again")
        }
        None => bail!("the role {role} is missing: create it as migrations/ says and run this again"),
    }
}

async fn connect(url: &str) -> Result<PgConnection> {
    tokio::time::timeout(ANSWER_MAX, PgConnection::connect(url)).await.context("no answer")?.context("connecting")
}

fn with_login(url: &Url, user: &str, password: &str) -> Result<String> {
    let mut url = url.clone();
    if url.set_username(user).is_err() || url.set_password(Some(password)).is_err() {
        bail!("--database-url: name a host: postgres://user:password@host:port/database");
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_the_same_url_with_its_own_name_and_password() {
        let url = Url::parse("postgres://admin:old@db.example:6432/shop?sslmode=require").expect("a URL");
        let role = with_login(&url, "freshline_api", "new").expect("a URL with a host");
        assert_eq!(role, "postgres://freshline_api:new@db.example:6432/shop?sslmode=require");
    }
}
