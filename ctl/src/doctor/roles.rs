//! The roles of the processes, and whether each may do what its process does and no more.

use freshline::broker::SourceConfig;
use sqlx::PgConnection;

use super::Finding;
use crate::servers::{Servers, Trouble};

/// The role of the catalogue's API, which writes what it reads.
const API: &str = "freshline_api";

/// A role, and what it is for.
#[derive(Clone, Copy)]
struct Role<'a> {
    name: &'a str,
    /// Whether it follows the change stream; else it reads tables.
    follows: bool,
}

/// A right.
struct Right {
    /// In words.
    what: String,
    /// The question whether the role `$1` may do `$3` to `$2`.
    asked: &'static str,
    on: String,
    may: &'static str,
    /// The statement that grants it.
    grant: String,
}

/// Looks at the roles.
///
/// # Errors
/// Where Postgres cannot be asked.
pub async fn look(servers: &Servers) -> Result<Vec<Finding>, Trouble> {
    let mut connection = servers.postgres().await?;
    let mut findings = Vec::new();
    let follower = Role { name: &servers.config.invalidator_role, follows: true };
    let readers = servers.config.reader_roles.iter().map(|name| Role { name, follows: false });
    for role in [follower].into_iter().chain(readers) {
        let found = one(servers, &mut connection, role).await?;
        findings.extend(found);
    }
    Ok(findings)
}

async fn one(servers: &Servers, connection: &mut PgConnection, role: Role<'_>) -> Result<Vec<Finding>, Trouble> {
    let Role { name, follows } = role;
    let sql = "select rolcanlogin, rolreplication, rolsuper or rolcreatedb or rolcreaterole or rolbypassrls from pg_roles where rolname = $1";
    let found: Option<(bool, bool, bool)> = servers.asked(sqlx::query_as(sql).bind(name).fetch_optional(&mut *connection)).await?;
    let Some((may_login, may_replicate, may_too_much)) = found else {
        let remedy = "run migrations/0006_roles.sql once more as a superuser; or name roles of your own in FRESHLINE_INVALIDATOR_ROLE and \
                      FRESHLINE_READER_ROLES";
        return Ok(vec![Finding::note("role", format!("there is no role {name}"), remedy)]);
    };
    let mut findings = Vec::new();
    if !may_login {
        findings.push(Finding::problem("role", format!("{name} may not log in"), format!("alter role {} login", quoted(name))));
    }
    if may_too_much || (may_replicate && !follows) {
        let replication = if follows { "" } else { " noreplication" };
        let remedy = format!("alter role {} nosuperuser nocreatedb nocreaterole nobypassrls{replication}", quoted(name));
        findings.push(Finding::problem("role", format!("{name} may do more than its process does"), remedy));
    }
    for Right { what, asked, on, may, grant } in rights(servers, role) {
        let has = sqlx::query_scalar(asked).bind(name).bind(on).bind(may).fetch_one(&mut *connection);
        let has: Option<bool> = servers.asked(has).await?;
        if has != Some(true) {
            findings.push(Finding::problem("role", format!("{name} may not {what}"), grant));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("role", format!("{name} may do what its process does")));
    }
    Ok(findings)
}

/// What a role has to be granted. REPLICATION is asked for with the stream.
fn rights(servers: &Servers, role: Role<'_>) -> Vec<Right> {
    let name = quoted(role.name);
    let mut rights = vec![
        Right {
            what: "use schema freshline".to_owned(),
            asked: "select has_schema_privilege($1, to_regnamespace($2)::oid, $3)",
            on: "freshline".to_owned(),
            may: "usage",
            grant: format!("grant usage on schema freshline to {name}"),
        },
        on_function("call", "freshline.source()", &name),
    ];
    if role.follows {
        if matches!(servers.config.source, SourceConfig::Kafka(_)) {
            rights.push(on_function("write markers into the log by", "pg_logical_emit_message(boolean, text, text)", &name));
        }
        rights.extend(["select", "insert", "update"].map(|may| on_table("freshline.dead_letters", may, &name)));
        return rights;
    }
    for table in servers.rules.tables() {
        let table = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        rights.push(on_table(&table, "select", &name));
        // Who writes the tables of somebody else's rules is not ours to say.
        if role.name == API && servers.config.rules.is_none() {
            rights.extend(["insert", "update", "delete"].map(|may| on_table(&table, may, &name)));
        }
    }
    rights
}

fn on_function(verb: &str, function: &str, role: &str) -> Right {
    Right {
        what: format!("{verb} {function}"),
        asked: "select has_function_privilege($1, to_regprocedure($2)::oid, $3)",
        on: function.to_owned(),
        may: "execute",
        grant: format!("grant execute on function {function} to {role}"),
    }
}

/// Asked by way of to_regclass: a table that is not there is granted to nobody, and is no error.
fn on_table(table: &str, may: &'static str, role: &str) -> Right {
    Right {
        what: format!("{may} on {table}"),
        asked: "select has_table_privilege($1, to_regclass($2)::oid, $3)",
        on: table.to_owned(),
        may,
        grant: format!("grant {may} on {table} to {role}"),
    }
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
