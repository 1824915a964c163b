//! What is wrong with the settings: every fault of them, not the first.

use std::fmt;

use crate::fault::{Classified, Kind};

/// One variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The variable, with its prefix.
    pub name: String,
    /// Its value; `None` where it is not set, or is a secret.
    pub value: Option<String>,
    /// Why it cannot be used.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(f, "={value:?}")?;
        }
        write!(f, ": {}. {}", self.reason, self.remedy)
    }
}

/// Every fault of one process's settings, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// The faults, in the order they were found.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl Classified for Faults {
    fn kind(&self) -> Kind {
        Kind::Permanent
    }

    fn remedy(&self) -> Option<String> {
        Some(self.0.iter().map(|fault| format!("{}: {}", fault.name, fault.remedy)).collect::<Vec<_>>().join("\n"))
    }
}
