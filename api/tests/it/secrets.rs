//! Secrets: from files as well as from variables, and in no log.

use std::fs;

use reqwest::{Method, StatusCode};
use stage::{Fault, Login, Process, Stage, servers::Home, until};

use crate::support::{Api, launch};

#[tokio::test]
async fn passwords_come_from_files() {
    let stage = Stage::new().await;
    let home = Home::scratch().expect("a directory");
    let (postgres, redis) = (stage.postgres().password(Login::Api), stage.redis().password(Login::Api));
    let file = |name: &str, text: String| home.write(name, &text).expect("written").display().to_string();
    let without = |url: String, password: &str| url.replacen(&format!(":{password}@"), "@", 1);
    // A password beside a URL that names none, and a URL in a file of its own, whose last line ends.
    let database_url = without(stage.database_url(Login::Api), postgres);
    assert!(!database_url.contains(postgres));
    let launch = launch(&stage)
        .variable("FRESHLINE_DATABASE_URL", database_url)
        .variable("FRESHLINE_DATABASE_PASSWORD_FILE", file("postgres", format!("{postgres}\n")))
        .variable("FRESHLINE_REDIS_URL", without(stage.redis_url(Login::Api), redis))
        .variable("FRESHLINE_REDIS_PASSWORD_FILE", file("redis", redis.to_owned()));
    let mut api = Api::start(launch).await;
    api.process.line("connected to Redis").await;
    api.made("a", "1").await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_or_goes_beside_its_variable_is_refused() {
    let stage = Stage::new().await;
    let both = launch(&stage).variable("FRESHLINE_DATABASE_URL_FILE", "/nowhere").variable("FRESHLINE_REDIS_PASSWORD", "x");
    let mut process = Process::start(both).expect("it starts");
    assert_eq!(process.wait(stage::WAIT_MAX).await.expect("it ends").code(), Some(2));
    let log = process.lines().join("\n");
    for part in [
        "FRESHLINE_DATABASE_URL_FILE=\"/nowhere\": cannot be read (No such file",
        "FRESHLINE_REDIS_PASSWORD: is set, and FRESHLINE_REDIS_URL has a password as well",
    ] {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
    let home = Home::scratch().expect("a directory");
    let url = home.write("url", &stage.database_url(Login::Api)).expect("written");
    let twice = launch(&stage).variable("FRESHLINE_DATABASE_URL_FILE", url.display().to_string());
    let mut process = Process::start(twice).expect("it starts");
    assert_eq!(process.wait(stage::WAIT_MAX).await.expect("it ends").code(), Some(2));
    let log = process.lines().join("\n");
    assert!(log.contains("is set, and so is FRESHLINE_DATABASE_URL. Write the path of a file"), "{log}");
    assert!(!log.contains(stage.postgres().password(Login::Api)), "{log}");
    fs::remove_file(url).expect("it is there");
}

#[tokio::test]
async fn no_log_holds_a_password_whatever_goes_wrong_and_however_much_is_logged() {
    let stage = Stage::new().await;
    let (redis, postgres) = (stage.redis_proxy().await, stage.postgres_proxy().await);
    let launch = launch(&stage)
        .variable("FRESHLINE_REDIS_URL", redis.before(&stage.redis_url(Login::Api)))
        .variable("FRESHLINE_DATABASE_URL", postgres.before(&stage.database_url(Login::Api)))
        .variable("FRESHLINE_API_SESSION_WAIT_MS", "500")
        .variable("FRESHLINE_LOG", "trace");
    let api = Api::start(launch).await;
    let product = api.made("a", "1").await;
    let path = format!("/products/{}", product["id"].as_str().expect("an id"));
    for fault in [Fault::Refuse, Fault::HoldReplies, Fault::None] {
        redis.set(fault);
        postgres.set(fault);
        api.get(&path).await;
        api.send(Method::PATCH, &path, r#"{"price":2}"#).await;
    }
    until("it has recovered", async || api.get(&path).await.status == StatusCode::OK).await;
    // Logins that are refused, told with their cause.
    stage.sql(&format!("revoke connect on database {} from public", stage.name())).await;
    stage.redis().run::<()>(&["ACL", "SETUSER", Login::Api.redis_name(), "off"]).await.expect("set");
    redis.cut();
    postgres.cut();
    until("both refuse", async || api.get(&path).await.status != StatusCode::OK).await;
    let log = api.process.lines();
    assert!(log.iter().any(|line| line.contains(" DEBUG ")), "it was to log all there is");
    for password in [stage.postgres().password(Login::Api), stage.redis().password(Login::Api)] {
        let told: Vec<_> = log.iter().filter(|line| line.contains(password)).collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}
