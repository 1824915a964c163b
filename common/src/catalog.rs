//! (to come)
/// Catalogue rules.
pub fn rules() -> crate::rules::Rules {
    crate::rules::Rules::parse(include_str!("catalog/rules.toml")).expect("the built-in rules")
}
