//! Reads settings and collects every fault of them.

use super::{Default, Description, Fault, Faults, Optional, PREFIX, Setting, Vars, names};

/// Reads one process's settings. Faults are collected, so that all of them are told at once.
///
/// A call that answers `None` has left a fault behind.
pub struct Reader<'a> {
    vars: &'a dyn Vars,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    /// A reader of these variables. Names that look like a setting's, misspelt, are faults from the start: a misspelt variable
    /// that is silently ignored leaves its default in force against the operator's will.
    pub fn new(vars: &'a dyn Vars) -> Self {
        let mut faults = Vec::new();
        for Unknown { name, meant } in unknown_names(vars) {
            if let Some(meant) = meant {
                let remedy = format!("Write {meant}, or unset it.");
                faults.push(Fault { name, value: None, reason: "is no setting of any process".to_owned(), remedy });
            }
        }
        Self { vars, faults }
    }

    /// The value of a setting, or of its default where it is not set.
    pub fn get<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let description = setting.describe();
        let set = self.text(&description)?;
        let text = match (&set, description.default) {
            (Some(text), _) => text,
            (None, Default::Text(text)) => text,
            (None, Default::None | Default::Absent) => return self.fault(&description, "is not set"),
        };
        setting.parse(text).map_or_else(|reason| self.fault(&description, &reason), Some)
    }

    /// The value of a setting that may be left out: `Some(None)` where it is.
    pub fn optional<T>(&mut self, setting: &Optional<T>) -> Option<Option<T>> {
        let description = setting.describe();
        let variables = [Some(description.variable()), description.file_variable()];
        let is_set = variables.into_iter().flatten().any(|name| self.vars.get(&name).is_some());
        if is_set { self.get(&setting.0).map(Some) } else { Some(None) }
    }

    /// The values of two settings that need each other: `Some(None)` where both are left out.
    pub fn both<T, U>(&mut self, one: &Optional<T>, other: &Optional<U>) -> Option<Option<(T, U)>> {
        let missing = |other: Description| format!("is missing, and {} is set", other.variable());
        match (self.optional(one)?, self.optional(other)?) {
            (Some(one), Some(other)) => Some(Some((one, other))),
            (None, None) => Some(None),
            (Some(_), None) => self.fault(&other.describe(), &missing(one.describe())),
            (None, Some(_)) => self.fault(&one.describe(), &missing(other.describe())),
        }
    }

    /// What a setting is set to: its variable, or for a secret the file that another names, without the end of its last line.
    fn text(&mut self, setting: &Description) -> Option<Option<String>> {
        let set = self.vars.get(&setting.variable());
        let Some((variable, path)) = setting.file_variable().and_then(|name| Some((name.clone(), self.vars.get(&name)?))) else {
            return Some(set);
        };
        let text = std::fs::read_to_string(&path);
        let reason = match text {
            Ok(_) if set.is_some() => format!("is set, and so is {}", setting.variable()),
            Ok(text) => return Some(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => format!("cannot be read ({error})"),
        };
        let remedy = format!("Write the path of a file that holds {}, or unset it.", setting.variable());
        self.faults.push(Fault { name: variable, value: Some(path), reason, remedy });
        None
    }

    /// Notes that a setting cannot be used: for settings that need each other.
    pub fn fault<T>(&mut self, setting: &Description, reason: &str) -> Option<T> {
        let name = setting.variable();
        let value = self.vars.get(&name).filter(|_| !setting.is_secret());
        self.faults.push(Fault { name, value, reason: reason.to_owned(), remedy: setting.remedy() });
        None
    }

    /// The configuration, or every fault. `build` answers `None` only where a setting it needs has one.
    pub fn finish<C>(self, build: impl FnOnce() -> Option<C>) -> Result<C, Faults> {
        match build() {
            Some(config) if self.faults.is_empty() => Ok(config),
            _ => Err(Faults(self.faults)),
        }
    }
}

/// Logs every variable with our prefix that is no setting of any process. One that resembles a setting has been refused by then.
pub fn tell_unknown(vars: &dyn Vars) {
    for Unknown { name, .. } in unknown_names(vars) {
        tracing::warn!("{name} is set, and is no setting of any process");
    }
}

/// A variable with our prefix that is no setting of any process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The variable, with its prefix.
    pub name: String,
    /// The variable that it was probably meant to be.
    pub meant: Option<String>,
}

/// Every variable with our prefix that is no setting of any process.
///
/// One that resembles a setting is refused by [`Reader::new`]. The others are logged and left alone: they may belong to another
/// version of the program that shares this environment, and neither version may keep the other from starting.
pub fn unknown_names(vars: &dyn Vars) -> Vec<Unknown> {
    let foreign = |variable: String| {
        let name = variable.strip_prefix(PREFIX)?;
        let meant = names::meant_by(name).map(|meant| format!("{PREFIX}{meant}"));
        (!names::known(name)).then_some(Unknown { meant, name: variable })
    };
    vars.names().into_iter().filter_map(foreign).collect()
}
