//! The stack of `compose/` without an engine: each service's own command, variables, scripts and secrets, on servers of this machine.
//!
//! What a container would see at a path is put there by name: mounts by what they mount, secrets by their files, other services by
//! their ports here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};
use stage::servers::{Home, Postgres, PostgresOptions, port, redis_binary};
use stage::{Launch, Login, Process, until, workspace_binary};

use crate::containers::{directory, services};

/// How long one of them may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The services, and where they are on this machine.
struct Stack {
    services: Map<String, Value>,
    home: Home,
    postgres: Postgres,
    redis_port: u16,
}

impl Stack {
    async fn new() -> Self {
        let home = Home::scratch().expect("a directory");
        let postgres = Postgres::start(Home::scratch().expect("a directory"), PostgresOptions::default()).await;
        let postgres = postgres.unwrap_or_else(|error| panic!("{error:#}"));
        let superuser = format!("alter role {} password '{}'", Login::Superuser.postgres_name(), secret("postgres"));
        postgres.run("create database freshline").await.expect("made");
        postgres.run(&superuser).await.expect("set");
        Self { services: services(&["compose.yaml"]), home, postgres, redis_port: port::pick().expect("a port") }
    }

    /// A text of a service as it is meant here.
    fn here(&self, service: &str, text: &str) -> String {
        let mounts = self.services[service]["volumes"].as_array().into_iter().flatten().filter(|mount| mount["type"] == "bind");
        let secrets = directory().join("secrets").display().to_string();
        let text = text.replace("$$", "$").replace("/run/secrets", &secrets);
        let text = text.replace("/run/freshline", &self.home.path().display().to_string());
        let text = mounts.fold(text, |text, mount| text.replace(word(&mount["target"]), word(&mount["source"])));
        let text = text.replace("@redis:6379", &format!("@127.0.0.1:{}", self.redis_port));
        text.replace("@postgres:5432", &format!("@127.0.0.1:{}", self.postgres.port()))
    }

    /// A script that a service mounts, as it is meant here.
    fn script(&self, service: &str, name: &str) -> PathBuf {
        let text = fs::read_to_string(directory().join(name)).expect("a script");
        self.home.write(name, &self.here(service, &text)).expect("written")
    }

    /// A program with the variables and the command of its service.
    fn launch(&self, service: &str, program: &Path) -> Launch {
        let of = &self.services[service];
        let variables = of["environment"].as_object().into_iter().flatten();
        let variables = variables.filter_map(|(name, value)| Some((name.clone(), self.here(service, value.as_str()?))));
        let words = of["command"].as_array().into_iter().flatten().map(|argument| self.here(service, word(argument)));
        words.fold(Launch::new(service, program).variables(variables), Launch::argument)
    }

    fn of(&self, service: &str, program: &str) -> Launch {
        self.launch(service, &workspace_binary(program).unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// The server as its image starts it: the image's own script does no more than run what it is told.
    async fn redis(&self) -> Process {
        let entrypoint: Vec<&str> = self.services["redis"]["entrypoint"].as_array().expect("words").iter().map(word).collect();
        assert_eq!(entrypoint, ["sh", "/freshline/redis.sh"]);
        let bin = self.home.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        let image = self.home.write("bin/docker-entrypoint.sh", "#!/bin/sh\nexec \"$@\"\n").expect("written");
        fs::set_permissions(image, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("made a program");
        let server = redis_binary().expect("Redis").program;
        let path = format!("{}:{}:{}", bin.display(), shown(server.parent().expect("a directory")), env!("PATH"));
        let script = Launch::new("redis", "sh").argument(shown(&self.script("redis", "redis.sh"))).variable("PATH", path);
        let command = self.services["redis"]["command"].as_array().expect("words").iter().map(word);
        let launch = command.fold(script, Launch::argument);
        let own = ["--bind", "127.0.0.1", "--port", &self.redis_port.to_string(), "--dir", &shown(self.home.path())];
        let mut redis = Process::start(own.into_iter().fold(launch, Launch::argument)).expect("it starts");
        redis.line("Ready to accept connections").await;
        redis
    }

    /// Postgres's own script of roles, as its image runs it.
    async fn roles(&self) {
        let path = format!("{}:{}", shown(self.postgres.bin()), env!("PATH"));
        let roles =
            Launch::new("roles", "sh").argument(shown(&self.script("postgres", "roles.sh"))).variable("PATH", path).variables([
                ("POSTGRES_USER", Login::Superuser.postgres_name().to_owned()),
                ("POSTGRES_DB", "freshline".to_owned()),
                ("PGHOST", "127.0.0.1".to_owned()),
                ("PGPORT", self.postgres.port().to_string()),
                ("PGPASSWORD", secret("postgres")),
            ]);
        ended(roles).await;
    }

    /// A user's connection to Redis, under this password.
    async fn connected(&self, user: &str, password: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let url = format!("redis://{user}:{password}@127.0.0.1:{}/", self.redis_port);
        redis::Client::open(url).expect("a URL").get_multiplexed_async_connection().await
    }
}

fn word(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn secret(name: &str) -> String {
    fs::read_to_string(directory().join("secrets").join(name)).expect("a secret")
}

/// Runs something to its end, which has to be a good one; what it said.
async fn ended(launch: Launch) -> String {
    let mut process = Process::start(launch).expect("it starts");
    let status = process.wait(ENDS_WITHIN).await.expect("it ends");
    assert!(status.success(), "{}: {}", process.name(), process.tail());
    process.lines().join("\n")
}

#[tokio::test]
async fn the_stack_works_with_a_user_and_a_password_for_each_process_and_none_for_anybody_else() {
    let stack = Stack::new().await;
    let _redis = stack.redis().await;
    stack.roles().await;
    ended(stack.launch("setup", Path::new(env!("CARGO_BIN_EXE_xtask")))).await;
    let mut invalidator =
        Process::start(stack.of("invalidator", "freshline-invalidator").variable("FRESHLINE_INVALIDATOR_ADDRESS", "127.0.0.1:0"))
            .expect("it starts");
    invalidator.line("the change stream begins").await;
    let api = stack.of("api", "freshline-api").variable("FRESHLINE_API_ADDRESS", "127.0.0.1:0");
    let mut api = Process::start(api).expect("it starts");
    let line = api.line("listening on ").await;
    let address = line.rsplit(' ').next().expect("an address");
    let (client, url) = (reqwest::Client::new(), format!("http://{address}"));
    let get = async |path: &str| client.get(format!("{url}{path}")).send().await.expect("an answer");
    until("a list is a hit", async || {
        get("/products?limit=5").await.headers()["cache-status"].as_bytes().starts_with(b"Freshline; hit")
    })
    .await;
    let clear = client.post(format!("{url}/cache/clear"));
    assert_eq!(clear.try_clone().expect("no body").send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    let cleared = clear.bearer_auth(secret("manage_token")).send().await.expect("an answer");
    assert_eq!(cleared.status(), StatusCode::OK, "{cleared:?}");
    until("it is open again", async || {
        get("/products?limit=5").await.headers()["cache-status"].as_bytes().starts_with(b"Freshline; hit")
    })
    .await;
    let warm = stack.of("warmer", "freshline-warmer").variable("FRESHLINE_WARMER_ADDRESS", "127.0.0.1:0");
    ended(warm).await;
    let status = ended(stack.of("control", "freshline")).await;
    assert!(status.contains("freshline-api") || status.contains("api"), "{status}");

    let health = word(&stack.services["redis"]["healthcheck"]["test"][1]).to_owned();
    let cli = format!("{} -p {}", shown(&redis_binary().expect("Redis").program.with_file_name("redis-cli")), stack.redis_port);
    let health = stack.here("redis", &health).replace("redis-cli", &cli);
    ended(Launch::new("health", "sh").argument("-c").argument(&health)).await;
    let wrong = health.replace("redis_operator", "redis_api");
    let mut wrong = Process::start(Launch::new("health", "sh").argument("-c").argument(wrong)).expect("it starts");
    assert!(!wrong.wait(ENDS_WITHIN).await.expect("it ends").success(), "a health check that says yes to everything");

    for (user, password) in [("", ""), ("default", ""), ("default", "freshline"), ("freshline_api", &secret("redis_warmer"))] {
        let refused = stack.connected(user, password).await;
        let is_let_in = match refused {
            Ok(mut connection) => redis::cmd("PING").exec_async(&mut connection).await.is_ok(),
            Err(_) => false,
        };
        assert!(!is_let_in, "{user:?} is let in");
    }
    let mut browser = stack.connected("freshline_browser", &secret("redis_browser")).await.expect("a connection");
    redis::cmd("SCAN").arg(0).exec_async(&mut browser).await.expect("it may look");
    for words in [&["SET", "{freshline.0}x", "1"][..], &["FLUSHALL"], &["CONFIG", "GET", "*"], &["GET", "another's"]] {
        let refused = redis::cmd(words[0]).arg(&words[1..]).exec_async(&mut browser).await.expect_err("it may not");
        assert_eq!(refused.code(), Some("NOPERM"), "{words:?}: {refused}");
    }
}
