//! Names: of what is cached, of what can change, and of the keys in Redis that hold them.

use std::fmt;

/// The longest name that is kept as it is, in bytes; a longer one ends in a digest of itself.
pub const NAME_LEN_MAX: usize = 512;

/// The name of a cached value, such as `products:42`. It is the dependency of the row that it shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(Box<str>);

/// The name of something that any number of cached values depend on, such as `products:category=audio`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

/// A name for something that can change: a row or a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// A row, cached under the key of the same name.
    Key(CacheKey),
    /// A tag.
    Tag(Tag),
}

impl CacheKey {
    /// A key of this name. Values that come from rows are written into it with [`push_value`].
    pub fn new(name: impl Into<String>) -> Self {
        Self(bounded(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// A tag of this name. Values that come from rows are written into it with [`push_value`].
    pub fn new(name: impl Into<String>) -> Self {
        Self(bounded(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Dependency {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Key(key) => key.as_str(),
            Self::Tag(tag) => tag.as_str(),
        }
    }

    /// Its field in the `fences` hash. The prefix keeps any name apart from `.gen`, `.snap`, `.hi` and `*`.
    pub fn fence_field(&self) -> String {
        match self {
            Self::Key(key) => format!("k:{key}"),
            Self::Tag(tag) => format!("t:{tag}"),
        }
    }

    /// The name of the key or tag that a field of the `fences` hash is of; `None` where it is of none.
    pub fn name_of(field: &str) -> Option<&str> {
        field.strip_prefix("k:").or_else(|| field.strip_prefix("t:"))
    }
}

/// Writes the value of a column into a name: `%` and `:` are escaped, and null is `%N`, so that no two rows make one name.
pub fn push_value(name: &mut String, value: Option<&str>) {
    let Some(value) = value else { return name.push_str("%N") };
    for part in value.split_inclusive(['%', ':']) {
        match part.as_bytes().last() {
            Some(b'%') => name.extend([&part[..part.len() - 1], "%25"]),
            Some(b':') => name.extend([&part[..part.len() - 1], "%3A"]),
            _ => name.push_str(part),
        }
    }
}

/// The value that [`push_value`] wrote, `Some(None)` for null; `None` where it cannot have written this.
pub fn pull_value(written: &str) -> Option<Option<String>> {
    if written == "%N" {
        return Some(None);
    }
    let mut parts = written.split('%');
    let mut value = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.as_bytes() {
            [b'2', b'5', ..] => ('%', &part[2..]),
            [b'3', b'A', ..] => (':', &part[2..]),
            _ => return None,
        };
        value.push(character);
        value.push_str(rest);
    }
    (!written.contains(':')).then_some(Some(value))
}

fn bounded(name: String) -> Box<str> {
    if name.len() <= NAME_LEN_MAX {
        return name.into();
    }
    let digest = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
    let cut = name.floor_char_boundary(NAME_LEN_MAX - 33);
    format!("{}#{digest:032x}", &name[..cut]).into()
}

macro_rules! shown_as_its_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
shown_as_its_name!(CacheKey, Tag);

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How names are spread over the stripes of a Redis: each stripe has its own control record and fences.
///
/// One stripe on a single Redis; on a cluster so many that every master has some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stripes {
    namespace: Box<str>,
    count: u16,
}

/// The number of one stripe, below [`Stripes::count`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stripe(u16);

impl Stripe {
    /// The number, from 0.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl Stripes {
    /// `count` stripes under a namespace, which keeps several caches in one Redis apart. `None` for a count of 0 or above 1024, or a
    /// namespace that is not 1 to 32 of `a-z A-Z 0-9 _ -`.
    pub fn new(namespace: &str, count: u16) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let named = (1..=32).contains(&namespace.len()) && namespace.bytes().all(plain);
        (named && (1..=1024).contains(&count)).then(|| Self { namespace: namespace.into(), count })
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The namespace, which every key of the cache begins with, in braces.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Every stripe, in order.
    pub fn all(&self) -> impl Iterator<Item = Stripe> + use<> {
        (0..self.count).map(Stripe)
    }

    /// The stripe of a name.
    pub fn of(&self, name: &str) -> Stripe {
        if self.count == 1 {
            return Stripe(0);
        }
        let spread = xxhash_rust::xxh3::xxh3_64(name.as_bytes()) % u64::from(self.count);
        Stripe(u16::try_from(spread).unwrap_or(0))
    }

    /// `{s}ctl`: generation, run, source, position, `at`.
    pub fn ctl(&self, stripe: Stripe) -> String {
        format!("{{{}.{}}}ctl", self.namespace, stripe.0)
    }

    /// `{s}fences`: what has been applied and is not yet known to be visible.
    pub fn fences(&self, stripe: Stripe) -> String {
        format!("{{{}.{}}}fences", self.namespace, stripe.0)
    }

    /// `{s}v:<key>`: the entry.
    pub fn value(&self, key: &CacheKey) -> String {
        format!("{{{}.{}}}v:{key}", self.namespace, self.of(key.as_str()).0)
    }

    /// `{s}l:<key>`: the lease.
    pub fn lease(&self, key: &CacheKey) -> String {
        format!("{{{}.{}}}l:{key}", self.namespace, self.of(key.as_str()).0)
    }

    /// `{s}t:<tag>`: the tag's version.
    pub fn tag(&self, tag: &Tag) -> String {
        format!("{{{}.{}}}t:{tag}", self.namespace, self.of(tag.as_str()).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: Option<&str>) -> String {
        let mut name = String::from("products:category=");
        push_value(&mut name, value);
        name
    }

    #[test]
    fn no_two_values_make_one_name() {
        assert_eq!(named(Some("audio")), "products:category=audio");
        assert_eq!(named(Some("a:b%")), "products:category=a%3Ab%25");
        assert_eq!(named(None), "products:category=%N");
        assert_eq!(named(Some("%N")), "products:category=%25N");
        assert_eq!(named(Some("")), "products:category=");
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        for value in [None, Some(""), Some("audio"), Some("a:b%"), Some("%N"), Some("%%3A::")] {
            let mut written = String::new();
            push_value(&mut written, value);
            assert_eq!(pull_value(&written), Some(value.map(str::to_owned)), "{written}");
        }
        assert_eq!((pull_value("%"), pull_value("a:b"), pull_value("%4")), (None, None, None));
    }

    #[test]
    fn a_long_name_is_cut_and_stays_its_own() {
        let long = |last: char| CacheKey::new("ü".repeat(400) + &last.to_string());
        assert!(long('a').as_str().len() <= NAME_LEN_MAX);
        assert_ne!(long('a'), long('b'));
        assert_eq!(long('a'), long('a'));
    }

    #[test]
    fn a_stripe_and_all_its_keys_share_a_hash_tag() {
        let stripes = Stripes::new("shop", 64).expect("a layout");
        let key = CacheKey::new("products:{42}");
        let tag = format!("{{shop.{}}}", stripes.of(key.as_str()).number());
        for name in [stripes.value(&key), stripes.lease(&key), stripes.ctl(stripes.of(key.as_str()))] {
            assert!(name.starts_with(&tag), "{name}");
        }
    }

    #[test]
    fn an_unusable_layout_is_refused() {
        for (namespace, count) in [("", 1), ("a}b", 1), ("ok", 0), ("ok", 1025)] {
            assert_eq!(Stripes::new(namespace, count), None);
        }
    }
}
