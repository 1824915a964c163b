//! Runs cargo.

use std::process::{Command, Stdio};

use crate::checkout::root;

/// cargo at the root of the workspace, the one that runs us.
///
/// Without what `cargo run` has told us of our own package: build scripts that look at such variables (ring's, for one) would run
/// again, and all that stands on them would be compiled again, each time that we are run differently.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_our_package) {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The variables of the Cargo book, chapter "Environment Variables", that cargo sets for the program that it runs. Those that
/// configure cargo have other names.
fn is_of_our_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || ["CARGO", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_configures_cargo_is_kept() {
        assert!(["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO"].into_iter().all(is_of_our_package));
        assert!(
            !["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_NET_OFFLINE", "PATH"].into_iter().any(is_of_our_package)
        );
    }
}
