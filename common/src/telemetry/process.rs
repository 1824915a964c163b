//! What the kernel knows of this process, under the names that every Prometheus client uses.
//!
//! Read from /proc when somebody asks. The crates that do this bring a parser of all of /proc and code for systems that the processes
//! do not run on; this is five lines of text.

use std::{fmt::Write, fs};

use super::{Metric, MetricKind};

/// Ticks of /proc/self/stat in a second: `USER_HZ`, which is 100 in the interface of every architecture that Rust's std is built for.
const TICKS: f64 = 100.0;

/// What is told, in this order.
pub const PROCESS: [Metric; 7] = [
    metric("process_cpu_seconds_total", MetricKind::Counter, "Processor time that the process has used, in user and system mode."),
    metric("process_resident_memory_bytes", MetricKind::Gauge, "Memory of the process that lies in RAM."),
    metric("process_virtual_memory_bytes", MetricKind::Gauge, "Addresses that the process has reserved."),
    metric("process_threads", MetricKind::Gauge, "Threads of the process."),
    metric("process_open_fds", MetricKind::Gauge, "Files, sockets and the like that the process has open."),
    metric("process_max_fds", MetricKind::Gauge, "How many of them it may have."),
    metric("process_start_time_seconds", MetricKind::Gauge, "When the process started, in seconds since 1970."),
];

const fn metric(name: &'static str, kind: MetricKind, meaning: &'static str) -> Metric {
    Metric { name, kind, labels: &[], meaning }
}

/// Adds what is known now, in Prometheus's text format. What the kernel does not tell is left out.
pub(super) fn render(text: &mut String) {
    for (metric, value) in PROCESS.iter().zip(values()) {
        let Some(value) = value else { continue };
        let kind = if metric.kind == MetricKind::Counter { "counter" } else { "gauge" };
        let Metric { name, meaning, .. } = metric;
        let written = write!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
}

fn values() -> [Option<f64>; PROCESS.len()] {
    let (stat, status) = (read("self/stat"), read("self/status"));
    let (limits, system) = (read("self/limits"), read("stat"));
    // The name in parentheses may hold anything; the state after it is the third field of the manual.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let status = |name: &str| number_after(&status, name);
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
    let started = field(22).zip(number_after(&system, "btime")).map(|(ticks, booted)| booted + ticks / TICKS);
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    let kilobytes = |name: &str| status(name).map(|kilobytes| kilobytes * 1024.0);
    [cpu, kilobytes("VmRSS:"), kilobytes("VmSize:"), status("Threads:"), open, number_after(&limits, "Max open files"), started]
}

fn read(name: &str) -> String {
    fs::read_to_string(format!("/proc/{name}")).unwrap_or_default()
}

/// The first number of the line that begins so.
fn number_after(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_it_and_it_is_plausible() {
        let mut text = String::new();
        render(&mut text);
        let value = |name: &str| number_after(&text, name).unwrap_or_else(|| panic!("no {name}: {text}"));
        for metric in PROCESS {
            assert!(value(metric.name) >= 0.0 && text.contains(&format!("# HELP {} ", metric.name)), "{}: {text}", metric.name);
        }
        assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") >= value("process_open_fds"), "{text}");
        assert!(value("process_start_time_seconds") > 1.7e9, "{text}");
    }
}
