//! What `up` prints when all is ready: the addresses, the dashboard's first of all, and three commands that show what this is about.

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

use super::console::say_all;
use crate::checkout::Place;
use crate::state::State;

/// Prints it.
pub async fn print(place: &Place, state: &State) -> Result<()> {
    say_all("up", &addresses(state));
    if let Some(id) = oldest_product(state).await? {
        say_all("up", &commands(place, state, &id));
    }
    Ok(())
}

/// One line for each process, with where it listens.
pub fn addresses(state: &State) -> String {
    let lines = state.processes.iter().filter_map(|member| {
        let (address, what) = match (member.address, member.admin_address) {
            (Some(address), _) if member.name.starts_with("api") || member.name == "demo" => (format!("http://{address}"), ""),
            (Some(address), _) => (address.to_string(), ""),
            (None, Some(admin)) => (format!("http://{admin}/metrics"), ""),
            (None, None) => return None,
        };
        Some(format!("  {:11} {address}{what}\n", member.name))
    });
    lines.collect()
}

/// A product that the warm run left cold, so that its first read is a miss.
async fn oldest_product(state: &State) -> Result<Option<String>> {
    let url = &state.postgres.as_ref().context("the URLs are known by now")?.superuser;
    let mut connection = PgConnection::connect(url).await.context("asking for a product")?;
    let id = sqlx::query_scalar("select id::text from products order by id limit 1").fetch_optional(&mut connection).await?;
    connection.close().await?;
    Ok(id)
}

/// Read, change without any code of ours, read on another replica.
fn commands(place: &Place, state: &State, id: &str) -> String {
    let apis: Vec<_> =
        state.processes.iter().filter(|member| member.name.starts_with("api")).filter_map(|member| member.address).collect();
    let (Some(first), Some(last)) = (apis.first(), apis.last()) else { return String::new() };
    let url = place.file("database-url");
    let url = std::env::current_dir().ok().and_then(|here| url.strip_prefix(here).ok().map(Into::into)).unwrap_or(url);
    format!(
        "Ready. The dashboard: http://{first}/\n\
         Three commands to try in another terminal:\n\
         \x20 curl -i http://{first}/products/{id}\n\
         \x20 psql \"$(cat {})\" -c \"update products set price = price + 1 where id = '{id}'\"\n\
         \x20 curl -i http://{last}/products/{id}\n",
        url.display()
    )
}
