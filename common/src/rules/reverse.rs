//! Names read backwards: which table, and which row of it, a key is of. For those who explain a key; changes are never planned by it.

use super::{
    Action, Rules, TableName,
    table::TableRule,
    template::{Part, Template},
};
use crate::coherence::pull_value;

/// The row that a key is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRow<'a> {
    /// Its table.
    pub table: &'a TableName,
    /// The columns of the key, each with the row's value; `None` is SQL null.
    pub key: Vec<(&'a str, Option<String>)>,
    /// What becomes of its entry when it changes. Only a value that is refreshed is known to be the row's JSON.
    pub action: Action,
    /// The columns of its value, in order; `None`: every column of the table.
    pub value: Option<Vec<&'a str>>,
}

impl Rules {
    /// The row that this key is of; `None` where no rule makes such a key, or its name was too long to be kept whole.
    pub fn row_named(&self, key: &str) -> Option<NamedRow<'_>> {
        self.tables.iter().find_map(|rule| {
            let key = rule.key.values(key)?.into_iter().map(|(column, value)| (&**column, value)).collect();
            let value = rule.columns.as_ref().map(|columns| columns.iter().map(|column| &**column).collect());
            Some(NamedRow { table: &rule.name, key, action: rule.action, value })
        })
    }

    /// Whether changes of this table touch a key or tag of this name; `None` where the table has no rules.
    pub fn touches(&self, table: &TableName, name: &str) -> Option<bool> {
        let rule = self.tables.iter().find(|rule| rule.name == *table)?;
        Some(rule.names().any(|template| template.values(name).is_some()))
    }
}

impl TableRule {
    fn names(&self) -> impl Iterator<Item = &Template<Box<str>>> {
        std::iter::once(&self.key).chain(self.tags.iter().map(|tag| &tag.name))
    }
}

impl<C> Template<C> {
    /// The values that give this name; `None` where none do.
    fn values(&self, name: &str) -> Option<Vec<(&C, Option<String>)>> {
        let (mut rest, mut values) = (name, Vec::new());
        for (n, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(&**text)?,
                Part::Column(column) => {
                    // A value holds no colon. Behind it, up to the next one, stands text alone.
                    let segment = rest.split(':').next().unwrap_or_default();
                    let behind = match self.parts.get(n + 1) {
                        Some(Part::Text(text)) => text.split(':').next().unwrap_or_default(),
                        Some(Part::Column(_)) | None => "",
                    };
                    let value = segment.strip_suffix(behind)?;
                    values.push((column, pull_value(value)?));
                    rest = &rest[value.len()..];
                }
            }
        }
        rest.is_empty().then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [[table]]
        name = "public.seats"
        key = "seats:{train}:no={seat}."
        action = "invalidate"
        tags = [{ name = "seats:of={train}" }, { name = "seats:all", on = ["insert"] }]
    "#;

    #[rstest::rstest]
    #[case::plain("seats:7:no=12.", Some(vec![("train", Some("7")), ("seat", Some("12"))]))]
    #[case::escaped("seats:a%3Ab%25:no=%N.", Some(vec![("train", Some("a:b%")), ("seat", None)]))]
    #[case::empty("seats::no=.", Some(vec![("train", Some("")), ("seat", Some(""))]))]
    #[case::a_tag("seats:of=7", None)]
    #[case::more_behind("seats:7:no=12.:x", None)]
    #[case::an_escape_that_is_none("seats:7%:no=12.", None)]
    #[case::another("trains:7", None)]
    fn a_key_tells_its_row(#[case] key: &str, #[case] columns: Option<Vec<(&str, Option<&str>)>>) {
        let rules = Rules::parse(RULES).expect("rules");
        let found = rules.row_named(key).map(|row| row.key);
        let wanted: Option<Vec<_>> =
            columns.map(|columns| columns.into_iter().map(|(name, value)| (name, value.map(str::to_owned))).collect());
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_table_touches_its_keys_and_tags_and_no_others() {
        let rules = Rules::parse(RULES).expect("rules");
        let seats = TableName::parse("public.seats").expect("a name");
        for (name, touched) in [("seats:7:no=1.", true), ("seats:of=7", true), ("seats:all", true), ("seats:some", false)] {
            assert_eq!(rules.touches(&seats, name), Some(touched), "{name}");
        }
        assert_eq!(rules.touches(&TableName::parse("public.trains").expect("a name"), "seats:all"), None);
    }
}
