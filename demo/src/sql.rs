//! A row changed by plain SQL, by a session that knows nothing of Freshline: what any script, console or job does.

use std::{sync::Arc, time::Duration, time::Instant};

use axum::{
    Json,
    extract::{Request, State},
};
use freshline::{catalog::Price, telemetry::chain};
use serde::Serialize;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    clock::ms,
    form::{self, Form},
    hold::{Held, HoldError, Holder, LENGTH_MAX},
    problem::{Problem, Subject},
    routes::Services,
};

/// How long all of it may take, beside what a commit is held.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// How long one statement may take, its wait for the row included.
const STATEMENT_MAX: &str = "5000";

/// What is to be changed.
struct Change {
    id: Uuid,
    price: Option<Price>,
    stock_quantity: Option<i32>,
    hold: Duration,
}

/// What was.
#[derive(Debug, Serialize)]
pub struct Changed {
    statement: String,
    xid: String,
    began_us: u64,
    committed_us: u64,
    took_ms: f64,
    process: String,
}

/// `POST /sql`.
pub async fn change(State(services): State<Arc<Services>>, request: Request) -> Result<Json<Changed>, Problem> {
    let change = Change::read(Form::read(request).await?)?;
    let changed = timeout(CHANGE_MAX + change.hold, change.carry_out(&services)).await;
    changed.unwrap_or_else(|_| Err(Problem::new(Subject::Unavailable, "Postgres did not answer in time."))).map(Json)
}

impl Change {
    fn read(mut form: Form) -> Result<Self, Problem> {
        let id = form.needed("id", form::id);
        let price = form.given("price", form::price);
        let stock_quantity = form.given("stock_quantity", |value| form::whole(value, 0..=i32::MAX as u64));
        let hold = form.given("hold_ms", |value| form::millis(value, 0..=LENGTH_MAX.as_millis() as u64)).unwrap_or_default();
        let change = id.map(|id| Self { id, price, stock_quantity, hold });
        let change = form.finish(change)?;
        if change.price.is_none() && change.stock_quantity.is_none() {
            return Err(Problem::new(Subject::Invalid, "Nothing is to be changed: send price, stock_quantity or both."));
        }
        Ok(change)
    }

    /// As somebody would type it. All that is in it has been parsed: digits, and hexadecimal ones.
    fn statement(&self) -> String {
        let price = self.price.map(|price| format!("price = {price}"));
        let stock = self.stock_quantity.map(|count| format!("stock_quantity = {count}"));
        let set: Vec<String> = price.into_iter().chain(stock).collect();
        format!("update products set {} where id = '{}'", set.join(", "), self.id)
    }

    async fn carry_out(&self, services: &Services) -> Result<Changed, Problem> {
        let mut session = connect(&services.database, !self.hold.is_zero()).await.map_err(away)?;
        let statement = self.statement();
        let began = Instant::now();
        let mut transaction = session.begin().await.map_err(away)?;
        let changed = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut *transaction).await.map_err(away)?;
        if changed.rows_affected() == 0 {
            return Err(no_product(self.id));
        }
        let xid = sqlx::query_scalar("select pg_current_xact_id()::text").fetch_one(&mut *transaction).await.map_err(away)?;
        let _held = held(&services.holder, self.hold).await?;
        transaction.commit().await.map_err(away)?;
        let committed = Instant::now();
        Ok(Changed {
            statement,
            xid,
            began_us: services.clock.us(began),
            committed_us: services.clock.us(committed),
            took_ms: ms(committed - began),
            process: services.process.clone(),
        })
    }
}

async fn held(holder: &Holder, length: Duration) -> Result<Option<Held>, Problem> {
    if length.is_zero() {
        return Ok(None);
    }
    holder.hold(length).await.map(Some).map_err(|error| not_held(&error))
}

/// A session whose commit can be held, or one that never waits for a held one.
pub async fn connect(server: &PgConnectOptions, can_be_held: bool) -> Result<PgConnection, sqlx::Error> {
    let commit = if can_be_held { "on" } else { "local" };
    server.clone().options([("synchronous_commit", commit), ("statement_timeout", STATEMENT_MAX)]).connect().await
}

/// What is answered where there is no such product.
pub fn no_product(id: Uuid) -> Problem {
    Problem::new(Subject::NoProduct, format!("No product has the id {id}."))
}

/// What is answered where Postgres does not do its part.
pub fn away(error: sqlx::Error) -> Problem {
    Problem::new(Subject::Unavailable, format!("Postgres: {}.", chain(&error)))
}

/// What is answered where a commit cannot be held.
pub fn not_held(error: &HoldError) -> Problem {
    let subject = match error {
        HoldError::Busy => Subject::Busy,
        HoldError::Cannot(_) => Subject::NotHeld,
        HoldError::NoEffect | HoldError::Sql(_) | HoldError::Silent(_) | HoldError::Ending => Subject::Unavailable,
    };
    Problem::new(subject, format!("No commit is held: {}.", chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_is_what_somebody_would_type() {
        let change = Change { id: Uuid::nil(), price: "12.5".parse().ok(), stock_quantity: Some(5), hold: Duration::ZERO };
        let statement = "update products set price = 12.50, stock_quantity = 5 where id = '00000000-0000-0000-0000-000000000000'";
        assert_eq!(change.statement(), statement);
    }
}
