//! The roles that the migrations make, and whether each may do what its process does and no more.

use freshline::broker::SourceConfig;
use sqlx::PgConnection;

use super::{Finding, postgres::INVALIDATOR};
use crate::servers::{Servers, Trouble};

const API: &str = "freshline_api";
const WARMER: &str = "freshline_warmer";

/// A right, the question whether a role has it, and the statement that grants it.
struct Right {
    role: &'static str,
    what: String,
    asked: String,
    grant: String,
}

/// Looks at the roles.
///
/// # Errors
/// Where Postgres cannot be asked.
pub async fn look(servers: &Servers) -> Result<Vec<Finding>, Trouble> {
    let mut connection = servers.postgres().await?;
    let mut findings = Vec::new();
    for role in [API, INVALIDATOR, WARMER] {
        let found = one(servers, &mut connection, role).await?;
        findings.extend(found);
    }
    Ok(findings)
}

async fn one(servers: &Servers, connection: &mut PgConnection, role: &'static str) -> Result<Vec<Finding>, Trouble> {
    let sql = "select rolcanlogin, rolreplication, rolsuper or rolcreatedb or rolcreaterole or rolbypassrls from pg_roles where rolname = $1";
    let found: Option<(bool, bool, bool)> = servers.asked(sqlx::query_as(sql).bind(role).fetch_optional(&mut *connection)).await?;
    let Some((may_login, may_replicate, may_too_much)) = found else {
        let remedy = "run migrations/0006_roles.sql once more as a superuser; or log in as a role of your own with the same rights";
        return Ok(vec![Finding::note("role", format!("there is no role {role}"), remedy)]);
    };
    let mut findings = Vec::new();
    if !may_login {
        findings.push(Finding::problem("role", format!("{role} may not log in"), format!("alter role {role} login")));
    }
    if may_too_much || (may_replicate && role != INVALIDATOR) {
        let remedy = if role == INVALIDATOR { "" } else { " noreplication" };
        let remedy = format!("alter role {role} nosuperuser nocreatedb nocreaterole nobypassrls{remedy}");
        findings.push(Finding::problem("role", format!("{role} may do more than its process does"), remedy));
    }
    for right in rights(servers, role) {
        let has: Option<bool> =
            servers.asked(sqlx::query_scalar(sqlx::AssertSqlSafe(right.asked)).fetch_one(&mut *connection)).await?;
        if has != Some(true) {
            findings.push(Finding::problem("role", format!("{} may not {}", right.role, right.what), right.grant));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("role", format!("{role} may do what its process does")));
    }
    Ok(findings)
}

/// What a role has to be granted. REPLICATION is asked for with the stream.
fn rights(servers: &Servers, role: &'static str) -> Vec<Right> {
    let right = |what: String, asked: String, grant: String| Right { role, what, asked, grant };
    let on_table = |table: &str, may: &str| {
        // By way of to_regclass: a table that is not there is granted to nobody, and is no error.
        let asked = format!("select has_table_privilege('{role}', to_regclass('{}')::oid, '{may}')", table.replace('\'', "''"));
        right(format!("{may} on {table}"), asked, format!("grant {may} on {table} to {role}"))
    };
    let mut rights = vec![
        right(
            "use schema freshline".to_owned(),
            format!("select has_schema_privilege('{role}', to_regnamespace('freshline')::oid, 'usage')"),
            format!("grant usage on schema freshline to {role}"),
        ),
        right(
            "call freshline.source()".to_owned(),
            format!("select has_function_privilege('{role}', to_regprocedure('freshline.source()')::oid, 'execute')"),
            format!("grant execute on function freshline.source() to {role}"),
        ),
    ];
    if role == INVALIDATOR {
        if matches!(servers.config.source, SourceConfig::Kafka(_)) {
            let emit = "pg_logical_emit_message(boolean, text, text)";
            rights.push(right(
                "write markers into the log".to_owned(),
                format!("select has_function_privilege('{role}', '{emit}', 'execute')"),
                format!("grant execute on function {emit} to {role}"),
            ));
        }
        rights.extend(["select", "insert", "update"].map(|may| on_table("freshline.dead_letters", may)));
        return rights;
    }
    for table in servers.rules.tables() {
        let table = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        rights.push(on_table(&table, "select"));
        // Who writes the tables of somebody else's rules is not ours to say.
        if role == API && servers.config.rules.is_none() {
            rights.extend(["insert", "update", "delete"].map(|may| on_table(&table, may)));
        }
    }
    rights
}

/// An identifier that needs no quotes goes without.
fn quoted(identifier: &str) -> String {
    let plain = identifier.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if plain && !identifier.starts_with(|first: char| first.is_ascii_digit()) {
        identifier.to_owned()
    } else {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }
}
