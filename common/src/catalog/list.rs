//! What a list of products is asked for, and what a page of it is.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::cursor::Cursor;

/// The most rows a page has. A page's rows are fetched by one statement and one MGET, which this keeps small.
pub const LIST_LIMIT_MAX: u16 = 100;

/// The longest name, in characters: the check of migrations/0002_products.sql.
pub(super) const NAME_LEN_MAX: usize = 200;

/// The longest category, in characters: the check of migrations/0002_products.sql.
const CATEGORY_LEN_MAX: usize = 64;

/// The order of a list. Ties are broken by id, so that every row has one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sort {
    /// Last made first, by id.
    #[default]
    Newest,
    /// Cheapest first.
    Price,
    /// Dearest first.
    PriceDescending,
    /// By name, in the database's collation.
    Name,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Newest, Self::Price, Self::PriceDescending, Self::Name];

    /// As a request writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Price => "price",
            Self::PriceDescending => "-price",
            Self::Name => "name",
        }
    }

    /// As a cursor writes it.
    pub(super) fn digit(self) -> char {
        match self {
            Self::Newest => '0',
            Self::Price => '1',
            Self::PriceDescending => '2',
            Self::Name => '3',
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no order: choose newest, price, -price or name")]
pub struct SortSyntax(String);

impl FromStr for Sort {
    type Err = SortSyntax;

    fn from_str(text: &str) -> Result<Self, SortSyntax> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text).ok_or_else(|| SortSyntax(text.to_owned()))
    }
}

/// A page of a list, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    sort: Sort,
    category: Option<Box<str>>,
    limit: u16,
    after: Option<Cursor>,
}

impl List {
    /// The first page of `limit` rows, in all categories. `None` unless the limit is 1 to [`LIST_LIMIT_MAX`].
    pub fn new(sort: Sort, limit: u16) -> Option<Self> {
        (1..=LIST_LIMIT_MAX).contains(&limit).then_some(Self { sort, category: None, limit, after: None })
    }

    /// The same in one category. `None` for a text that no category can be: longer than 64 characters, or with a NUL.
    pub fn in_category(self, category: impl Into<Box<str>>) -> Option<Self> {
        let category = category.into();
        let fits = category.chars().count() <= CATEGORY_LEN_MAX && !category.contains('\0');
        fits.then_some(Self { category: Some(category), ..self })
    }

    /// The same from a cursor on; `None` where that was made for another order.
    pub fn after(self, cursor: Cursor) -> Option<Self> {
        (cursor.sort() == self.sort).then_some(Self { after: Some(cursor), ..self })
    }

    /// Its order.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// Its category, or `None` for all of them.
    pub fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    /// How many rows it has at most.
    pub fn limit(&self) -> u16 {
        self.limit
    }

    /// Where it begins, or `None` for the first page.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }
}

/// A page as it is cached: which rows, in order, and where the next page begins. The rows are entries of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The ids of its rows.
    pub ids: Vec<Uuid>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}
