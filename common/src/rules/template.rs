//! Templates of names, such as `products:category={category}`.

use crate::coherence::push_value;

/// A name with columns in it, of type `C`: names of columns in the rules, their places once bound to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template<C> {
    pub(super) parts: Box<[Part<C>]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part<C> {
    Text(Box<str>),
    Column(C),
}

/// How long a column's value is taken to be when room for a name is made: a uuid has 36 bytes.
const VALUE_LEN_GUESS: usize = 36;

impl Template<Box<str>> {
    /// Reads a template; the reason where it is none.
    ///
    /// Values are escaped so that they hold no `:`. Two columns without a `:` between them would therefore give two rows one name,
    /// and so would a `%` in the text, which escapes begin with.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (column, after) = after.split_once('}').ok_or("has a { without its }")?;
            if column.is_empty() || column.contains('{') {
                return Err("has braces that name no column");
            }
            if !parts.is_empty() && !before.contains(':') {
                return Err("has two columns without a : between them, so that two rows could have one name");
            }
            parts.extend((!before.is_empty()).then(|| Part::Text(before.into())));
            parts.push(Part::Column(column.into()));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.into())));
        let template = Self { parts: parts.into() };
        template.check_texts()?;
        Ok(template)
    }

    fn check_texts(&self) -> Result<(), &'static str> {
        let mut texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Column(_) => None,
        });
        match texts.clone().next() {
            None => Err("has no text of its own"),
            Some(_) if texts.any(|text| text.contains(['}', '%'])) => Err("has a } or % outside of a column"),
            Some(_) => Ok(()),
        }
    }

    /// Whether some row's name by this template could be some row's name by the other.
    pub(super) fn can_meet(&self, other: &Self) -> bool {
        let (these, those) = (self.segments(), other.segments());
        these.len() == those.len() && these.iter().zip(&those).all(|(this, that)| this.can_meet(that))
    }

    /// What lies between the colons. No segment holds two columns.
    fn segments(&self) -> Vec<Segment<'_>> {
        let mut segments = vec![Segment::default()];
        for part in &self.parts {
            let last = segments.len() - 1;
            match part {
                Part::Column(_) => segments[last].column = true,
                Part::Text(text) => {
                    for (n, text) in text.split(':').enumerate() {
                        if n > 0 {
                            segments.push(Segment::default());
                        }
                        let last = segments.len() - 1;
                        if segments[last].column { segments[last].after = text } else { segments[last].before = text }
                    }
                }
            }
        }
        segments
    }
}

/// A stretch of a template between colons: text, or text around one column.
#[derive(Debug, Default)]
struct Segment<'a> {
    before: &'a str,
    column: bool,
    after: &'a str,
}

impl Segment<'_> {
    fn can_meet(&self, other: &Self) -> bool {
        match (self.column, other.column) {
            (false, false) => self.before == other.before,
            (true, false) => self.takes(other.before),
            (false, true) => other.takes(self.before),
            (true, true) => {
                let begin = self.before.starts_with(other.before) || other.before.starts_with(self.before);
                begin && (self.after.ends_with(other.after) || other.after.ends_with(self.after))
            }
        }
    }

    /// Whether some value of the column makes it this text.
    fn takes(&self, text: &str) -> bool {
        text.strip_prefix(self.before).is_some_and(|rest| rest.ends_with(self.after))
    }
}

impl<C> Template<C> {
    /// The columns in it, in order.
    pub(super) fn columns(&self) -> impl Iterator<Item = &C> + Clone {
        self.parts.iter().filter_map(|part| match part {
            Part::Column(column) => Some(column),
            Part::Text(_) => None,
        })
    }

    /// The same template with its columns turned into others, or the first error.
    pub(super) fn try_map<D, E>(&self, mut column: impl FnMut(&C) -> Result<D, E>) -> Result<Template<D>, E> {
        let part = |part: &Part<C>| match part {
            Part::Text(text) => Ok(Part::Text(text.clone())),
            Part::Column(name) => column(name).map(Part::Column),
        };
        Ok(Template { parts: self.parts.iter().map(part).collect::<Result<_, E>>()? })
    }

    /// The name that these values give, or the first value's error. `None` is SQL null.
    pub(super) fn name<'v, E>(&self, mut value: impl FnMut(&C) -> Result<Option<&'v str>, E>) -> Result<String, E> {
        let room = |part: &Part<C>| match part {
            Part::Text(text) => text.len(),
            Part::Column(_) => VALUE_LEN_GUESS,
        };
        let mut name = String::with_capacity(self.parts.iter().map(room).sum());
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Column(column) => push_value(&mut name, value(column)?),
            }
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn named(template: &str, value: Option<&'static str>) -> String {
        let template = Template::parse(template).expect("a template");
        template.name(|_| Ok::<_, Infallible>(value)).expect("infallible")
    }

    #[test]
    fn values_are_written_into_the_name() {
        assert_eq!(named("products:{id}", Some("42")), "products:42");
        assert_eq!(named("a:{x}:b={y}.", Some("1:2")), "a:1%3A2:b=1%3A2.");
        assert_eq!(named("products:category={category}", None), "products:category=%N");
        assert_eq!(named("products:newest", None), "products:newest");
    }

    #[rstest::rstest]
    #[case("products:{id", "has a { without its }")]
    #[case("products:{}", "has braces that name no column")]
    #[case("products:{a{b}}", "has braces that name no column")]
    #[case("products:id}", "has a } or % outside of a column")]
    #[case("products:100%:{id}", "has a } or % outside of a column")]
    #[case("products:{a}{b}", "has two columns without a : between them, so that two rows could have one name")]
    #[case("products:{a}-{b}", "has two columns without a : between them, so that two rows could have one name")]
    #[case("{id}", "has no text of its own")]
    #[case("", "has no text of its own")]
    fn a_text_that_is_no_template_is_refused(#[case] text: &str, #[case] reason: &str) {
        assert_eq!(Template::parse(text), Err(reason));
    }

    #[rstest::rstest]
    #[case::same("products:{id}", "products:{sku}", true)]
    #[case::other_text("products:{id}", "orders:{id}", false)]
    #[case::more_segments("products:{id}", "products:{id}:price", false)]
    #[case::a_value_that_is_the_others_text("products:{id}", "products:newest", true)]
    #[case::a_value_that_begins_like_the_other("a:b{x}", "a:{x}", true)]
    #[case::different_beginnings("a:b{x}", "a:c{x}", false)]
    #[case::different_ends("a:{x}b", "a:{x}c", false)]
    #[case::shared_namespace("shop:products:{id}", "shop:orders:{id}", false)]
    fn templates_that_can_make_one_name_are_found(#[case] this: &str, #[case] other: &str, #[case] meet: bool) {
        let (this, other) = (Template::parse(this).expect("one"), Template::parse(other).expect("another"));
        assert_eq!((this.can_meet(&other), other.can_meet(&this)), (meet, meet));
    }
}
