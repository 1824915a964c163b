//! Bytes as a real server made them, of every kind of message, and what they mean.
//!
//! `tests/golden/*.bin` were captured from Postgres 15: each message, its length (32 bits, big endian) before it. The same is asked
//! of the server at hand, so a version that says it differently is noticed. To capture them anew:
//! `FRESHLINE_GOLDEN=write cargo test -p freshline --test it golden`.

use std::path::PathBuf;

use bytes::{Buf, BufMut, Bytes};
use freshline::{
    change::{Column, Event, Relation},
    replication::pgoutput::Decoder,
};
use rstest::rstest;
use stage::Stage;

use super::told;

/// The first object id that is not Postgres's own (`FirstNormalObjectId`); from here on they differ from capture to capture.
const USER_ID_MIN: u32 = 16_384;

struct Scenario {
    name: &'static str,
    /// Before the slot is made.
    setup: &'static str,
    /// Each a transaction.
    steps: &'static [&'static str],
    /// First byte of each message, and what it means.
    told: &'static [&'static str],
}

const INSERT: Scenario = Scenario {
    name: "insert",
    setup: "create table things (id int primary key, name varchar(20), price numeric(12,2), note text)",
    steps: &["insert into things values (1, 'ü', 9.5, null), (2, '', 0, 'n')"],
    told: &[
        "B",
        "R",
        "I Insert things - 1,ü,9.50,∅ of public.things Default (id:23:-1 key, name:1043:24, price:1700:786438, note:25:-1)",
        "I Insert things - 2,,0.00,n of public.things Default (id:23:-1 key, name:1043:24, price:1700:786438, note:25:-1)",
        "C",
    ],
};

const UPDATE: Scenario = Scenario {
    name: "update",
    setup: "create table keyed (id int primary key, body text); alter table keyed alter body set storage external;
            create table whole (id int, body text); alter table whole replica identity full;
            alter table whole alter body set storage external;
            insert into keyed values (1, repeat('x', 3000)); insert into whole values (1, 'small'), (2, null)",
    steps: &[
        "update keyed set body = 'short'",
        "update keyed set id = 2",
        "update whole set id = id + 10",
        "update keyed set body = repeat('y', 3000)",
        "update keyed set id = 3",
    ],
    told: &[
        "B",
        "R",
        "U Update keyed - 1,short of public.keyed Default (id:23:-1 key, body:25:-1)",
        "C",
        "B",
        "U Update keyed 1,… 2,short of public.keyed Default (id:23:-1 key, body:25:-1)",
        "C",
        "B",
        "R",
        "U Update whole 1,small 11,small of public.whole Full (id:23:-1 key, body:25:-1 key)",
        "U Update whole 2,∅ 12,∅ of public.whole Full (id:23:-1 key, body:25:-1 key)",
        "C",
        "B",
        "U Update keyed - 2,<3000> of public.keyed Default (id:23:-1 key, body:25:-1)",
        "C",
        "B",
        "U Update keyed 2,… 3,… of public.keyed Default (id:23:-1 key, body:25:-1)",
        "C",
    ],
};

const DELETE: Scenario = Scenario {
    name: "delete",
    setup: "create table keyed (id int primary key, body text); create table whole (id int, body text);
            create table indexed (a int not null, b int not null, c int); create unique index by_b on indexed (b);
            alter table whole replica identity full; alter table indexed replica identity using index by_b;
            insert into keyed values (1, 'a'); insert into whole values (1, null); insert into indexed values (1, 2, 3)",
    steps: &["delete from keyed", "delete from whole", "delete from indexed"],
    told: &[
        "B",
        "R",
        "D Delete keyed 1,… - of public.keyed Default (id:23:-1 key, body:25:-1)",
        "C",
        "B",
        "R",
        "D Delete whole 1,∅ - of public.whole Full (id:23:-1 key, body:25:-1 key)",
        "C",
        "B",
        "R",
        "D Delete indexed …,2,… - of public.indexed Index (a:23:-1, b:23:-1 key, c:23:-1)",
        "C",
    ],
};

const TRUNCATE: Scenario = Scenario {
    name: "truncate",
    setup: "create table parents (id int primary key); create table children (id int references parents)",
    steps: &["truncate children", "truncate parents restart identity cascade"],
    told: &["B", "R", "T children", "C", "B", "R", "R", "T children parents", "C"],
};

const MESSAGE: Scenario = Scenario {
    name: "message",
    setup: "select 1",
    // In this order, for a message that is not transactional does not force the log out.
    steps: &["select pg_logical_emit_message(false, 'not', 'x')", "select pg_logical_emit_message(true, 'told', '\\x00ff'::bytea)"],
    told: &["M", "B", "M told b\"\\0\\xff\"", "C"],
};

const CHANGED: Scenario = Scenario {
    name: "relation_changed",
    setup: "create schema \"Other\"; create table \"Other\".\"T\" (id int primary key)",
    steps: &[
        "insert into \"Other\".\"T\" values (1)",
        "alter table \"Other\".\"T\" add note text; alter table \"Other\".\"T\" replica identity nothing",
        "insert into \"Other\".\"T\" values (2, 'n')",
    ],
    told: &[
        "B",
        "R",
        "I Insert T - 1 of Other.T Default (id:23:-1 key)",
        "C",
        "B",
        "R",
        "I Insert T - 2,n of Other.T Nothing (id:23:-1, note:25:-1)",
        "C",
    ],
};

const TYPE: Scenario = Scenario {
    name: "type",
    setup: "create type mood as enum ('sad', 'glad'); create table people (id int primary key, now mood)",
    steps: &["insert into people values (1, 'glad')"],
    told: &["B", "Y", "R", "I Insert people - 1,glad of public.people Default (id:23:-1 key, now:user:-1)", "C"],
};

const ORIGIN: Scenario = Scenario {
    name: "origin",
    setup: "create table things (id int primary key)",
    steps: &["begin; select pg_replication_origin_session_setup(current_database()); insert into things values (1); \
         select pg_replication_origin_xact_setup('0/AB', '2024-01-01'); commit; select pg_replication_origin_session_reset()"],
    told: &["B", "O", "R", "I Insert things - 1 of public.things Default (id:23:-1 key)", "C"],
};

#[rstest]
#[case(INSERT)]
#[case(UPDATE)]
#[case(DELETE)]
#[case(TRUNCATE)]
#[case(MESSAGE)]
#[case(CHANGED)]
#[case(TYPE)]
#[case(ORIGIN)]
#[tokio::test]
async fn a_server_s_bytes_mean_what_it_did(#[case] scenario: Scenario) {
    let here = capture(&scenario).await;
    let told: Vec<&str> = scenario.told.iter().copied().filter(|message| !describes(message)).collect();
    let mut here_told = meaning(&here);
    here_told.retain(|message| !describes(message));
    leave_out_empty(&mut here_told);
    assert_eq!(here_told, told, "this server's {}", scenario.name);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{}.bin", scenario.name));
    if std::env::var_os("FRESHLINE_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, packed(&here)).expect("a golden file is written");
    }
    let golden = unpacked(std::fs::read(&path).expect("a golden file").into());
    assert_eq!(meaning(&golden), scenario.told, "{}", path.display());
}

// Tables and types may be described again at any time, as when a vacuum has touched the catalogue.
fn describes(message: &str) -> bool {
    ["R", "Y"].contains(&message)
}

/// Version 14 tells of transactions that change nothing of what is published; those after it do not.
fn leave_out_empty(told: &mut Vec<String>) {
    while let Some(at) = told.windows(2).position(|two| two == ["B", "C"]) {
        told.drain(at..at + 2);
    }
}

async fn capture(scenario: &Scenario) -> Vec<Bytes> {
    let t = Stage::new().await;
    let name = t.name();
    // The migrations' own messages about DDL are not what is looked at here.
    t.sql("drop event trigger freshline_ddl; drop event trigger freshline_drop").await;
    t.sql(scenario.setup).await;
    t.sql("create publication golden for all tables").await;
    t.sql(&format!("select pg_replication_origin_create('{name}')")).await;
    t.sql(&format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    for step in scenario.steps {
        t.sql(step).await;
    }
    let sql = "select data from pg_logical_slot_get_binary_changes($1, null, null,
               'proto_version', '1', 'publication_names', 'golden', 'messages', 'true')";
    let messages: Vec<Vec<u8>> = sqlx::query_scalar(sql).bind(name).fetch_all(t.pool()).await.expect("the messages");
    t.sql(&format!("select pg_replication_origin_drop('{name}')")).await;
    messages.into_iter().map(Bytes::from).collect()
}

fn packed(messages: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        out.put_u32(message.len() as u32);
        out.put_slice(message);
    }
    out
}

fn unpacked(mut file: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while file.has_remaining() {
        let len = file.get_u32() as usize;
        messages.push(file.split_to(len));
    }
    messages
}

fn meaning(messages: &[Bytes]) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut meaning = |message: &Bytes| {
        let event = decoder.decode(message).expect("a message of a real server");
        format!("{}{}", char::from(message[0]), event.as_ref().map(event_meaning).unwrap_or_default())
    };
    messages.iter().map(&mut meaning).collect()
}

fn event_meaning(event: &Event) -> String {
    match event {
        Event::Begin { xid, .. } => {
            assert!(xid.0 >= 3, "{xid:?}");
            String::new()
        }
        Event::Commit { end, .. } => {
            assert!(end.get() > 1 << 20, "{end}");
            String::new()
        }
        Event::Row(change) => {
            let told = told(change).replace(&"y".repeat(3000), "<3000>");
            format!(" {told} of {}", relation_meaning(&change.relation))
        }
        Event::Truncate { relations } => {
            let mut names: Vec<&str> = relations.iter().map(|relation| &*relation.name).collect();
            names.sort_unstable();
            format!(" {}", names.join(" "))
        }
        Event::Message { prefix, content } => format!(" {prefix} {content:?}"),
        Event::Reached { .. } | Event::CaughtUp | Event::Hole { .. } => panic!("no decoder says this"),
    }
}

fn relation_meaning(relation: &Relation) -> String {
    assert!(relation.id >= USER_ID_MIN);
    let column = |column: &Column| {
        let id = if column.type_id < USER_ID_MIN { column.type_id.to_string() } else { "user".to_owned() };
        let key = if column.in_identity { " key" } else { "" };
        format!("{}:{id}:{}{key}", column.name, column.type_modifier)
    };
    let columns: Vec<String> = relation.columns.iter().map(column).collect();
    format!("{}.{} {:?} ({})", relation.schema, relation.name, relation.identity, columns.join(", "))
}
