//! What is wrong is refused at start, with the statement that mends it.

use stage::{Login, Process, Stage};

use crate::house::launch;

/// Starts an invalidator that is to refuse, and answers with what it logged.
async fn refused(stage: &Stage, variables: &[(&str, &str)]) -> String {
    let launch = variables.iter().fold(launch(stage), |launch, (name, value)| launch.variable(*name, *value));
    let mut process = Process::start(launch).expect("it starts");
    let status = process.wait(stage::WAIT_MAX).await.expect("it ends");
    assert!(!status.success(), "it ended well: {}", process.tail());
    process.lines().join("\n")
}

#[tokio::test]
async fn every_unusable_setting_is_named_at_once_with_its_remedy() {
    let stage = Stage::new().await;
    let variables = [("FRESHLINE_POLL_MS", "5s"), ("FRESHLINE_STRIPES", "0"), ("FRESHLINE_INVALIDATOR_ADDRESS", "here")];
    let told = refused(&stage, &variables).await;
    for (name, value) in variables {
        assert!(told.contains(name) && told.contains(value), "{name} is not named in:\n{told}");
    }
}

#[tokio::test]
async fn a_missing_publication_is_refused_with_the_statement_that_makes_it() {
    let stage = Stage::new().await;
    stage.sql("drop publication freshline").await;
    let told = refused(&stage, &[]).await;
    assert!(told.contains("create publication"), "{told}");
}

#[tokio::test]
async fn a_table_that_is_not_published_is_refused_with_the_statement_that_adds_it() {
    let stage = Stage::new().await;
    stage.sql("alter publication freshline drop table products").await;
    let told = refused(&stage, &[]).await;
    assert!(told.contains("alter publication") && told.contains("add table"), "{told}");
}

#[tokio::test]
async fn an_identity_that_cannot_carry_the_rules_is_refused_with_the_statement_that_widens_it() {
    let stage = Stage::new().await;
    stage.sql("alter table products replica identity nothing").await;
    let told = refused(&stage, &[]).await;
    assert!(told.contains("replica identity full"), "{told}");
}

#[tokio::test]
async fn a_role_without_replication_is_refused_with_the_statement_that_grants_it() {
    let stage = Stage::new().await;
    let told = refused(&stage, &[("FRESHLINE_DATABASE_URL", &stage.database_url(Login::Warmer))]).await;
    assert!(told.contains("replication"), "{told}");
}

#[tokio::test]
async fn a_missing_identity_function_is_refused() {
    let stage = Stage::new().await;
    stage.sql("drop function freshline.source() cascade").await;
    let told = refused(&stage, &[]).await;
    assert!(told.contains("freshline.source()") && told.contains("migrations"), "{told}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_tried_for_ever() {
    let stage = Stage::new().await;
    let url = stage.database_url(Login::Invalidator);
    let password = stage.postgres().password(Login::Invalidator).to_owned();
    let told = refused(&stage, &[("FRESHLINE_DATABASE_URL", &url.replace(&password, "wrong"))]).await;
    assert!(told.contains("FRESHLINE_DATABASE_URL"), "{told}");
    assert!(!told.contains(&password), "a password is in the log:\n{told}");
}

#[tokio::test]
async fn a_rules_file_with_an_unknown_column_is_refused() {
    let stage = Stage::new().await;
    let rules = stage.redis().home().path().join("rules.toml");
    std::fs::write(&rules, "[[table]]\nname = \"public.products\"\nkey = \"products:{id}\"\naction = \"refresh\"\ntags = [{ name = \"by:{colour}\" }]\n")
        .expect("written");
    let told = refused(&stage, &[("FRESHLINE_RULES", rules.to_str().expect("a path"))]).await;
    assert!(told.contains("colour"), "{told}");
}
