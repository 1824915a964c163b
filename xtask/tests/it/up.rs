//! Everything up, and down again.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use stage::servers::Home;
use stage::{Launch, Process, until};

use crate::fake;

/// Everything is started, or stopped, well within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(180);

/// A place of its own for one test. Whatever is still up in it when it is dropped is taken down.
struct Place {
    scratch: Home,
}

impl Place {
    fn new(broken: Option<&str>) -> Self {
        let scratch = Home::scratch().expect("a scratch directory");
        fake::programs(scratch.path(), broken);
        Self { scratch }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn arguments(&self, verb: &[&str]) -> Vec<String> {
        let home = self.path().join("home").display().to_string();
        let mut arguments: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(["--home".to_owned(), home]);
        if verb.first() == Some(&"up") {
            arguments.extend(["--programs".to_owned(), self.path().join("programs").display().to_string()]);
        }
        arguments
    }

    /// Runs a verb to its end.
    fn run(&self, verb: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(self.arguments(verb)).output().expect("xtask runs")
    }

    /// Starts `up` and waits until it says that it is ready, and that the warm run is over.
    async fn up(&self, options: &[&str]) -> Process {
        let mut up = Process::start(self.launch(options)).expect("up starts");
        up.line_within(PATIENCE, "the warm run is over").await; // initdb, synced, takes most of it
        up
    }

    fn launch(&self, options: &[&str]) -> Launch {
        let launch = Launch::new("up", env!("CARGO_BIN_EXE_xtask")).ended_in_order();
        self.arguments(&[&["up"], options].concat()).into_iter().fold(launch, Launch::argument)
    }

    fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }

    fn member(&self, name: &str) -> Value {
        let status = self.status();
        let members = status["processes"].as_array().expect("a list").clone();
        members.into_iter().find(|member| member["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    fn pid(&self, name: &str) -> Option<u64> {
        self.member(name)["pid"].as_u64()
    }

    /// The names of all processes.
    fn names(&self) -> Vec<String> {
        let status = self.status();
        let members = status["processes"].as_array().expect("a list");
        members.iter().filter_map(|member| member["name"].as_str().map(str::to_owned)).collect()
    }

    /// The pids of everything that runs.
    fn pids(&self) -> Vec<u64> {
        let status = self.status();
        status["processes"].as_array().expect("a list").iter().filter_map(|member| member["pid"].as_u64()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A zombie that nobody has reaped yet is not alive.
fn is_alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

fn kill(pid: u64) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "process {pid} is there to be killed");
}

#[tokio::test]
async fn everything_is_up_with_an_address_and_a_url_for_each_login_and_ctrl_c_leaves_nothing() {
    let place = Place::new(None);
    let mut up = place.up(&["--api", "3"]).await;
    let status = place.status();
    assert_eq!(place.names(), ["api-1", "api-2", "api-3", "invalidator", "demo", "warmer", "postgres", "redis"]);
    assert_eq!((status["up"].as_bool(), status["ready"].as_bool()), (Some(true), Some(true)), "{status}");
    for login in ["superuser", "api", "invalidator", "warmer"] {
        let url = status["postgres"][login].as_str().expect("a URL");
        let connection = PgConnection::connect(url).await.unwrap_or_else(|error| panic!("{login} of Postgres: {error}"));
        connection.close().await.expect("a clean end");
        let client = redis::Client::open(status["redis"][login].as_str().expect("a URL")).expect("a URL");
        client.get_multiplexed_async_connection().await.unwrap_or_else(|error| panic!("{login} of Redis: {error}"));
    }
    let pids = place.pids();
    assert_eq!(pids.len(), 7, "all but the warmer run: {status}");
    up.interrupt().expect("a Ctrl-C");
    up.line("stopping everything").await;
    up.interrupt().expect("the same Ctrl-C, as `timeout` sends it: to the process, then to its group");
    let ended = up.wait(PATIENCE).await.expect("it ends");
    assert!(ended.success(), "{ended}: {}", up.tail());
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "something is left of {pids:?}: {}", up.tail());
    assert_eq!(place.run(&["status"]).status.code(), Some(1), "nothing is up any more");
}

#[tokio::test]
async fn whatever_dies_is_started_again_and_said_so() {
    let place = Place::new(None);
    let mut up = place.up(&[]).await;
    for name in ["api-1", "invalidator", "demo", "redis", "postgres"] {
        let before = place.pid(name).expect("it runs");
        kill(before);
        up.line(&format!("{name:11} | it ended")).await;
        until("another process has its name", async || place.pid(name).is_some_and(|pid| pid != before)).await;
    }
    up.line("started again").await;
}

#[tokio::test]
async fn a_second_up_finds_its_data_and_ports_again_and_a_fresh_one_does_not() {
    let place = Place::new(None);
    let mut up = place.up(&[]).await;
    let first = place.status();
    let url = first["postgres"]["superuser"].as_str().expect("a URL");
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    sqlx::raw_sql("create table remembered (id int)").execute(&mut connection).await.expect("a table");
    connection.close().await.expect("a clean end");
    up.stop(PATIENCE).await.expect("it stops");
    for (options, remembered) in [(&[][..], true), (&["--fresh"], false)] {
        let mut up = place.up(options).await;
        let status = place.status();
        assert!(!remembered || status["postgres"] == first["postgres"], "the same port and passwords");
        let mut connection =
            PgConnection::connect(status["postgres"]["superuser"].as_str().expect("a URL")).await.expect("a connection");
        let there: bool =
            sqlx::query_scalar("select to_regclass('remembered') is not null").fetch_one(&mut connection).await.expect("an answer");
        assert_eq!(there, remembered, "with {options:?}");
        connection.close().await.expect("a clean end");
        up.stop(PATIENCE).await.expect("it stops");
    }
}

/// The names of the slots in this place's Postgres.
async fn slots(place: &Place) -> Vec<String> {
    let mut connection = superuser(place).await;
    let slots = sqlx::query_scalar("select slot_name::text from pg_replication_slots").fetch_all(&mut connection).await;
    connection.close().await.expect("a clean end");
    slots.expect("an answer")
}

async fn superuser(place: &Place) -> PgConnection {
    let status = place.status();
    PgConnection::connect(status["postgres"]["superuser"].as_str().expect("a URL")).await.expect("a connection")
}

#[tokio::test]
async fn nats_is_up_with_the_relay_where_it_is_the_source_and_goes_with_its_slot_where_it_is_not() {
    let place = Place::new(None);
    let mut up = place.up(&["--source", "nats"]).await;
    let first = place.status();
    assert_eq!(first["source"], "nats");
    let url = first["broker"].as_str().expect("a URL").to_owned();
    let (login, server) = url.split_once('@').expect("a URL with a login");
    let password = login.rsplit(':').next().expect("a password");
    for told in ["SOURCE=nats", &format!("NATS_URL=nats://{server}"), &format!("NATS_PASSWORD={password}"), "RELAY_SLOT="] {
        up.line(&format!("relay       | FRESHLINE_{told}")).await;
    }
    up.line("invalidator | FRESHLINE_SOURCE=nats").await;
    let before = place.pid("nats").expect("it runs");
    kill(before);
    up.line("nats        | it ended").await;
    until("another process serves", async || place.pid("nats").is_some_and(|pid| pid != before)).await;
    let mut connection = superuser(&place).await;
    let slot = "select pg_create_logical_replication_slot('freshline_relay', 'pgoutput')";
    sqlx::raw_sql(slot).execute(&mut connection).await.expect("as the relay does");
    connection.close().await.expect("a clean end");
    up.stop(PATIENCE).await.expect("it stops");
    assert!(place.path().join("home/nats").exists(), "its data stays");

    let mut up = place.up(&["--source", "nats"]).await;
    assert_eq!((place.status()["broker"].as_str(), slots(&place).await), (Some(url.as_str()), vec!["freshline_relay".to_owned()]));
    up.stop(PATIENCE).await.expect("it stops");
    let _up = place.up(&[]).await;
    assert_eq!(slots(&place).await, Vec::<String>::new(), "nobody reads what the relay read");
    assert!(!place.path().join("home/nats").exists(), "what it holds would lack what happens now");
}

#[tokio::test]
async fn kafka_is_up_with_debezium_where_it_is_the_source_and_what_dies_of_it_is_started_again() {
    let place = Place::new(None);
    let mut up = place.up(&["--source", "kafka"]).await;
    up.line("invalidator | FRESHLINE_KAFKA_TOPICS=freshline.all").await;
    assert_eq!(slots(&place).await, ["freshline_debezium"]);
    for name in ["kafka", "connect"] {
        let before = place.pid(name).expect("it runs");
        kill(before);
        up.line_within(PATIENCE, &format!("{name:11} | started again")).await;
        until("another process has its name", async || place.pid(name).is_some_and(|pid| pid != before)).await;
    }
    let pids = place.pids();
    up.stop(PATIENCE).await.expect("it stops");
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "something is left of {pids:?}");
}

#[tokio::test]
async fn a_detached_up_returns_when_ready_keeps_a_second_one_out_and_is_taken_down() {
    let place = Place::new(None);
    let detached = place.run(&["up", "--detach"]);
    assert!(detached.status.success(), "{}", text(&detached));
    let pids = place.pids();
    assert!(pids.len() >= 5 && pids.iter().all(|pid| is_alive(*pid)), "{}", place.status());
    let second = place.run(&["up"]);
    assert!(!second.status.success() && text(&second).contains("it is up already"), "{}", text(&second));
    let down = place.run(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "something is left of {pids:?}");
    let nothing = place.run(&["down"]);
    assert!(nothing.status.success() && text(&nothing).contains("Nothing is up"), "{}", text(&nothing));
}

#[tokio::test]
async fn an_up_that_was_killed_is_no_obstacle_to_the_next() {
    let place = Place::new(None);
    let mut up = place.up(&[]).await;
    let pids = place.pids();
    up.kill().await.expect("it is killed");
    assert_eq!(place.run(&["status"]).status.code(), Some(1), "its pid is stale");
    let _next = place.up(&[]).await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "something is left of {pids:?}");
}

#[tokio::test]
async fn the_demonstration_is_left_out_where_it_is_not_wanted() {
    let place = Place::new(None);
    let nothing = place.run(&["usual-way"]);
    assert!(!nothing.status.success() && text(&nothing).contains("nothing is up"), "{}", text(&nothing));
    let _up = place.up(&["--no-demo"]).await;
    assert!(!place.names().contains(&"demo".to_owned()), "{}", place.status());
    let none = place.run(&["usual-way"]);
    assert!(!none.status.success() && text(&none).contains("without --no-demo"), "{}", text(&none));
}

#[tokio::test]
async fn a_taken_port_is_passed_over_and_said_so() {
    let place = Place::new(None);
    // Not one that the kernel gives out by itself: the port after it is to stay free.
    let taken = (23_000..24_000).find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok()).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let mut up = place.up(&["--api", "1", "--port", &port.to_string()]).await;
    assert_ne!(place.member("api-1")["address"], format!("127.0.0.1:{port}"));
    up.line(&format!("another program listens on port {port}")).await;
}

#[tokio::test]
async fn a_program_that_refuses_to_start_ends_the_up_with_its_own_words_and_leaves_nothing() {
    let place = Place::new(Some("freshline-invalidator"));
    let mut up = Process::start(place.launch(&[])).expect("up starts");
    let ended = up.wait(PATIENCE).await.expect("it ends by itself");
    assert_eq!(ended.code(), Some(1));
    let error = up.lines().into_iter().skip_while(|line| !line.starts_with("error:")).collect::<Vec<_>>().join("\n");
    assert!(error.contains("invalidator ended 3 times") && error.contains("it is not to its liking"), "{error}");
    assert!(!place.path().join("home/state.json").exists(), "nothing is said to run");
}

#[tokio::test]
async fn servers_that_were_given_are_used_and_left_running() {
    let (place, given) = (Place::new(None), stage::Stage::own().await);
    let (database, cache) = (given.database_url(stage::Login::Superuser), given.redis_url(stage::Login::Superuser));
    // As on a server of somebody else's, where the migrations have only just made the roles.
    given.sql("alter role freshline_api password null; alter role freshline_invalidator password null").await;
    given.sql("alter role freshline_warmer password null").await;
    let mut up = place.up(&["--database-url", &database, "--redis-url", &cache]).await;
    let status = place.status();
    assert!(!place.names().contains(&"demo".to_owned()), "what holds commits has no business here: {status}");
    assert_eq!((&status["postgres"]["superuser"], &status["redis"]["api"]), (&Value::from(database), &Value::from(cache)));
    let connection = PgConnection::connect(status["postgres"]["api"].as_str().expect("a URL")).await.expect("the role logs in");
    connection.close().await.expect("a clean end");
    up.stop(PATIENCE).await.expect("it stops");
    given.sql("select 1").await;
    given.redis().run::<String>(&["PING"]).await.expect("Redis was left alone");
}

#[tokio::test]
async fn bad_arguments_are_answered_with_the_argument_and_what_it_may_be() {
    let place = Place::new(None);
    for (arguments, words) in [
        (&["up", "--api", "0"][..], "--api"),
        (&["up", "--rows", "10000001"], "--rows"),
        (&["up", "--redis-url", "nonsense"], "--redis-url"),
        (&["up", "--database-url", "postgres://127.0.0.1:1/none"], "--database-url"),
    ] {
        let output = place.run(arguments);
        assert!(!output.status.success() && text(&output).contains(words), "{arguments:?}: {}", text(&output));
    }
}
