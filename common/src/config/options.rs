//! Settings given on the command line: `--poll-ms 50` stands for `FRESHLINE_POLL_MS=50`, and goes before it.

use std::collections::BTreeMap;

use super::{Description, Environment, Fault, PREFIX, Vars};

/// The environment of this process, under what its command line says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    given: BTreeMap<String, String>,
}

impl Options {
    /// The settings among these arguments: `--name value` or `--name=value`, each once.
    ///
    /// # Errors
    /// An argument that is no setting of this process, that has no value, that comes twice, or that is a secret: whoever may list the
    /// processes of a machine sees their arguments.
    pub fn parse(mut arguments: impl Iterator<Item = String>, settings: &[Description]) -> Result<Self, Fault> {
        let mut given = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), arguments.next()),
            };
            let is_meant = |variable: &String| option_of(variable) == option;
            let named =
                |setting: &&Description| is_meant(&setting.variable()) || setting.file_variable().as_ref().is_some_and(is_meant);
            let setting = settings.iter().find(named);
            let setting = setting.ok_or_else(|| refused(option, "is no option of this process", "See --settings."))?;
            let variable = match setting.file_variable() {
                Some(file) if !is_meant(&file) => {
                    let remedy = format!("Set {} in the environment, or give {}.", setting.variable(), option_of(&file));
                    return Err(refused(option, "is a secret, and options are seen by everybody on the machine", &remedy));
                }
                Some(file) => file,
                None => setting.variable(),
            };
            let value = value.ok_or_else(|| refused(option, "has no value", &setting.remedy()))?;
            if given.insert(variable, value).is_some() {
                return Err(refused(option, "is given twice", "Give it once."));
            }
        }
        Ok(Self { given })
    }
}

fn refused(option: &str, reason: &str, remedy: &str) -> Fault {
    Fault { name: option.to_owned(), value: None, reason: reason.to_owned(), remedy: remedy.to_owned() }
}

/// The option that carries a variable: `--poll-ms` for `FRESHLINE_POLL_MS`.
fn option_of(variable: &str) -> String {
    format!("--{}", variable[PREFIX.len()..].to_lowercase().replace('_', "-"))
}

impl Vars for Options {
    fn get(&self, name: &str) -> Option<String> {
        self.given.get(name).cloned().or_else(|| Environment.get(name))
    }

    fn names(&self) -> Vec<String> {
        Environment.names() // what is given was known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NAMESPACE, PostgresUrl, STRIPES};

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let settings = [PostgresUrl::SETTINGS[0], NAMESPACE.describe(), STRIPES.describe()];
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Options::parse(arguments, &settings).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_option_goes_before_its_variable() {
        let options = parse(&["--namespace=shop", "--stripes", "2", "--database-url-file=/run/secrets/url"]).expect("options");
        assert_eq!(options.get("FRESHLINE_DATABASE_URL_FILE").as_deref(), Some("/run/secrets/url"));
        assert_eq!(options.get("FRESHLINE_NAMESPACE").as_deref(), Some("shop"));
        assert_eq!(options.get("FRESHLINE_STRIPES").as_deref(), Some("2"));
        assert_eq!(options.get("PATH"), std::env::var("PATH").ok());
    }

    #[rstest::rstest]
    #[case::unknown(&["--stripe", "2"], "--stripe: is no option of this process. See --settings.")]
    #[case::no_option(&["stripes"], "stripes: is no option of this process. See --settings.")]
    #[case::no_value(&["--stripes"], "--stripes: has no value. Write a whole number from 1 to 1024, or unset it (default 1).")]
    #[case::twice(&["--stripes=1", "--stripes=2"], "--stripes: is given twice. Give it once.")]
    #[case::secret(
        &["--database-url", "postgres://u:p@h/d"],
        "--database-url: is a secret, and options are seen by everybody on the machine. Set FRESHLINE_DATABASE_URL in the environment, \
         or give --database-url-file."
    )]
    fn an_option_that_cannot_be_used_is_refused(#[case] arguments: &[&str], #[case] told: &str) {
        assert_eq!(parse(arguments).expect_err("it is refused"), told);
    }
}
