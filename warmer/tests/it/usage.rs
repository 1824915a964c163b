//! What cannot be used is refused before anything is tried, and told so that it can be mended.

use rstest::rstest;
use stage::{Launch, Process, workspace_binary};

use crate::rig::{Rig, Run, end};

/// A run that has no servers.
async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let launch = Launch::new("freshline-warmer", workspace_binary("freshline-warmer").expect("built"));
    let launch = launch.variables(variables.iter().copied());
    let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(*argument));
    end(Process::start(launch).expect("it starts")).await
}

#[rstest]
#[case::nothing_to_warm(&[], "--all")]
#[case::two_sources(&["--all", "--newest", "5"], "cannot be used with")]
#[case::none_of_them(&["--newest", "0"], "--newest")]
#[case::empty_chunks(&["--all", "--chunk", "0"], "1..=1000")]
#[case::huge_chunks(&["--all", "--chunk", "1001"], "1..=1000")]
#[case::nobody_at_work(&["--all", "--concurrency", "0"], "1..=64")]
#[case::standing_still(&["--all", "--rate", "0"], "1..=10000000")]
#[case::unknown(&["--al"], "--all")]
#[tokio::test]
async fn an_option_that_cannot_be_used_is_named(#[case] arguments: &[&str], #[case] said: &str) {
    let run = run(arguments, &[]).await;
    run.assert_code(2);
    run.assert_said(said);
}

#[tokio::test]
async fn variables_that_cannot_be_used_are_named_all_at_once() {
    let run = run(&["--all"], &[("FRESHLINE_DATABASE_URL", "mysql://x"), ("FRESHLINE_LEASE_TTL_MS", "2s")]).await;
    run.assert_code(2);
    for said in ["FRESHLINE_DATABASE_URL: ", "FRESHLINE_REDIS_URL: is not set", "FRESHLINE_LEASE_TTL_MS=\"2s\": "] {
        run.assert_said(said);
    }
}

#[tokio::test]
async fn the_settings_are_told_without_any() {
    let run = run(&["--settings"], &[]).await;
    run.assert_code(0);
    for name in ["FRESHLINE_DATABASE_URL", "FRESHLINE_NAMESPACE", "FRESHLINE_VALUE_TTL_MS", "FRESHLINE_ABSENT_TTL_MS"] {
        run.assert_said(&format!("| `{name}` |"));
    }
}

#[tokio::test]
async fn help_tells_the_exit_codes() {
    let run = run(&["--help"], &[]).await;
    run.assert_code(0);
    run.assert_said("Exit codes:");
}

#[rstest]
#[case::text("select sku from products", "yields \"sku\" of type text, not uuid")]
#[case::two_columns("select id, sku from products", "yields 2 columns, not one")]
#[case::no_column("select from products", "yields no column")]
#[case::a_parameter("select id from products where sku = $1", "has a parameter")]
#[case::a_typo("selec id from products", "syntax error at or near \"selec\", at character 1")]
#[case::two_statements("select id from products; drop table products", "multiple commands")]
#[case::no_such_table("select id from product", "relation \"product\" does not exist")]
#[case::a_write("update products set price = 0 returning id", "cannot execute UPDATE in a read-only transaction")]
#[case::a_failing_row("select id from products where 1 / (price - price) > 0", "division by zero")]
#[tokio::test]
async fn a_query_that_yields_no_ids_is_refused(#[case] sql: &str, #[case] said: &str) {
    let rig = Rig::open().await;
    rig.products(3).await;
    let run = rig.warm(&["--sql", sql]).await;
    run.assert_code(2);
    run.assert_said(said);
    run.assert_said("one column of type uuid");
}

#[tokio::test]
async fn a_query_cannot_write_even_as_a_superuser() {
    let rig = Rig::open().await;
    rig.products(3).await;
    let url = rig.stage.database_url(stage::Login::Superuser);
    let launch = rig.launch(&["--sql", "update products set price = 0 returning id"]).variable("FRESHLINE_DATABASE_URL", url);
    let run = end(Process::start(launch).expect("it starts")).await;
    run.assert_code(2);
    run.assert_said("read-only transaction");
    assert_eq!(rig.stage.value::<i64>("select count(*) from products where price = 0").await, 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let rig = Rig::open().await;
    for path in ["/nowhere/ids", "/"] {
        let run = rig.warm(&["--ids-file", path]).await;
        run.assert_code(2);
        run.assert_said(&format!("{path} cannot be read"));
    }
}
