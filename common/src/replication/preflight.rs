//! What has to hold on the server before a stream is asked for, asked over an ordinary connection: one finding for each that does
//! not, with the statement that mends it.

use std::sync::Arc;

use sqlx::PgConnection;

use super::{ReplicationError, StreamSettings, settings::quoted};

/// The oldest server that is supported: logical messages in the stream came with it.
const VERSION_MIN: i32 = 14;

/// Something that keeps the stream from working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub problem: String,
    /// The statement or setting that mends it.
    pub remedy: String,
}

/// Who is to follow the stream.
#[derive(Debug, Clone, Copy)]
pub struct Follower<'a> {
    /// As which role; `None` for that of the connection.
    pub role: Option<&'a str>,
    /// Whether it reads the slot. Who reads from a broker needs neither a slot nor the right to replicate.
    pub has_slot: bool,
}

#[derive(sqlx::FromRow)]
struct Facts {
    version: i32,
    in_recovery: bool,
    role: String,
    may_replicate: bool,
    wal_level: String,
    slot_exists: bool,
    slots_max: i32,
    slots_used: i64,
    senders_max: i32,
    senders_used: i64,
    synchronous_standbys: String,
    publication_exists: bool,
    publishes_all: bool,
    filtered: Option<String>,
}

const FACTS: &str = "
    select current_setting('server_version_num')::int / 10000 as version,
           pg_is_in_recovery() as in_recovery,
           coalesce($3, current_user)::text as role,
           coalesce((select rolreplication or rolsuper from pg_roles where rolname = coalesce($3, current_user)), false) as may_replicate,
           current_setting('wal_level') as wal_level,
           exists (select from pg_replication_slots where slot_name = $1) as slot_exists,
           current_setting('max_replication_slots')::int as slots_max,
           (select count(*) from pg_replication_slots) as slots_used,
           current_setting('max_wal_senders')::int as senders_max,
           (select count(*) from pg_stat_get_wal_senders()) as senders_used,
           current_setting('synchronous_standby_names') as synchronous_standbys,
           exists (select from pg_publication where pubname = $2) as publication_exists,
           coalesce((select pubinsert and pubupdate and pubdelete and pubtruncate from pg_publication where pubname = $2), true)
             as publishes_all,
           -- As JSON: the column came with Postgres 15.
           (select string_agg(prrelid::regclass::text, ', ') from pg_publication_rel r join pg_publication p on p.oid = prpubid
            where pubname = $2 and to_jsonb(r)->>'prqual' is not null) as filtered";

/// Asks the server that `connection` leads to, under the deadline for answers, whether `follower` can have its changes.
pub async fn preflight(
    connection: &mut PgConnection,
    settings: &StreamSettings,
    follower: Follower<'_>,
) -> Result<Vec<Finding>, ReplicationError> {
    const DOING: &str = "checking its settings";
    let asked =
        sqlx::query_as(FACTS).bind(settings.slot.as_str()).bind(&settings.publication).bind(follower.role).fetch_one(connection);
    let facts: Facts = tokio::time::timeout(settings.answer_deadline, asked)
        .await
        .map_err(|_| ReplicationError::Late { doing: DOING, deadline: settings.answer_deadline })?
        .map_err(|source| ReplicationError::Sql { doing: DOING, source: Arc::new(source) })?;
    Ok(findings(&facts, settings, follower.has_slot))
}

fn findings(facts: &Facts, settings: &StreamSettings, has_slot: bool) -> Vec<Finding> {
    let mut findings = [server(facts), publication(facts, &settings.publication)].concat();
    if has_slot {
        let name = settings.server.get_application_name().unwrap_or("freshline");
        findings.extend([rights(facts), room(facts), synchronous(facts, name)].concat());
    }
    findings
}

fn server(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.version < VERSION_MIN {
        findings.push(finding(format!("this is Postgres {}", facts.version), format!("use Postgres {VERSION_MIN} or newer")));
    }
    if facts.in_recovery {
        findings.push(finding("this is a standby".to_owned(), "name the primary in the database URL".to_owned()));
    }
    if facts.wal_level != "logical" {
        let remedy = "alter system set wal_level = logical, then restart Postgres".to_owned();
        findings.push(finding(format!("wal_level is {}, which carries no row changes", facts.wal_level), remedy));
    }
    findings
}

fn rights(facts: &Facts) -> Vec<Finding> {
    let role = &facts.role;
    if facts.may_replicate {
        return Vec::new();
    }
    vec![finding(format!("role {role} may not replicate"), format!("alter role {} replication", quoted(role)))]
}

fn room(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.slot_exists && facts.slots_used >= facts.slots_max.into() {
        let remedy = format!("alter system set max_replication_slots = {}, then restart Postgres", facts.slots_used + 1);
        findings.push(finding(format!("all {} replication slots are in use", facts.slots_max), remedy));
    }
    if facts.senders_used >= facts.senders_max.into() {
        let remedy = format!("alter system set max_wal_senders = {}, then restart Postgres", facts.senders_used + 1);
        findings.push(finding(format!("all {} walsenders are in use", facts.senders_max), remedy));
    }
    findings
}

fn publication(facts: &Facts, name: &str) -> Vec<Finding> {
    let name = quoted(name);
    if !facts.publication_exists {
        return vec![finding(format!("there is no publication {name}"), format!("create publication {name} for table …"))];
    }
    let mut findings = Vec::new();
    if !facts.publishes_all {
        let remedy = format!("alter publication {name} set (publish = 'insert, update, delete, truncate')");
        findings.push(finding(format!("publication {name} leaves out some kinds of change"), remedy));
    }
    if let Some(tables) = &facts.filtered {
        let remedy = format!("alter publication {name} set table {tables}");
        findings.push(finding(format!("publication {name} filters the rows of {tables}"), remedy));
    }
    findings
}

// A commit would wait for our acknowledgement, and we acknowledge only what is visible, which it is not before that.
fn synchronous(facts: &Facts, name: &str) -> Vec<Finding> {
    let standbys = &facts.synchronous_standbys;
    let counted = standbys
        .split(|c: char| c == ',' || c == '(' || c == ')' || c.is_whitespace())
        .any(|standby| standby == "*" || standby.trim_matches('"').eq_ignore_ascii_case(name));
    if !counted {
        return Vec::new();
    }
    let problem = format!(
        "synchronous_standby_names is {standbys:?}, which counts the stream of {name} as a standby: commits would wait for it"
    );
    vec![finding(problem, "name the real standbys: alter system set synchronous_standby_names = '…'".to_owned())]
}

fn finding(problem: String, remedy: String) -> Finding {
    Finding { problem, remedy }
}
