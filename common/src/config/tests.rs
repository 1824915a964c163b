//! Settings as an operator meets them: what is taken, what is refused and how, and that no secret is shown.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::*;
use crate::telemetry::LogFormat;

const WHOLE: [(&str, &str); 2] = [
    ("FRESHLINE_DATABASE_URL", "postgres://app:hunter2@db:5433/shop"),
    ("FRESHLINE_REDIS_URL", "redis://app:hunter2@cache:6380/2"),
];

fn vars(extra: &[(&'static str, &'static str)]) -> BTreeMap<&'static str, &'static str> {
    WHOLE.iter().chain(extra).copied().collect()
}

fn load(vars: &BTreeMap<&str, &str>) -> Result<(Shared, Duration), Faults> {
    let mut read = Reader::new(vars);
    let (shared, max_staleness) = (Shared::read(&mut read), read.get(&MAX_STALENESS));
    read.finish(|| Some((shared?, max_staleness?)))
}

/// The lines that a process prints before it ends.
fn refused(extra: &[(&'static str, &'static str)]) -> Vec<String> {
    let faults = load(&vars(extra)).map(|_| ()).expect_err("a fault");
    faults.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_not_set_has_its_default() {
    let (shared, max_staleness) = load(&vars(&[])).expect("nothing else has to be set");
    assert_eq!(max_staleness, Duration::from_secs(5));
    assert_eq!((shared.stripes.namespace(), shared.stripes.count()), ("freshline", 1));
    assert_eq!(
        (shared.life.logging.filter.as_str(), shared.life.logging.format),
        ("info,pgwire_replication=off", LogFormat::Human)
    );
    assert_eq!(shared.life.grace, Duration::from_secs(10));
}

#[test]
fn what_is_set_is_taken() {
    let set = [("FRESHLINE_STRIPES", "64"), ("FRESHLINE_LOG_FORMAT", "json"), ("FRESHLINE_MAX_STALENESS_MS", "750")];
    let (shared, max_staleness) = load(&vars(&set)).expect("all of it is usable");
    assert_eq!((shared.stripes.count(), shared.life.logging.format), (64, LogFormat::Json));
    assert_eq!(max_staleness, Duration::from_millis(750));
}

#[test]
fn every_fault_is_told_at_once_with_variable_value_and_remedy() {
    let lines = refused(&[
        ("FRESHLINE_DATABASE_URL", "mysql://app:hunter2@db/shop"),
        ("FRESHLINE_MAX_STALENESS_MS", "5s"),
        ("FRESHLINE_STRIPES", "2000"),
        ("FRESHLINE_LOG_FORMAT", "JSON"),
    ]);
    assert_eq!(
        lines,
        [
            "FRESHLINE_DATABASE_URL: does not begin with postgres://. \
             Write a URL such as postgres://user:password@localhost:5432/database.",
            "FRESHLINE_STRIPES=\"2000\": is not between 1 and 1024. Write a whole number from 1 to 1024, or unset it (default 1).",
            "FRESHLINE_LOG_FORMAT=\"JSON\": is not one of its words. Write human or json, or unset it (default human).",
            "FRESHLINE_MAX_STALENESS_MS=\"5s\": is not a whole number of milliseconds. \
             Write a whole number of milliseconds from 500 to 3600000, or unset it (default 5000).",
        ]
    );
}

#[test]
fn a_setting_that_has_to_be_set_is_missed() {
    let faults = load(&BTreeMap::new()).map(|_| ()).expect_err("nothing is set");
    let names: Vec<_> = faults.as_slice().iter().map(|fault| (fault.name.as_str(), fault.reason.as_str())).collect();
    assert_eq!(names, [("FRESHLINE_DATABASE_URL", "is not set"), ("FRESHLINE_REDIS_URL", "is not set")]);
}

#[rstest::rstest]
#[case("FRESHLINE_MAX_STALENESS_MS", "")]
#[case("FRESHLINE_MAX_STALENESS_MS", "+5000")]
#[case("FRESHLINE_MAX_STALENESS_MS", "-1")]
#[case("FRESHLINE_MAX_STALENESS_MS", "5000.0")]
#[case("FRESHLINE_MAX_STALENESS_MS", "5_000")]
#[case("FRESHLINE_MAX_STALENESS_MS", "99999999999999999999999")]
#[case("FRESHLINE_STRIPES", "0")]
#[case("FRESHLINE_NAMESPACE", "a}b")]
#[case("FRESHLINE_NAMESPACE", "a-name-of-more-than-thirty-two-bytes")]
#[case("FRESHLINE_LOG", "info,freshline=loud")]
#[case("FRESHLINE_GRACE_MS", "\u{fffd}")]
fn a_value_that_cannot_be_used_is_refused_and_shown(#[case] name: &'static str, #[case] value: &'static str) {
    let lines = refused(&[(name, value)]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{name}={value:?}: ")) && lines[0].contains("default"), "{}", lines[0]);
}

#[rstest::rstest]
#[case("FRESHLINE_DATABASE_URL", "postgres://app:hunter2@db:port/shop")]
#[case("FRESHLINE_DATABASE_URL", "postgres://app:hunter2@db/shop?sslmode=perhaps")]
#[case("FRESHLINE_DATABASE_URL", "hunter2")]
#[case("FRESHLINE_REDIS_URL", "http://app:hunter2@cache")]
#[case("FRESHLINE_REDIS_URL", "redis://app:hunter2@cache:port")]
#[case("FRESHLINE_REDIS_URL", "redis://app:hunter2@cache/hunter2")]
fn a_fault_of_a_secret_never_shows_it(#[case] name: &'static str, #[case] value: &'static str) {
    let faults = load(&vars(&[(name, value)])).map(|_| ()).expect_err("not usable");
    assert!(faults.to_string().starts_with(name) && !format!("{faults} {faults:?}").contains("hunter2"), "{faults:?}");
}

#[test]
fn a_configuration_can_be_logged_without_its_passwords() {
    let (shared, _) = load(&vars(&[])).expect("usable");
    let shown = format!("{shared:?}");
    assert!(shown.contains("postgres://app@db:5433/shop") && shown.contains("redis://app@cache:6380/2"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(RedisUrl::parse("rediss://:hunter2@cache").expect("a URL").to_string(), "rediss://cache:6379/0");
}

#[test]
fn a_password_is_what_the_url_says_whatever_characters_it_has() {
    use secrecy::ExposeSecret;
    let url = PostgresUrl::parse("postgres://a%2Fb:p%40s%2Fs%25%20w%C3%B6rd@db:1/shop").expect("a URL");
    assert_eq!(url.password().expect("a password").expose_secret(), "p@s/s% wörd");
    assert_eq!(url.connect_options().get_username(), "a/b");
}

#[test]
fn a_misspelt_variable_is_refused_and_one_of_another_version_is_told() {
    let vars = vars(&[("FRESHLINE_STRIPE", "64"), ("FRESHLINE_COMPRESSION_LEVEL", "3"), ("PATH", "/bin")]);
    let lines = load(&vars).map(|_| ()).expect_err("a misspelt variable").to_string();
    assert_eq!(lines, "FRESHLINE_STRIPE: is no setting of any process. Write FRESHLINE_STRIPES, or unset it.");
    let unknown: Vec<_> =
        unknown_names(&vars).into_iter().filter(|unknown| unknown.meant.is_none()).map(|unknown| unknown.name).collect();
    assert_eq!(unknown, ["FRESHLINE_COMPRESSION_LEVEL"]);
}

#[test]
fn settings_that_need_each_other_are_told_like_any_other() {
    let vars = vars(&[("FRESHLINE_STRIPES", "3")]);
    let mut read = Reader::new(&vars);
    let none: Option<()> = read.fault(&STRIPES.describe(), "is odd");
    let faults = read.finish(|| none).expect_err("a fault");
    assert!(faults.to_string().starts_with("FRESHLINE_STRIPES=\"3\": is odd. Write a whole number"), "{faults}");
}

#[test]
fn each_form_takes_what_it_says() {
    // The names are those of other settings: only these may be described.
    const LISTEN: Setting<SocketAddr> = Setting::address("LOG", "Where to listen.").or("127.0.0.1:0");
    const FILE: Setting<PathBuf> = Setting::path("LOG", "A file.").or("rules.toml");
    const SWITCH: Setting<bool> = Setting::switch("LOG", "A switch.").or("yes");
    assert_eq!(LISTEN.parse("[::1]:80"), Ok("[::1]:80".parse().expect("an address")));
    assert_eq!(LISTEN.parse("localhost"), Err("is not an address and port".to_owned()));
    assert_eq!(FILE.parse("/etc/rules.toml"), Ok(PathBuf::from("/etc/rules.toml")));
    assert_eq!((SWITCH.parse("true"), SWITCH.parse("yes").is_err()), (Ok(true), true));
}

#[test]
fn a_setting_that_may_be_left_out_is_nothing_then_and_checked_otherwise() {
    const FILE: Optional<SocketAddr> = Setting::address("LOG", "Where to listen.").optional();
    let read = |value: Option<&'static str>| {
        let vars: BTreeMap<_, _> = value.map(|value| ("FRESHLINE_LOG", value)).into_iter().collect();
        let mut read = Reader::new(&vars);
        let value = read.optional(&FILE);
        read.finish(|| value)
    };
    assert_eq!(read(None), Ok(None));
    assert_eq!(read(Some("127.0.0.1:80")), Ok(Some(([127, 0, 0, 1], 80).into())));
    let faults = read(Some("80")).expect_err("no address").to_string();
    let told = "is not an address and port. Write an address and port such as 127.0.0.1:8080, or unset it.";
    assert_eq!(faults, format!("FRESHLINE_LOG=\"80\": {told}"));
    assert!(markdown_table(&[FILE.describe()]).contains("| none | Where to listen. |"));
}

#[test]
fn the_documentation_is_made_of_the_same_constants() {
    let settings = [PostgresUrl::SETTINGS[0], shared::LOG_FORMAT.describe()];
    let table = markdown_table(&settings);
    assert!(table.contains("| `FRESHLINE_DATABASE_URL` | a URL such as postgres://"), "{table}");
    assert!(table.contains("| `FRESHLINE_LOG_FORMAT` | human or json | `human` | Log lines for people"), "{table}");
    let example = env_example(&settings);
    assert!(example.contains("\nFRESHLINE_DATABASE_URL=postgres://user:password@localhost:5432/database\n"), "{example}");
    assert!(example.contains("\n# FRESHLINE_LOG_FORMAT=human\n"), "{example}");
}

/// A file that is gone when this is dropped.
struct Written(PathBuf);

impl Written {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("freshline-config-{}", uuid::Uuid::new_v4().simple()));
        std::fs::write(&path, text).expect("written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).expect("it is there");
    }
}

#[test]
fn a_secret_may_be_in_a_file_without_the_end_of_its_line() {
    const PASSWORD: Optional<secrecy::SecretString> = Setting::secret("REDIS_PASSWORD", "A password.").optional();
    let read = |vars: &BTreeMap<&str, &str>| {
        let mut read = Reader::new(vars);
        let value = read.optional(&PASSWORD);
        read.finish(|| value)
    };
    let file = Written::new("hunter2 \r\n");
    let vars = BTreeMap::from([("FRESHLINE_REDIS_PASSWORD_FILE", file.path())]);
    let secret = read(&vars).expect("a secret").expect("it is set");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&secret), "hunter2 ");
    let both = BTreeMap::from([("FRESHLINE_REDIS_PASSWORD_FILE", file.path()), ("FRESHLINE_REDIS_PASSWORD", "hunter3")]);
    let faults = read(&both).expect_err("both").to_string();
    assert!(faults.contains("is set, and so is FRESHLINE_REDIS_PASSWORD") && !faults.contains("hunter"), "{faults}");
    let empty = Written::new("\n");
    let vars = BTreeMap::from([("FRESHLINE_REDIS_PASSWORD_FILE", empty.path())]);
    assert!(read(&vars).expect_err("empty").to_string().contains("FRESHLINE_REDIS_PASSWORD: is empty"));
    // What is no secret is no file's: its name with _FILE would silently mean nothing.
    assert!(unknown_names(&BTreeMap::from([("FRESHLINE_LOG_FILE", "x")])).len() == 1);
}

#[test]
fn a_password_from_elsewhere_completes_a_url_that_has_none_and_no_other() {
    let file = Written::new("hunter2");
    let mut vars = BTreeMap::from([
        ("FRESHLINE_DATABASE_URL", "postgres://app@db/shop?sslmode=verify-full"),
        ("FRESHLINE_DATABASE_PASSWORD_FILE", file.path()),
        ("FRESHLINE_REDIS_URL", "redis://app@cache/"),
        ("FRESHLINE_REDIS_PASSWORD", "hunter3"),
    ]);
    let (shared, _) = load(&vars).expect("settings");
    let password = shared.database_url.password().expect("a password");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&password), "hunter2");
    assert_eq!(shared.redis_url.connection_info().redis_settings().password(), Some("hunter3"));
    for with_one in ["postgres://app:x@db/shop", "postgres://app@db/shop?password=x"] {
        vars.insert("FRESHLINE_DATABASE_URL", with_one);
        let faults = load(&vars).map(|_| ()).expect_err("two passwords").to_string();
        assert!(faults.contains("FRESHLINE_DATABASE_PASSWORD: is set, and FRESHLINE_DATABASE_URL has a password"), "{faults}");
    }
}

#[rstest::rstest]
#[case::plain("redis://cache/", &["FRESHLINE_REDIS_CA_FILE"], "FRESHLINE_REDIS_URL: is not of the scheme rediss")]
#[case::half("rediss://cache/", &["FRESHLINE_REDIS_KEY_FILE"], "FRESHLINE_REDIS_CERTIFICATE_FILE: is missing, and FRESHLINE_REDIS_KEY_FILE")]
#[case::garbage(
    "rediss://cache/",
    &["FRESHLINE_REDIS_CERTIFICATE_FILE", "FRESHLINE_REDIS_KEY_FILE"],
    "FRESHLINE_REDIS_CERTIFICATE_FILE=\"PATH\": cannot be used"
)]
fn files_for_tls_that_cannot_be_used_are_told(#[case] url: &str, #[case] files: &[&str], #[case] told: &str) {
    let file = Written::new("no PEM");
    let mut vars = vars(&[]);
    vars.insert("FRESHLINE_REDIS_URL", url);
    vars.extend(files.iter().map(|name| (*name, file.path())));
    let faults = load(&vars).map(|_| ()).expect_err("a fault").to_string();
    assert!(faults.contains(&told.replace("PATH", file.path())), "{faults}");
}
