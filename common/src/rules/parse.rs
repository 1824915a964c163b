//! The rules file: TOML into rules, every fault told with its line.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{
    RuleFault, RuleFaults, Rules,
    table::{Action, On, TableName, TableRule, TagRule},
    template::Template,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(default)]
    table: Vec<TableText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableText {
    name: Spanned<String>,
    key: Spanned<String>,
    action: Spanned<String>,
    #[serde(default)]
    tags: Vec<TagText>,
    columns: Option<Spanned<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TagText {
    name: Spanned<String>,
    on: Option<Spanned<Vec<String>>>,
}

impl Rules {
    /// Reads a rules file. Where anything in it cannot be done, everything that cannot is told.
    pub fn parse(text: &str) -> Result<Self, RuleFaults> {
        let file: FileText = toml::from_str(text).map_err(|wrong| RuleFaults(vec![not_the_format(text, &wrong)]))?;
        let mut reader = Reader { text, table: None, faults: Vec::new() };
        let tables: Vec<_> = file.table.iter().filter_map(|table| reader.table(table)).collect();
        reader.check_apart(&file.table);
        match reader.faults.is_empty() {
            true => Ok(Self { tables: tables.into() }),
            false => Err(RuleFaults(reader.faults)),
        }
    }
}

/// What the TOML reader has to say, which names field and line by itself.
fn not_the_format(text: &str, wrong: &toml::de::Error) -> RuleFault {
    RuleFault {
        line: wrong.span().map(|span| line_of(text, span.start)),
        table: None,
        field: "the file".to_owned(),
        reason: format!("cannot be read: {}", wrong.message().trim_end_matches('.')),
        remedy: "Write tables as [[table]] with name, key, action, and optionally tags and columns.".to_owned(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Turns texts into rules and collects what is wrong with them.
struct Reader<'a> {
    text: &'a str,
    /// The table that is being read.
    table: Option<String>,
    faults: Vec<RuleFault>,
}

impl Reader<'_> {
    fn table(&mut self, table: &TableText) -> Option<TableRule> {
        self.table = Some(table.name.get_ref().clone());
        let name = TableName::parse(table.name.get_ref());
        if name.is_none() {
            self.fault(&table.name, "name", "has no schema", "Write schema.table, such as public.products.");
        }
        let (key, action) = (self.key(&table.key), self.action(&table.action));
        let columns = table.columns.as_ref().map(|columns| self.columns(columns, action));
        let tags: Vec<_> = table.tags.iter().filter_map(|tag| self.tag(tag)).collect();
        Some(TableRule { name: name?, key: key?, action: action?, tags: tags.into(), columns })
    }

    fn key(&mut self, key: &Spanned<String>) -> Option<Template<Box<str>>> {
        let template = self.template(key, "key")?;
        if template.columns().next().is_none() {
            self.fault(key, "key", "names no column, so that every row would have one key", "Write the primary key in braces.");
        }
        Some(template)
    }

    fn template(&mut self, text: &Spanned<String>, field: &str) -> Option<Template<Box<str>>> {
        let remedy = "Write text with columns in braces, such as products:category={category}.";
        Template::parse(text.get_ref()).map_err(|reason| self.fault(text, field, reason, remedy)).ok()
    }

    fn action(&mut self, action: &Spanned<String>) -> Option<Action> {
        let (reason, remedy) = match action.get_ref().as_str() {
            "refresh" => return Some(Action::Refresh),
            "invalidate" => return Some(Action::Invalidate),
            "auto" => ("is not there yet", "Write refresh or invalidate: auto comes with a later version."),
            _ => ("is no action", "Write refresh or invalidate."),
        };
        self.fault(action, "action", reason, remedy);
        None
    }

    fn columns(&mut self, columns: &Spanned<Vec<String>>, action: Option<Action>) -> Box<[Box<str>]> {
        let names = columns.get_ref();
        if action == Some(Action::Invalidate) {
            self.fault(columns, "columns", "has no effect on invalidate", "Leave it out, or write action = \"refresh\".");
        }
        if names.is_empty() || (1..names.len()).any(|n| names[..n].contains(&names[n])) {
            self.fault(
                columns,
                "columns",
                "is empty or has a column twice",
                "Write each column of the value once, or leave it out for all.",
            );
        }
        names.iter().map(|name| name.as_str().into()).collect()
    }

    fn tag(&mut self, tag: &TagText) -> Option<TagRule> {
        let name = self.template(&tag.name, "tag")?;
        let on = match &tag.on {
            Some(words) => self.on(words, &name),
            None => On { insert: true, delete: true, columns: name.columns().cloned().collect() },
        };
        Some(TagRule { name, on })
    }

    fn on(&mut self, words: &Spanned<Vec<String>>, name: &Template<Box<str>>) -> On<Box<[Box<str>]>> {
        let has = |word: &str| words.get_ref().iter().any(|other| other == word);
        let (insert, delete) = (has("insert"), has("delete"));
        let columns: Box<[_]> =
            words.get_ref().iter().filter(|word| !matches!(word.as_str(), "insert" | "delete")).cloned().collect();
        if has("update") {
            self.fault(words, "on", "has update", "Write the columns whose change touches the tag.");
        }
        if words.get_ref().is_empty() {
            self.fault(words, "on", "is empty", "Write insert, delete or columns, or leave it out.");
        }
        // Without this a row that moves from one tag to another would stay in the pages of the first.
        if let Some(column) = name.columns().find(|column| !has(column)) {
            let remedy = format!("Add \"{column}\": a row that changes it leaves one tag for another.");
            self.fault(words, "on", &format!("lacks column {column} of the tag's name"), &remedy);
        }
        On { insert, delete, columns: columns.iter().map(|name| name.as_str().into()).collect() }
    }

    /// Notes tables that are there twice, and keys of two tables that could be one.
    fn check_apart(&mut self, tables: &[TableText]) {
        for (n, table) in tables.iter().enumerate() {
            self.table = Some(table.name.get_ref().clone());
            if tables[..n].iter().any(|other| other.name.get_ref() == table.name.get_ref()) {
                self.fault(&table.name, "name", "is there twice", "Write one [[table]] for a table.");
                continue;
            }
            let Ok(key) = Template::parse(table.key.get_ref()) else { continue };
            let meets = |other: &&TableText| Template::parse(other.key.get_ref()).is_ok_and(|other| other.can_meet(&key));
            if let Some(other) = tables[..n].iter().find(meets) {
                let reason = format!("could name a row of table {} as well", other.name.get_ref());
                self.fault(&table.key, "key", &reason, "Begin it with another word.");
            }
        }
        if tables.is_empty() {
            self.table = None;
            self.faults.push(RuleFault {
                line: None,
                table: None,
                field: "the file".to_owned(),
                reason: "has no [[table]]".to_owned(),
                remedy: "Write one for each table whose rows are cached.".to_owned(),
            });
        }
    }

    fn fault<T: serde::Serialize>(&mut self, at: &Spanned<T>, field: &str, reason: &str, remedy: &str) {
        let Range { start, .. } = at.span();
        let value = serde_json::to_string(at.get_ref()).unwrap_or_default();
        self.faults.push(RuleFault {
            line: Some(line_of(self.text, start)),
            table: self.table.clone(),
            field: format!("{field} = {value}"),
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests;
