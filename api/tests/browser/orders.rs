//! What the tests in the browser ask of those outside it: to look into Postgres and Redis, and to break and mend things.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use stage::servers::Shutdown;

use crate::system::System;

/// One order.
#[derive(Debug, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
enum Order {
    /// The rows of a query, as objects.
    Rows {
        sql: String,
    },
    /// Statements of somebody who knows no Freshline.
    Sql {
        sql: String,
    },
    /// What lies in Redis under a key of the cache.
    Entry {
        key: String,
    },
    Kill {
        what: Program,
    },
    Start {
        what: Program,
    },
    Stop {
        what: Server,
    },
    StartAgain {
        what: Server,
    },
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Program {
    Invalidator,
    Demo,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Server {
    Redis,
    Postgres,
}

/// Carries an order out: `{"ok":…}`, or `{"error":…}`.
pub async fn carry_out(system: &mut System, order: &str) -> Value {
    let done = async {
        let order = serde_json::from_str(order).with_context(|| format!("this is no order: {order}"))?;
        carried_out(system, order).await
    };
    done.await.map_or_else(|error| json!({ "error": format!("{error:#}") }), |answer: Value| json!({ "ok": answer }))
}

async fn carried_out(system: &mut System, order: Order) -> Result<Value> {
    let postgres = system.stage.postgres();
    match order {
        Order::Rows { sql } => {
            let rows: String = system.stage.value(&format!("select coalesce(json_agg(t), '[]')::text from ({sql}) t")).await;
            return Ok(serde_json::from_str(&rows)?);
        }
        Order::Sql { sql } => drop(system.stage.sql(&sql).await),
        Order::Entry { key } => return Ok(system.entry(&key).await?.into()),
        Order::Kill { what } => system.program(what).kill().await?,
        Order::Start { what } => system.program(what).restart().await?,
        Order::Stop { what: Server::Redis } => system.stage.redis().kill().await?,
        Order::Stop { what: Server::Postgres } => postgres.stop(Shutdown::Fast).await?,
        Order::StartAgain { what: Server::Redis } => system.stage.redis().start_again().await?,
        Order::StartAgain { what: Server::Postgres } => postgres.start_again().await?,
    }
    Ok(Value::Null)
}

impl System {
    fn program(&mut self, program: Program) -> &mut stage::Process {
        match program {
            Program::Invalidator => &mut self.invalidator,
            Program::Demo => &mut self.demo,
        }
    }
}
