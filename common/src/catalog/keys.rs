//! The names under which products and pages are cached, and the tags that a page depends on.
//!
//! The invalidator makes the same names from `rules.toml`; a test compares them.

use uuid::Uuid;

use super::list::{List, Sort};
use crate::coherence::{CacheKey, Tag, pull_value, push_value};

/// The key of a product: the dependency of its row.
pub fn product(id: Uuid) -> CacheKey {
    CacheKey::new(format!("products:{id}"))
}

/// The key of a page.
pub fn page(list: &List) -> CacheKey {
    let mut name = format!("products:list:sort={}:category=", list.sort());
    push_value(&mut name, list.category());
    name.push_str(&format!(":limit={}:after=", list.limit()));
    push_value(&mut name, list.cursor().map(ToString::to_string).as_deref());
    CacheKey::new(name)
}

/// What decides which rows a page has, and in which order.
pub fn page_tag(list: &List) -> Tag {
    let (order, colon) = match list.sort() {
        Sort::Newest if list.category().is_none() => return Tag::new("products:newest"),
        Sort::Newest => ("", ""),
        Sort::Price | Sort::PriceDescending => ("by-price", ":"),
        Sort::Name => ("by-name", ":"),
    };
    let mut name = format!("products:{order}");
    if let Some(category) = list.category() {
        name.push_str(colon);
        name.push_str("category=");
        push_value(&mut name, Some(category));
    }
    Tag::new(name)
}

/// The key of the list of categories.
pub fn categories() -> CacheKey {
    CacheKey::new(CATEGORIES)
}

/// What decides which categories there are.
pub fn categories_tag() -> Tag {
    Tag::new(CATEGORIES)
}

/// Both names of the list of categories: no product's id is written so.
const CATEGORIES: &str = "products:categories";

/// The tags of the value under a key: one for a page or the categories, none for a product.
pub fn tags_of(key: &CacheKey) -> Vec<Tag> {
    if key.as_str() == CATEGORIES {
        return vec![categories_tag()];
    }
    page_named(key.as_str()).as_ref().map(page_tag).into_iter().collect()
}

/// The list that a key is a page of, without its cursor, which decides no tag.
fn page_named(key: &str) -> Option<List> {
    let (sort, rest) = key.strip_prefix("products:list:sort=")?.split_once(":category=")?;
    let (category, rest) = rest.split_once(":limit=")?;
    let limit = rest.split_once(":after=")?.0.parse().ok()?;
    let list = List::new(sort.parse().ok()?, limit)?;
    match pull_value(category)? {
        Some(category) => list.in_category(category),
        None => Some(list),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::catalog::Cursor;

    fn list(sort: Sort, category: Option<&str>) -> List {
        let list = List::new(sort, 20).expect("a limit");
        match category {
            Some(category) => list.in_category(category).expect("a category"),
            None => list,
        }
    }

    #[rstest]
    #[case(Sort::Newest, None, "products:newest")]
    #[case(Sort::Newest, Some("audio"), "products:category=audio")]
    #[case(Sort::Price, None, "products:by-price")]
    #[case(Sort::PriceDescending, Some("a:b"), "products:by-price:category=a%3Ab")]
    #[case(Sort::Name, None, "products:by-name")]
    #[case(Sort::Name, Some("audio"), "products:by-name:category=audio")]
    fn a_page_depends_on_the_tag_of_its_order_and_category(#[case] sort: Sort, #[case] category: Option<&str>, #[case] tag: &str) {
        assert_eq!(page_tag(&list(sort, category)).as_str(), tag);
        assert_eq!(tags_of(&page(&list(sort, category))), [Tag::new(tag)]);
    }

    #[test]
    fn a_product_depends_on_no_tag_and_the_categories_on_theirs() {
        assert_eq!(tags_of(&product(Uuid::nil())), []);
        assert_eq!(tags_of(&categories()), [categories_tag()]);
    }

    #[test]
    fn no_two_pages_have_one_key() {
        let after = "001900000000070008000000000000001".parse::<Cursor>().expect("a cursor");
        let pages = [
            list(Sort::Newest, None),
            list(Sort::Price, None),
            list(Sort::PriceDescending, None),
            list(Sort::Newest, Some("%N")),
            list(Sort::Newest, Some("a:limit=20")),
            list(Sort::Newest, Some("a")),
            List::new(Sort::Newest, 21).expect("a limit"),
            list(Sort::Newest, None).after(after).expect("the same order"),
        ];
        let keys: std::collections::BTreeSet<_> = pages.iter().map(page).collect();
        assert_eq!(keys.len(), pages.len());
    }
}
