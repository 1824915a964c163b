//! Programs for Java: the class paths of Kafka and Debezium, fetched by Maven, and the command that runs a class of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Home, Missing, fetched, find, install};

/// The version of Kafka in [`KAFKA`], and the name of its directory.
const KAFKA_NAME: &str = "kafka-4.3.1";

/// The version of Debezium in [`DEBEZIUM`], and the name of its directory.
const DEBEZIUM_NAME: &str = "debezium-3.7.0.Final";

/// What Maven is to fetch.
const KAFKA: &str = include_str!("java/kafka.pom.xml");
const DEBEZIUM: &str = include_str!("java/debezium.pom.xml");

/// How both programs log: to standard output, from INFO upwards.
const LOGGING: &str = include_str!("java/log4j2.properties");

/// The directory of the jars in what was fetched.
const JARS: &str = "jars";

/// A Java with Kafka's class path.
#[derive(Debug, Clone)]
pub(super) struct Java {
    program: PathBuf,
    kafka: PathBuf,
}

impl Java {
    /// Finds or installs Java, and fetches Kafka unless it was before.
    ///
    /// # Errors
    /// If Java is not here and may not be installed, or Kafka can't be fetched: with what to install or mend.
    pub(super) fn with_kafka() -> Result<Self> {
        install::ensure_all(&[Missing::Java])?;
        let program = find::java().context(Missing::Java)?;
        Ok(Self { program, kafka: fetched(KAFKA_NAME, KAFKA)? })
    }

    /// The command that runs `class`, as the servers' user, with a heap of at most `heap_mib`. What it needs is written into `home`.
    ///
    /// Where we are built without optimization, nothing is measured, and few servers live for more than a minute: the second of the
    /// two compilers never earns back what it takes.
    pub(super) fn command(&self, home: &Home, class: &str, heap_mib: u32) -> Result<Command> {
        let logging = home.write("log4j2.properties", LOGGING)?;
        let mut command = home.user().command(&self.program);
        command.arg(format!("-Xmx{heap_mib}m")).args(["-Xms64m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]);
        if cfg!(debug_assertions) {
            command.arg("-XX:TieredStopAtLevel=1");
        }
        command.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
        command.arg("-cp").arg(self.kafka.join(JARS).join("*")).arg(class);
        Ok(command)
    }
}

/// A directory for `plugin.path` that holds Debezium.
pub(super) fn debezium() -> Result<PathBuf> {
    fetched(DEBEZIUM_NAME, DEBEZIUM)
}

/// Lines of a `.properties` file.
pub(super) fn properties<'a>(settings: impl IntoIterator<Item = (&'a str, String)>) -> String {
    settings.into_iter().map(|(name, value)| format!("{name}={}\n", value.replace('\\', "\\\\"))).collect()
}

/// The directory with what `pom` names, and all that it needs, in [`JARS`].
fn fetched(name: &str, pom: &str) -> Result<PathBuf> {
    fetched::once(name, |directory| {
        install::ensure_all(&[Missing::Maven])?;
        eprintln!("fetching {name} from Maven Central, once");
        let file = directory.join("pom.xml");
        fs::write(&file, pom).with_context(|| format!("writing {}", file.display()))?;
        fetched::run(&mut maven(&file, &directory.join(JARS)))
            .with_context(|| format!("mvn can't fetch {name}: see to its settings.xml, or to the network"))
    })
}

/// A wrong checksum is an error, not a warning.
fn maven(pom: &Path, jars: &Path) -> Command {
    let mut command = Command::new("mvn");
    command.args(["--quiet", "--batch-mode", "--no-transfer-progress", "--strict-checksums", "--file"]).arg(pom);
    command.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]).arg(format!("-DoutputDirectory={}", jars.display()));
    command
}
