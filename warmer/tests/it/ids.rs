//! Where the ids come from, and what of them is counted and named.

use std::{io::Write, process::Stdio};

use stage::Login;

use crate::rig::{NOBODY, Rig};

#[tokio::test]
async fn all_products_are_warmed_and_found_there_by_the_next_run() {
    let rig = Rig::open().await;
    let ids = rig.products(37).await;
    let first = rig.warm(&["--all", "--chunk", "10"]).await;
    first.assert_code(0);
    first.assert_counts(&[("ids", 37), ("filled", 37)]);
    assert_eq!(rig.assert_true(&ids).await, 37);
    let second = rig.warm(&["--all"]).await;
    second.assert_code(0);
    second.assert_counts(&[("ids", 37), ("already-there", 37)]);
}

#[tokio::test]
async fn a_table_of_many_pages_and_stripes_is_warmed_whole() {
    let rig = Rig::closed_with(7).await;
    rig.open_cache().await;
    rig.products(20_001).await;
    let run = rig.warm(&["--all", "--chunk", "500"]).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 20_001), ("filled", 20_001)]);
}

#[tokio::test]
async fn the_newest_are_those_that_were_made_last() {
    let rig = Rig::open().await;
    let ids = rig.products(12).await;
    rig.warm(&["--newest", "5"]).await.assert_counts(&[("ids", 5), ("filled", 5)]);
    assert_eq!(rig.assert_true(&ids[..7]).await, 0);
    assert_eq!(rig.assert_true(&ids[7..]).await, 5);
    let more_than_there_are = rig.warm(&["--newest", "100"]).await;
    more_than_there_are.assert_code(0);
    more_than_there_are.assert_counts(&[("ids", 12), ("filled", 7), ("already-there", 5)]);
}

#[tokio::test]
async fn a_file_is_read_line_by_line_and_what_is_wrong_in_it_is_counted_and_named() {
    let rig = Rig::open().await;
    let ids = rig.products(3).await;
    let lines = [
        format!("\u{feff}{}", ids[0]),
        "lamp".to_owned(),
        format!("  {}\r", ids[1].simple()),
        String::new(),
        ids[0].to_string().to_uppercase(),
        "x".repeat(5000),
        NOBODY.to_string(),
        ids[2].urn().to_string(),
    ];
    let run = rig.warm_file(&lines.join("\n")).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 4), ("filled", 3), ("absent", 1), ("malformed", 2), ("duplicates", 1)]);
    run.assert_said("line 2: \"lamp\" is no id");
    run.assert_said(&format!("line 5: {} came before", ids[0]));
    run.assert_said("line 6: \"xxxx");
    assert_eq!(rig.assert_true(&ids).await, 3);
    assert_eq!(rig.cached(NOBODY).await, Some(None), "that there is no such row is known");
}

#[tokio::test]
async fn ids_come_from_standard_input() {
    let rig = Rig::open().await;
    let ids = rig.products(2).await;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_freshline-warmer"))
        .args(["--ids-file", "-"])
        .envs([
            ("FRESHLINE_DATABASE_URL", rig.stage.database_url(Login::Warmer)),
            ("FRESHLINE_REDIS_URL", rig.stage.redis_url(Login::Warmer)),
            ("FRESHLINE_NAMESPACE", rig.stage.name().to_owned()),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the warmer starts");
    writeln!(child.stdin.take().expect("piped"), "{}\n{}", ids[0], ids[1]).expect("written");
    let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("no panic").expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(rig.assert_true(&ids).await, 2);
}

#[tokio::test]
async fn a_query_yields_the_ids() {
    let rig = Rig::open().await;
    let ids = rig.products(9).await;
    let sql = "with cheap as (select id from products where price <= 4)
               select id from cheap union all select id from cheap where id = (select min(id::text)::uuid from cheap)
               union all select null";
    let run = rig.warm(&["--sql", sql]).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 4), ("filled", 4), ("malformed", 1), ("duplicates", 1)]);
    run.assert_said(&format!("row 5: {} came before", ids[0]));
    run.assert_said("row 6: \"null\" is no id");
}

#[tokio::test]
async fn nothing_to_warm_is_no_failure() {
    let rig = Rig::open().await;
    for arguments in [["--all"].as_slice(), &["--newest", "3"], &["--sql", "select id from products"]] {
        let run = rig.warm(arguments).await;
        run.assert_code(0);
        run.assert_counts(&[]);
    }
    rig.warm_file("\n\n").await.assert_code(0);
}

#[tokio::test]
async fn where_nothing_is_an_id_nothing_was_tried() {
    let rig = Rig::open().await;
    let run = rig.warm_file("lamp\nchair\n").await;
    run.assert_code(2);
    run.assert_counts(&[("malformed", 2)]);
    run.assert_said("of 2 read");
    rig.warm(&["--sql", "select null::uuid"]).await.assert_code(2);
}

#[tokio::test]
async fn of_many_wrong_lines_the_first_are_named_and_all_are_counted() {
    let rig = Rig::open().await;
    let ids = rig.products(1).await;
    let run = rig.warm_file(&("wrong\n".repeat(1000) + &ids[0].to_string())).await;
    run.assert_code(0);
    run.assert_counts(&[("ids", 1), ("filled", 1), ("malformed", 1000)]);
    assert_eq!(run.lines.iter().filter(|line| line.contains("is no id")).count(), 21);
}
