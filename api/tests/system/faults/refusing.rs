//! A Redis that is there and says no: to the login, to a command, to everything while it reads its file.

use stage::servers::{Home, RedisOptions};

use super::*;

/// How long it takes over each key of its file, in µs, and how many there are: a minute in all, unless it is told to hurry.
const LOADING: [(&str, &str); 2] = [("key-load-delay", "2000"), ("loading-process-events-interval-bytes", "1024")];
const KEYS: &str = "30000";

/// Sets the rights of the replicas' user.
async fn set_user(scene: &Scene, rules: &[&str]) {
    let user = stage::Login::Api.redis_name();
    let words: Vec<&str> = ["ACL", "SETUSER", user].into_iter().chain(rules.iter().copied()).collect();
    scene.town.stage.redis().run::<()>(&words).await.expect("rules that Redis takes");
}

async fn is_loading(town: &Town) -> bool {
    let told = town.stage.redis().run::<String>(&["INFO", "persistence"]).await;
    told.is_ok_and(|told| told.contains("loading:1"))
}

async fn logs(scene: &Scene, words: &str) {
    until("it says what mends it", async || scene.api().process.lines().iter().any(|line| line.contains(words))).await;
}

#[tokio::test]
async fn redis_refusing_the_login() {
    let scene = Scene::new("Redis refuses the login (`WRONGPASS`)", &[]).await;
    set_user(&scene, &["off"]).await;
    let user = stage::Login::Api.redis_name();
    scene.town.stage.redis().run::<()>(&["CLIENT", "KILL", "USER", user]).await.expect("cut");
    without_redis(&scene).await;
    logs(&scene, "check user and password in FRESHLINE_REDIS_URL").await;
    set_user(&scene, &["on"]).await;
    scene.recovers().await;
    scene.end();
}

#[tokio::test]
async fn redis_refusing_to_fill() {
    let scene = Scene::new("Redis refuses scripts (`NOPERM`)", &[]).await;
    set_user(&scene, &["-evalsha"]).await;
    let (known, unknown) = (scene.known.clone(), scene.unknown.clone());
    assert!(is_hit(&scene.read("`GET`", &known).await));
    scene.read("`GET` of what was not cached", &unknown).await;
    let written = scene.write(7).await;
    let own = scene.api().get_after(written.header("freshline-token"), &known).await;
    assert_eq!(own.json()["stock_quantity"], 7, "{own:?}");
    scene.ready().await;
    logs(&scene, "ACL GETUSER").await;
    set_user(&scene, &["+evalsha"]).await;
    scene.recovers().await;
    hit(scene.api(), &unknown).await;
    scene.end();
}

#[tokio::test]
async fn redis_refusing_to_answer_reads() {
    let scene = Scene::new("Redis refuses reads (`NOPERM`)", &[]).await;
    set_user(&scene, &["-mget"]).await;
    let (known, unknown) = (scene.known.clone(), scene.unknown.clone());
    scene.read("`GET`", &known).await;
    assert_eq!(scene.api().get(&unknown).await.status, StatusCode::OK);
    scene.write(7).await;
    let own = scene.api().get(&known).await;
    assert_eq!(own.json()["stock_quantity"], 7, "each is read from Postgres: {own:?}");
    scene.ready().await;
    logs(&scene, "ACL GETUSER").await;
    set_user(&scene, &["+mget"]).await;
    scene.recovers().await;
    scene.end();
}

#[tokio::test]
async fn redis_loading_its_file() {
    let settings = LOADING.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let redis = RedisOptions { settings, ..RedisOptions::default() };
    let scene = Scene::on("Redis loads its file (`LOADING`)", Town::own_with_redis(redis, &SETTINGS).await).await;
    let home = Home::scratch().expect("a directory");
    let file = home.path().join("kept.rdb");
    scene.town.stage.redis().run::<()>(&["DEBUG", "POPULATE", KEYS]).await.expect("filled");
    scene.town.stage.redis().save_to(&file).await.expect("saved");
    let looking = async {
        // Whoever has lost his connection to the one before it comes to this one.
        until("it is loading", async || is_loading(&scene.town).await).await;
        without_redis(&scene).await;
        assert!(is_loading(&scene.town).await, "it was done before all had looked");
        scene.town.stage.redis().run::<()>(&["CONFIG", "SET", "key-load-delay", "0"]).await.expect("it hurries");
    };
    let (started, ()) = futures::join!(scene.town.stage.redis().restart_from(&file), looking);
    started.expect("it is done");
    scene.recovers().await;
    scene.end();
}
