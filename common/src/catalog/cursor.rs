//! Where a list goes on: after which row, in which order.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::list::{NAME_LEN_MAX, Sort};
use super::price::Price;

/// The last row of a page: its id, and what it is sorted by. Opaque to clients, who get it as text and send it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    sort: Sort,
    id: Uuid,
    key: Box<str>,
}

/// A text that is not a cursor of this API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorSyntax {
    /// It was not made here, or was cut or changed on the way.
    #[error("this is no cursor: send back `next` of the page before, unchanged, or leave it out to begin at the first page")]
    Malformed,
    /// It goes on in another order.
    #[error("this cursor goes on a list sorted by {made_for}: ask for that order, or leave the cursor out")]
    OtherSort {
        /// The order that it goes on in.
        made_for: Sort,
    },
}

impl Cursor {
    fn new(sort: Sort, id: Uuid, key: &str) -> Option<Self> {
        let fits = match sort {
            Sort::Newest => key.is_empty(),
            Sort::Price | Sort::PriceDescending => key.parse::<Price>().is_ok_and(|price| price.to_string() == key),
            Sort::Name => key.chars().count() <= NAME_LEN_MAX && !key.contains('\0'),
        };
        fits.then(|| Self { sort, id, key: key.into() })
    }

    /// After this row, of which Postgres told the id and what it is sorted by; `None` where no row can have such a key.
    pub(super) fn of_row(sort: Sort, id: Uuid, key: &str) -> Option<Self> {
        // By id alone: the key would say the same once more.
        Self::new(sort, id, if sort == Sort::Newest { "" } else { key })
    }

    /// Reads a cursor that has to go on in this order.
    ///
    /// # Errors
    /// If it is malformed, or was made for another order.
    pub fn parse(text: &str, sort: Sort) -> Result<Self, CursorSyntax> {
        let cursor: Self = text.parse()?;
        if cursor.sort == sort { Ok(cursor) } else { Err(CursorSyntax::OtherSort { made_for: cursor.sort }) }
    }

    /// The order that it goes on in.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// The row's id.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// What the row is sorted by, as Postgres prints it; empty for [`Sort::Newest`], which sorts by id alone.
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

/// Hexadecimal, so that it stands in a URL as it is: a digit for the order, 32 for the id, then the key's bytes.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.sort.digit(), self.id.simple())?;
        self.key.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorSyntax;

    /// Accepts what `Display` writes and nothing else, so that one place in a list has one name.
    fn from_str(text: &str) -> Result<Self, CursorSyntax> {
        let read = || {
            let sort = Sort::ALL.into_iter().find(|sort| text.starts_with(sort.digit()))?;
            let id = Uuid::try_parse(text.get(1..33)?).ok()?;
            let key = text.as_bytes()[33..].chunks(2).map(hex_byte).collect::<Option<Vec<u8>>>()?;
            Self::new(sort, id, std::str::from_utf8(&key).ok()?).filter(|cursor| cursor.to_string() == text)
        };
        read().ok_or(CursorSyntax::Malformed)
    }
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

    #[test]
    fn a_cursor_survives_its_text() {
        for (sort, key) in
            [(Sort::Newest, ""), (Sort::Price, "12.50"), (Sort::PriceDescending, "0.00"), (Sort::Name, "Zoë 100% :/&")]
        {
            let cursor = Cursor::new(sort, ID, key).expect("a cursor");
            assert_eq!(Cursor::parse(&cursor.to_string(), sort), Ok(cursor));
        }
    }

    #[test]
    fn a_cursor_of_another_order_is_refused_by_name() {
        let text = Cursor::new(Sort::Price, ID, "12.50").expect("a cursor").to_string();
        assert_eq!(Cursor::parse(&text, Sort::Name), Err(CursorSyntax::OtherSort { made_for: Sort::Price }));
    }

    #[test]
    fn what_no_row_can_have_is_no_cursor() {
        for (sort, key) in
            [(Sort::Newest, "1"), (Sort::Price, "abc"), (Sort::Price, "1.5"), (Sort::Price, "-1.00"), (Sort::Name, "a\0")]
        {
            assert_eq!(Cursor::new(sort, ID, key), None, "{sort} {key:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_text_comes_it_is_its_own_cursor_or_none(text in "[0-9a-fA-FxÄ-]{0,50}|[0-4][0-9a-f]{32}([0-9a-f]{2}){0,8}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
