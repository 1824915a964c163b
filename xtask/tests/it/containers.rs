//! What lies in `compose/`, checked as far as that goes without an engine: Compose reads its files, hadolint the Dockerfile, and what
//! they name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value};
use stage::servers::{Caddy, Home, check_with_hadolint, compose_config};
use stage::{Login, Process, Stage};

pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../compose"))
}

/// The services as Compose understands them.
pub fn services(files: &[&str]) -> Map<String, Value> {
    let config = compose_config(&directory(), files).unwrap_or_else(|error| panic!("{error:#}"));
    let config: Value = serde_json::from_str(&config).expect("JSON");
    config["services"].as_object().expect("services").clone()
}

/// The part of the page of settings that is about the process of an image of ours.
fn settings_of(image: &str) -> String {
    let page = fs::read_to_string(directory().join("../docs/settings.md")).expect("the page of settings");
    let process = if image == "freshline-control" { "freshline" } else { image };
    let part = page.split("\n## ").find(|part| part.lines().next() == Some(process));
    part.unwrap_or_else(|| panic!("{image} is not on the page of settings")).to_owned()
}

/// Whether an image is ours, and takes settings.
fn is_ours(service: &Value) -> bool {
    service["image"].as_str().is_some_and(|image| image.starts_with("freshline-") && image != "freshline-setup")
}

/// The secrets that a service is given.
fn secrets_of(service: &Value) -> BTreeSet<String> {
    let secrets = service["secrets"].as_array().into_iter().flatten();
    secrets.map(|secret| secret["source"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn compose_takes_its_files() {
    let usual = services(&["compose.yaml"]);
    let images = |services: &Map<String, Value>| -> BTreeSet<String> {
        services.values().filter_map(|service| service["image"].as_str().map(str::to_owned)).collect()
    };
    assert!(images(&usual).iter().any(|image| image.starts_with("redis:")), "{usual:?}");
    let valkey = images(&services(&["compose.yaml", "valkey.yaml"]));
    assert!(valkey.iter().any(|image| image.starts_with("valkey/valkey:8")), "{valkey:?}");
    assert!(!valkey.iter().any(|image| image.starts_with("redis:")), "Valkey stands in Redis's place: {valkey:?}");
    for image in images(&usual).iter().filter(|image| !image.starts_with("freshline")) {
        let version = image.rsplit_once(':').map(|(_, version)| version);
        assert!(version.is_some_and(|version| version != "latest"), "{image} has no version");
    }
}

#[test]
fn compose_scales_the_api_behind_one_port() {
    let services = services(&["compose.yaml"]);
    assert!(services["api"]["ports"].is_null(), "a port of the machine's could have one replica only");
    assert!(services["api"]["container_name"].is_null(), "a name could have one replica only");
    assert_eq!(services["balancer"]["ports"][0]["published"], "8080");
    let caddyfile = fs::read_to_string(directory().join("Caddyfile")).expect("its configuration");
    assert!(caddyfile.contains("dynamic a {$API_HOST:api} {$API_PORT:8080}"), "replicas are found by their name");
}

#[test]
fn compose_names_only_files_and_stages_that_are_there() {
    let dockerfile = fs::read_to_string(directory().join("Dockerfile")).expect("the Dockerfile");
    for (name, service) in services(&["compose.yaml", "valkey.yaml"]) {
        let mounts = service["volumes"].as_array().into_iter().flatten().filter(|mount| mount["type"] == "bind");
        for mount in mounts {
            let path = mount["source"].as_str().expect("a path");
            assert!(PathBuf::from(path).exists(), "{name} mounts {path}, which is not there");
            assert_eq!(mount["read_only"], true, "{name} may write to {path}");
        }
        if let Some(target) = service["build"]["target"].as_str() {
            assert!(dockerfile.lines().any(|line| line.ends_with(&format!(" AS {target}"))), "{name} builds {target}");
        }
    }
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY --from=build /src/target/release/")) {
        let program = line.split(' ').next().expect("a program");
        assert!(stage::workspace_binary(program).is_ok(), "the Dockerfile copies {program}, which the workspace has not");
    }
}

#[test]
fn compose_sets_only_variables_that_the_process_reads() {
    for (name, service) in services(&["compose.yaml"]).iter().filter(|(_, service)| is_ours(service)) {
        let settings = settings_of(service["image"].as_str().expect("an image"));
        for variable in service["environment"].as_object().into_iter().flatten().map(|(variable, _)| variable) {
            assert!(settings.contains(&format!("`{variable}`")), "{name} sets {variable}, which it does not read");
        }
    }
}

#[test]
fn compose_has_its_secrets_in_files_and_nowhere_else() {
    let files: Vec<PathBuf> =
        fs::read_dir(directory().join("secrets")).expect("files").flatten().map(|entry| entry.path()).collect();
    let secrets: Vec<String> = files.iter().map(|file| fs::read_to_string(file).expect("text")).collect();
    assert_eq!(secrets.iter().collect::<BTreeSet<_>>().len(), secrets.len(), "two are the same");
    for (file, secret) in files.iter().zip(&secrets) {
        // Not all who read them take an end of line for none: Kafka Connect's provider does not.
        assert!(secret.len() >= 8 && secret.chars().all(|c| c.is_ascii_graphic()), "{}", file.display());
    }
    let mut given = BTreeSet::new();
    for files in [&["compose.yaml"][..], &["compose.yaml", "valkey.yaml"]] {
        for (name, service) in services(files) {
            let own = secrets_of(&service);
            let mut settings = service.clone();
            settings.as_object_mut().expect("settings").remove("secrets"); // they name the paths of all that is given
            let text = settings.to_string();
            assert!(secrets.iter().all(|secret| !text.contains(secret)), "{name} has a secret in its settings: {text}");
            let named = text
                .split("/run/secrets/")
                .skip(1)
                .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>());
            let named: BTreeSet<String> = named.collect();
            assert!(named.is_subset(&own), "{name} names {named:?}, and is given {own:?}");
            assert!(!is_ours(&service) || named == own, "{name} is given {own:?}, and names {named:?}");
            given.extend(own);
        }
    }
    let there: BTreeSet<String> =
        files.iter().map(|file| file.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    assert_eq!(given, there, "secrets that nobody is given, or that are not there");
}

#[test]
fn compose_gives_each_process_its_own_user_and_no_other() {
    let user_of = |service: &Value, variable: &str| -> Option<String> {
        let url = service["environment"][variable].as_str()?;
        let (user, _) = url.split_once("://")?.1.split_once('@').unwrap_or_else(|| panic!("{variable}={url} names no user"));
        assert!(!user.contains(':'), "{variable} has a password");
        Some(user.to_owned())
    };
    let acl = fs::read_to_string(directory().join("../docs/redis-users.acl")).expect("the users");
    for (name, service) in services(&["compose.yaml"]).iter().filter(|(_, service)| is_ours(service)) {
        let process = service["image"].as_str().and_then(|image| image.strip_prefix("freshline-")).expect("an image");
        let role = if process == "control" { "operator" } else { process };
        if let Some(user) = user_of(service, "FRESHLINE_REDIS_URL") {
            assert_eq!(user, format!("freshline_{role}"), "{name}");
            assert!(acl.contains(&format!("user {user} on >CHANGE_ME ")), "{user} has no rights");
            assert_eq!(service["environment"]["FRESHLINE_REDIS_PASSWORD_FILE"], format!("/run/secrets/redis_{role}"));
        }
        let user = user_of(service, "FRESHLINE_DATABASE_URL").expect("each has Postgres");
        let password = user.replace("freshline_", "postgres_");
        assert_eq!(service["environment"]["FRESHLINE_DATABASE_PASSWORD_FILE"], format!("/run/secrets/{password}"), "{name}");
    }
}

#[test]
fn what_the_sources_include_is_there_when_the_image_is_built() {
    let allowed = fs::read_to_string(directory().join("Dockerfile.dockerignore")).expect("what is left out");
    let allowed: Vec<&str> = allowed.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let users = "docs/redis-users.acl";
    let source = fs::read_to_string(directory().join("../stage/src/servers/redis.rs")).expect("a source");
    assert!(source.contains(&format!("include_str!(\"../../../{users}\")")), "nothing is asked of {users} any more");
    assert!(allowed.contains(&users), "{users} is in stage, which is in the image `setup`");
}

#[test]
fn compose_listens_on_this_machine_only_and_watches_what_stays() {
    let volumes_of_others = ["postgres", "kafka", "nats", "prometheus", "grafana", "pgadmin", "redis-browser"];
    let services = services(&["compose.yaml"]);
    for (name, service) in &services {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} listens beyond this machine");
        }
        // Those that end, and those whose image says how it is seen that they do well.
        let ends = ["setup", "register", "warmer", "control"].contains(&name.as_str());
        let by_image = service["image"].as_str().is_some_and(|image| image.starts_with("freshline-"));
        assert!(ends || by_image || service["healthcheck"]["test"].is_array(), "{name} has no health check");
    }
    for name in volumes_of_others {
        let mounts = services[name]["volumes"].as_array().expect("volumes");
        assert!(mounts.iter().any(|mount| mount["type"] == "volume"), "what {name} holds is gone with its container");
    }
}

#[test]
fn hadolint_has_nothing_against_the_dockerfile() {
    let said = check_with_hadolint(&directory().join("Dockerfile")).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(said, "");
}

#[test]
fn no_image_of_ours_runs_as_root_and_each_that_serves_can_be_asked_whether_it_does_well() {
    let dockerfile = fs::read_to_string(directory().join("Dockerfile")).expect("the Dockerfile");
    let users: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("USER ")).collect();
    assert_eq!(users, ["65532:65532"]);
    for stage in ["api", "invalidator", "relay"] {
        let begin = dockerfile.find(&format!(" AS {stage}\n")).expect("its stage");
        let own = dockerfile[begin..].split("\nFROM ").next().unwrap_or_default();
        assert!(own.contains(&format!(
            "HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD [\"freshline-{stage}\", \"--ready\""
        )));
    }
}

#[tokio::test]
async fn caddy_hands_requests_to_a_replica_and_answers_by_itself_while_there_is_none() {
    let stage = Stage::new().await;
    let launch = stage.launch("freshline-api", Login::Api).variable("FRESHLINE_API_ADDRESS", "127.0.0.1:0");
    let mut api = Process::start(launch).expect("it starts");
    let line = api.line("listening on ").await;
    let port = line.rsplit(':').next().expect("a port").to_owned();
    let caddyfile = fs::read_to_string(directory().join("Caddyfile")).expect("its configuration");
    let replicas = vec![("API_HOST", "127.0.0.1".to_owned()), ("API_PORT", port)];
    let caddy = Caddy::start(Home::scratch().expect("a directory"), &caddyfile, replicas).await.expect("Caddy starts");
    let (client, url) = (reqwest::Client::new(), format!("http://127.0.0.1:{}/products?limit=1", caddy.port()));
    let answer = client.get(&url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("cache-status") && answer.headers().contains_key("age"), "{answer:?}");
    api.kill().await.expect("it is killed");
    assert_eq!(client.get(&url).send().await.expect("an answer").status(), 502);
}
