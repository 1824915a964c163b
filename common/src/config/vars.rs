//! What stands before the environment, so that tests hand in a map.

use std::collections::BTreeMap;

/// Variables by name.
pub trait Vars {
    /// The value of a variable, or `None` where it is not set. A value that is not UTF-8 comes with `U+FFFD` in it, and so fails
    /// where it is parsed.
    fn get(&self, name: &str) -> Option<String>;

    /// Every name that is set.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct Environment;

impl Vars for Environment {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

impl<K: Ord + AsRef<str> + std::borrow::Borrow<str>, V: AsRef<str>> Vars for BTreeMap<K, V> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).map(|value| value.as_ref().to_owned())
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(|name| name.as_ref().to_owned()).collect()
    }
}
