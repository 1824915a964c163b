//! What is wrong with a rules file.

use std::{fmt, io, path::PathBuf};

use crate::fault::{Classified, Kind};

/// One thing that a rules file says and that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// The line of the file, from 1; `None` where it belongs to none.
    pub line: Option<usize>,
    /// The table, as the file names it.
    pub table: Option<String>,
    /// The field, with the value it has: `key = "products:{id"`.
    pub field: String,
    /// Why it cannot be done.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(table) = &self.table {
            write!(f, "table {table}: ")?;
        }
        write!(f, "{} {}. {}", self.field, self.reason, self.remedy)
    }
}

/// Everything that is wrong with a rules file, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFaults(pub(super) Vec<RuleFault>);

impl RuleFaults {
    /// The faults, in the order of the file.
    pub fn as_slice(&self) -> &[RuleFault] {
        &self.0
    }
}

impl fmt::Display for RuleFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the rules cannot be used")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl std::error::Error for RuleFaults {}

impl Classified for RuleFaults {
    fn kind(&self) -> Kind {
        Kind::Permanent
    }

    fn remedy(&self) -> Option<String> {
        Some(self.0.iter().map(|fault| fault.remedy.as_str()).collect::<Vec<_>>().join("\n"))
    }
}

/// Why a rules file gives no rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesUnread {
    /// It cannot be read.
    #[error("FRESHLINE_RULES={} cannot be read", .path.display())]
    File {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says what cannot be done.
    #[error("FRESHLINE_RULES={} cannot be used", .path.display())]
    Faults {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        source: RuleFaults,
    },
}

impl Classified for RulesUnread {
    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Faults { .. } => Kind::Permanent,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::File { .. } => {
                Some("name a file that this user may read, or leave FRESHLINE_RULES out for the catalogue's own".into())
            }
            Self::Faults { source, .. } => source.remedy(),
        }
    }
}
