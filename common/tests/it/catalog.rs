//! The catalogue on a real Postgres: what the database itself promises, then the reads and writes of the library.

mod ddl;
mod migrations;
mod plans;
mod reads;
mod roles;
mod seed;
mod source;
mod stream;
mod table;
mod writes;

use std::time::Duration;

use freshline::catalog::{NewProduct, Reads, SessionOptions, Writes, read_pool, write_pool};
use serde_json::value::RawValue;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use stage::{Login, Stage};

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn options(stage: &Stage, login: Login) -> PgConnectOptions {
    stage.database_url(login).parse().expect("a URL of Postgres")
}

fn session_options() -> SessionOptions {
    SessionOptions { connections_max: 4, acquire_timeout: DEADLINE, statement_timeout: DEADLINE }
}

fn reads(stage: &Stage) -> Reads {
    Reads::new(read_pool(options(stage, Login::Api), &session_options()), DEADLINE)
}

fn writes(stage: &Stage) -> Writes {
    Writes::new(write_pool(options(stage, Login::Api), &session_options()), DEADLINE)
}

async fn connect(stage: &Stage, login: Login) -> PgConnection {
    PgConnection::connect(&stage.database_url(login)).await.expect("a connection")
}

/// Runs statements on a connection; the SQLSTATE where one of them is refused.
async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), String> {
    match sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code().map(String::from));
            Err(code.unwrap_or_else(|| panic!("{sql}: {error}")))
        }
    }
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// A product that can be stored.
fn lamp() -> NewProduct {
    NewProduct {
        sku: "LAMP-1".into(),
        name: "Lamp".into(),
        description: Some("Gives light.".into()),
        category: "lighting".into(),
        price: "12.50".parse().expect("a price"),
        stock_quantity: 3,
        attributes: json(r#"{"socket": "E27", "watts": {"max": 40}}"#),
    }
}
