//! The primary: what the invalidator checks before it starts, and what fills a disk or loses changes later.

use freshline::{
    check::{self, Problem},
    dead_letters,
    replication::{Follower, HeldBack, held_back},
};
use sqlx::PgConnection;

use super::Finding;
use crate::{
    paint,
    servers::{OwnSlot, Servers, Trouble},
};

/// Looks at the primary.
///
/// # Errors
/// Where it cannot be asked.
pub async fn look(servers: &Servers) -> Result<Vec<Finding>, Trouble> {
    let mut connection = servers.postgres().await?;
    let mut findings = stream(servers, &mut connection).await?;
    findings.push(history(servers, &mut connection).await?);
    findings.push(triggers(servers, &mut connection).await?);
    findings.extend(slots(servers, &servers.asked(held_back(&mut connection)).await?));
    findings.push(keep_size(servers, &mut connection).await?);
    findings.push(letters(&mut connection).await?);
    Ok(findings)
}

/// What keeps the stream from working: the check that the invalidator itself makes.
async fn stream(servers: &Servers, connection: &mut PgConnection) -> Result<Vec<Finding>, Trouble> {
    let exists = "select exists (select from pg_roles where rolname = $1)";
    let invalidator = servers.config.invalidator_role.as_str();
    let has_role: bool = servers.asked(sqlx::query_scalar(exists).bind(invalidator).fetch_one(&mut *connection)).await?;
    // Under its own role where there is one; else under that which looks.
    let role = has_role.then_some(invalidator);
    let follower = Follower { role, has_slot: !servers.own_slots().is_empty() };
    let problems = check::problems(connection, &servers.stream()?, &servers.rules, follower).await;
    let address = servers.config.database_url.to_string();
    let problems = problems.map_err(|source| Trouble::Check { address, source })?;
    if problems.is_empty() {
        let facts = "select format('Postgres %s, wal_level %s, %s of %s slots and %s of %s walsenders in use',
                current_setting('server_version'), current_setting('wal_level'),
                (select count(*) from pg_replication_slots), current_setting('max_replication_slots'),
                (select count(*) from pg_stat_get_wal_senders()), current_setting('max_wal_senders'))";
        let facts: String = servers.asked(sqlx::query_scalar(facts).fetch_one(connection)).await?;
        let tables: Vec<String> = servers.rules.tables().map(ToString::to_string).collect();
        let publication = &servers.config.publication;
        let agree = format!("{}: rules, publication {publication} and replica identity agree", tables.join(", "));
        return Ok(vec![Finding::ok("stream", facts), Finding::ok("tables", agree)]);
    }
    Ok(problems.into_iter().map(|Problem { problem, remedy }| Finding::problem("stream", problem, remedy)).collect())
}

/// Whether a session can say which history it reads: without, nothing can be cached.
async fn history(servers: &Servers, connection: &mut PgConnection) -> Result<Finding, Trouble> {
    let is_there = "select to_regprocedure('freshline.source()') is not null";
    if !servers.asked(sqlx::query_scalar::<_, bool>(is_there).fetch_one(&mut *connection)).await? {
        return Ok(Finding::problem("history", "the function freshline.source() is missing", "apply the migrations"));
    }
    let told = sqlx::query_scalar::<_, Option<String>>("select freshline.source()").fetch_one(connection);
    Ok(match servers.asked(told).await? {
        Some(history) => Finding::ok("history", history),
        None => Finding::problem(
            "history",
            "freshline.source() is null: this is a standby, or its owner may not see when the checkpointer started; nothing can be cached",
            "name the primary in FRESHLINE_DATABASE_URL; or grant pg_read_all_stats to the function's owner",
        ),
    })
}

/// Whether DDL is told to the stream.
async fn triggers(servers: &Servers, connection: &mut PgConnection) -> Result<Finding, Trouble> {
    let sql = "select array(select wanted from unnest(array['freshline_ddl', 'freshline_drop']) as wanted
                            where not exists (select from pg_event_trigger where evtname = wanted and evtenabled in ('O', 'A')))";
    let missing: Vec<String> = servers.asked(sqlx::query_scalar(sql).fetch_one(connection)).await?;
    if missing.is_empty() {
        return Ok(Finding::ok("ddl", "the event triggers tell the stream of DDL"));
    }
    let says = format!("no event trigger {}: cached rows stay as they were after DDL, until they expire", missing.join(", "));
    let remedy = "as a superuser, run migrations/0005_ddl_messages.sql once more; or alter event trigger … enable";
    Ok(Finding::problem("ddl", says, remedy))
}

/// What the slots hold back: ours have to be read, and none may fill the disk.
fn slots(servers: &Servers, slots: &[HeldBack]) -> Vec<Finding> {
    let own = servers.own_slots();
    let missing = own.iter().filter(|own| slots.iter().all(|slot| slot.slot != own.name));
    let mut findings: Vec<Finding> = missing.map(not_made).collect();
    if own.is_empty() {
        findings.extend(feeding(servers, slots));
    }
    // Topics may be the relay's as well: its slot is ours where it is there.
    let ours = if own.is_empty() { vec![servers.relay_slot()] } else { own };
    let reader = |slot: &HeldBack| ours.iter().find(|own| own.name == slot.slot).map(|own| &*own.reader);
    findings.extend(slots.iter().flat_map(|slot| one_slot(slot, reader(slot), servers.config.slot_warn_bytes)));
    findings
}

fn not_made(OwnSlot { name, reader, variable }: &OwnSlot) -> Finding {
    let says = format!("there is no slot {name} yet: {reader} makes it when it first starts");
    Finding::note("slot", says, format!("start {reader}; or correct {variable}"))
}

/// Under Kafka the connector's slot is known by nothing but its database and that it is read.
fn feeding(servers: &Servers, slots: &[HeldBack]) -> Option<Finding> {
    let database = servers.config.database_url.connect_options();
    let is_ours = |slot: &&HeldBack| slot.database.is_some() && slot.database.as_deref() == database.get_database();
    let read: Vec<&HeldBack> = slots.iter().filter(is_ours).filter(|slot| slot.active_pid.is_some()).collect();
    if read.is_empty() {
        let says = "nobody reads a slot of this database: nothing comes to the topics";
        return Some(Finding::problem("slot", says, "start the Debezium connector, or freshline-relay"));
    }
    let told: Vec<String> =
        read.iter().map(|slot| format!("{} holds back {}", slot.slot, paint::bytes(slot.retained_bytes))).collect();
    Some(Finding::ok("slot", format!("read for the topics, by all appearances: {}", told.join(", "))))
}

/// A slot, and which process of ours reads it, if one does.
fn one_slot(slot: &HeldBack, reader: Option<&str>, held_max: u64) -> Option<Finding> {
    let (name, held) = (&slot.slot, paint::bytes(slot.retained_bytes));
    let drop = format!("select pg_drop_replication_slot('{name}')");
    match slot.wal_status.as_deref() {
        Some("lost") => {
            let says = format!("slot {name} has lost its place in the log");
            let remedy = format!("raise max_slot_wal_keep_size; what reads a slot of ours makes it anew, any other: {drop}");
            return Some(Finding::problem("slot", says, remedy));
        }
        Some("unreserved") => {
            let says = format!("slot {name} is about to lose its place: it holds back {held}");
            return Some(Finding::problem("slot", says, "start what reads it, or raise max_slot_wal_keep_size"));
        }
        _ => {}
    }
    match slot.active_pid {
        None if let Some(reader) = reader => {
            let says = format!("nobody reads from slot {name}: it holds back {held}, and more with each write");
            Some(Finding::problem("slot", says, format!("start {reader}; or, if it is never to run again, {drop}")))
        }
        _ if u64::try_from(slot.retained_bytes).is_ok_and(|held| held > held_max) => {
            let who = slot.active_pid.map_or_else(|| "nobody reads it".to_owned(), |pid| format!("read by process {pid}"));
            let says = format!("slot {name} holds back {held} ({who})");
            Some(Finding::problem("slot", says, format!("see why its reader does not keep up; if it has none any more, {drop}")))
        }
        None => {
            let says = format!("nobody reads from slot {name}, which is not ours: it holds back {held}");
            Some(Finding::note("slot", says, format!("if nobody needs it, {drop}")))
        }
        Some(pid) => reader.map(|_| Finding::ok("slot", format!("{name} is read by process {pid}, and holds back {held}"))),
    }
}

/// Whether anything bounds what a slot holds back.
async fn keep_size(servers: &Servers, connection: &mut PgConnection) -> Result<Finding, Trouble> {
    let sql = "select current_setting('max_slot_wal_keep_size')";
    let size: String = servers.asked(sqlx::query_scalar(sql).fetch_one(connection)).await?;
    if size != "-1" {
        return Ok(Finding::ok(
            "disk",
            format!("max_slot_wal_keep_size is {size}: a slot that is lost to it is made anew by itself"),
        ));
    }
    Ok(Finding::note(
        "disk",
        "max_slot_wal_keep_size is -1: a slot whose reader is away fills the disk",
        "alter system set max_slot_wal_keep_size = '10GB'; select pg_reload_conf()",
    ))
}

/// Whether messages wait that could not be used.
async fn letters(connection: &mut PgConnection) -> Result<Finding, Trouble> {
    use freshline::fault::Classified;
    match dead_letters::waiting(connection).await {
        Ok((0, 0)) => Ok(Finding::ok("dead letters", "none")),
        Ok((new, retry)) => {
            let says = format!("{new} new, {retry} to be tried again");
            Ok(Finding::note("dead letters", says, "freshline dead-letters list"))
        }
        Err(error) => match error.remedy() {
            Some(remedy) => Ok(Finding::problem("dead letters", freshline::telemetry::chain(&error), remedy)),
            None => Err(error.into()),
        },
    }
}
