//! Where servers, and what they run on, are on this machine, and whether they are new enough.

use std::path::{Path, PathBuf};

use super::ServerUser;

/// The oldest Postgres that Freshline supports.
pub(crate) const POSTGRES_MAJOR_MIN: u32 = 14;

/// The oldest Redis that Freshline supports: 7 is the first whose scripts have flags, and `apply` needs `allow-oom`.
pub(crate) const REDIS_MAJOR_MIN: u32 = 7;

/// The oldest nats-server that the client library works with in full. Debian 12 has 2.9.
pub(crate) const NATS_VERSION_MIN: (u32, u32) = (2, 10);

/// The oldest Java that Kafka 4 and Debezium 3 run on.
pub(crate) const JAVA_MAJOR_MIN: u32 = 17;

/// Where distributions put one directory per Java.
const JAVA_ROOT: &str = "/usr/lib/jvm";

/// Where distributions put one directory per version of Postgres; PGDG's packages use the same one on Debian and Ubuntu.
const POSTGRES_ROOTS: [&str; 2] = ["/usr/lib/postgresql", "/usr/local/lib/postgresql"];

/// Places beside the PATH where a server may be; the PATH of a service or of `su` often lacks them.
const PLACES: [&str; 5] = ["/usr/bin", "/usr/local/bin", "/usr/sbin", "/usr/local/pgsql/bin", "/snap/bin"];

/// The programs of one version of Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBinaries {
    /// The directory that holds `postgres` and `initdb`.
    pub bin: PathBuf,
    /// Its major version, such as 15.
    pub major: u32,
}

/// A Redis or Valkey server program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisBinary {
    /// `redis-server` or `valkey-server`.
    pub program: PathBuf,
    /// Its major version, such as 7.
    pub major: u32,
}

/// The Postgres to use: the first on the PATH that is new enough, else the newest where Debian puts them.
pub fn postgres() -> Option<PostgresBinaries> {
    postgres_in(&postgres_places()).find(|found| found.major >= POSTGRES_MAJOR_MIN)
}

/// A Postgres of exactly this major version, as a data directory made by it needs.
pub fn postgres_of(major: u32) -> Option<PostgresBinaries> {
    postgres_in(&postgres_places()).find(|found| found.major == major)
}

/// The Redis to use: `redis-server`, else `valkey-server`, on the PATH or where Debian puts them, if it is new enough.
pub fn redis() -> Option<RedisBinary> {
    let places = places();
    let programs = ["redis-server", "valkey-server"].into_iter().flat_map(|name| places.iter().map(move |place| place.join(name)));
    programs
        .filter_map(|program| version_of(&program).map(|major| RedisBinary { program, major }))
        .find(|found| found.major >= REDIS_MAJOR_MIN)
}

/// The nats-server on the PATH or where distributions put it, if it is new enough.
pub(super) fn nats() -> Option<PathBuf> {
    let programs = places().into_iter().map(|place| place.join("nats-server"));
    programs.into_iter().find(|program| answer(program).and_then(|answer| version_in(&answer)) >= Some(NATS_VERSION_MIN))
}

/// The Java to use: that of JAVA_HOME, the first on the PATH, or one where distributions put them, if it is new enough.
pub(super) fn java() -> Option<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let others = std::fs::read_dir(JAVA_ROOT).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let programs = home.into_iter().chain(places()).chain(others).map(|place| place.join("java"));
    programs.into_iter().find(|program| version_of(program) >= Some(JAVA_MAJOR_MIN))
}

/// A program on the PATH or where distributions put it, of any version.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    places().into_iter().map(|place| place.join(name)).find(|program| program.is_file())
}

fn postgres_in(places: &[PathBuf]) -> impl Iterator<Item = PostgresBinaries> {
    places.iter().filter(|bin| bin.join("initdb").is_file()).filter_map(|bin| {
        let major = version_of(&bin.join("postgres"))?;
        Some(PostgresBinaries { bin: real(bin), major })
    })
}

/// The directory that `postgres` really lies in: a link to it in `/usr/local/bin` seldom has `psql` and the others beside it.
fn real(bin: &Path) -> PathBuf {
    let target = bin.join("postgres").canonicalize().ok().and_then(|program| Some(program.parent()?.to_owned()));
    target.filter(|real| real.join("initdb").is_file()).unwrap_or_else(|| bin.to_owned())
}

fn postgres_places() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = POSTGRES_ROOTS.iter().flat_map(|root| versions_in(Path::new(root))).collect();
    versions.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    places().into_iter().chain(versions.into_iter().map(|(_, bin)| bin)).collect()
}

/// The directories `<root>/<major>/bin`.
fn versions_in(root: &Path) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect()
}

fn places() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(PLACES.map(PathBuf::from)).collect()
}

/// The major version that `program --version` answers with; none if it can't.
fn version_of(program: &Path) -> Option<u32> {
    version_in(&answer(program)?).map(|(major, _)| major)
}

/// What `program --version` answers, asked as the user that will run it; none if it can't.
fn answer(program: &Path) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let output = ServerUser::choose().ok()?.command(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The major and minor version in `postgres (PostgreSQL) 15.18 (Debian …)`, `Redis server v=7.0.15 sha=…`, `nats-server: v2.15.1`,
/// `openjdk 17.0.15 2025-04-15` or `postgres (PostgreSQL) 17beta1`. A minor version that is not there is 0.
fn version_in(answer: &str) -> Option<(u32, u32)> {
    let words = answer.split_whitespace().map(|word| word.strip_prefix('v').unwrap_or(word).trim_start_matches('='));
    let mut numbers = words.into_iter().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?.split('.');
    let mut number = || -> Option<u32> { numbers.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok() };
    Some((number()?, number().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_each_server_answers() {
        let answers = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some((15, 18))),
            ("postgres (PostgreSQL) 17beta1", Some((17, 0))),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=9c3", Some((7, 0))),
            ("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0", Some((8, 1))),
            ("nats-server: v2.9.10", Some((2, 9))),
            ("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6)", Some((17, 0))),
            ("openjdk 25 2025-09-16", Some((25, 0))),
            ("command not found", None),
        ];
        for (answer, version) in answers {
            assert_eq!(version_in(answer), version, "{answer}");
        }
    }

    #[test]
    fn versions_are_read_from_the_names_of_their_directories() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for name in ["9.6", "14", "17", "share"] {
            std::fs::create_dir(root.path().join(name)).expect("a new directory");
        }
        let mut majors: Vec<u32> = versions_in(root.path()).into_iter().map(|(major, _)| major).collect();
        majors.sort_unstable();
        assert_eq!(majors, [14, 17]);
    }
}
