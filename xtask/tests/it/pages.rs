//! What README, the tutorial and the guide to own tables say is what happens.

use std::net::TcpListener;

use crate::page::{Beside, Step, steps};

#[tokio::test]
async fn the_first_minute_goes_as_the_readme_says() {
    let minute = steps("README.md");
    assert_eq!(minute.iter().filter(|step| matches!(step, Step::Command(..))).count(), 4, "two reads, a change and a read");
    let mut beside = Beside::up().await;
    beside.follow("README.md").await;
    beside.down().await;
}

#[tokio::test]
async fn the_tutorial_goes_as_it_says() {
    let mut beside = Beside::up().await;
    beside.follow("docs/tutorial.md").await;
    beside.down().await;
}

#[tokio::test]
async fn tables_of_somebody_else_are_followed_as_the_guide_says() {
    let mut beside = Beside::up().await;
    let (postgres, blog) = (beside.database("postgres"), beside.database("blog"));
    beside
        .run(&format!("psql -q '{postgres}' -c 'create database blog'; export BLOG='{blog}' REDIS=\"$(cat .freshline/redis-url)\""))
        .await;
    let port = TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port");
    beside.instead_of("127.0.0.1:9112", port.to_string());
    beside.follow("docs/own-tables.md").await;
    beside.down().await;
}
