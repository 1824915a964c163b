//! Real brokers let those in who have what they ask for, and nobody else; and who is refused is told at once by which setting.
//!
//! The settings are read as a process reads them, and a connection is made as it makes one.

mod jwt;
mod kafka;
mod nats;

use std::{collections::BTreeMap, sync::Once};

use freshline::{
    config::{Faults, Reader},
    fault::{Classified, Kind},
};
use stage::{Launch, Process, WAIT_MAX};

/// What no log may hold.
const WRONG: &str = "hunter2-which-nobody-may-see";

/// Two TLS providers are in the tree, and a process chooses at its beginning.
static CHOSEN: Once = Once::new();

/// Settings of these names and values, read.
fn read<T>(vars: &[(&str, &str)], read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, Faults> {
    let vars: BTreeMap<String, String> =
        vars.iter().map(|(name, value)| (format!("FRESHLINE_{name}"), (*value).to_owned())).collect();
    CHOSEN.call_once(|| rustls::crypto::ring::default_provider().install_default().expect("nobody chose before"));
    let mut reader = Reader::new(&vars);
    let value = read(&mut reader);
    reader.finish(|| value)
}

/// That an outcome is a refusal which stays until somebody mends it, and says so with this setting and this reason.
#[track_caller]
fn assert_refused<T>(outcome: Result<T, impl Classified>, setting: &str, reason: &str) {
    let Err(refusal) = outcome else { panic!("let in, and {setting} is wrong") };
    let told = freshline::telemetry::chain(&refusal);
    assert_eq!(refusal.kind(), Kind::Permanent, "{told}");
    let remedy = refusal.remedy().expect("a remedy");
    assert!(remedy.contains(setting) && told.contains(reason), "{told}; remedy: {remedy}");
    assert!(!told.contains(WRONG) && !remedy.contains(WRONG), "{told}");
}

/// That a process ends by itself, naming a setting in its log, and nothing secret, for all that it logs of itself and its clients.
async fn assert_ends(launch: Launch, setting: &str) {
    let mut process = Process::start(launch.variable("FRESHLINE_LOG", "debug")).expect("it starts");
    let status = process.wait(WAIT_MAX).await.expect("it ends by itself");
    let log = process.lines().join("\n");
    assert!(!status.success() && log.contains(setting), "{log}");
    assert!(!log.contains(WRONG), "{log}");
}
