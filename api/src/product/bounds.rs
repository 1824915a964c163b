//! Texts and whole numbers, within the bounds of the table's checks.

use serde_json::value::RawValue;

use super::{Wrong, kind_of};

/// What a text column takes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most characters.
    pub len_max: usize,
    /// Whether nothing has to be seen in it.
    pub is_blank_allowed: bool,
}

/// `products_sku_check`.
pub const SKU: Bounds = Bounds { len_max: 64, is_blank_allowed: false };
/// `products_name_check`.
pub const NAME: Bounds = Bounds { len_max: 200, is_blank_allowed: false };
/// `products_category_check`.
pub const CATEGORY: Bounds = Bounds { len_max: 64, is_blank_allowed: false };
/// `products_description_check`.
pub const DESCRIPTION: Bounds = Bounds { len_max: 10_000, is_blank_allowed: true };

impl Bounds {
    /// Whether the column would take this text; if not, why, as the end of a sentence.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, text: &str) -> Result<(), String> {
        let len = text.chars().count();
        if len > self.len_max {
            Err(format!("has {len} characters, and {} are the most", self.len_max))
        } else if !self.is_blank_allowed && text.chars().all(char::is_whitespace) {
            Err("is blank".to_owned())
        } else if text.contains('\0') {
            Err("holds the character U+0000, which Postgres cannot store".to_owned())
        } else {
            Ok(())
        }
    }

    /// What to send instead.
    pub fn remedy(self) -> String {
        if self.is_blank_allowed {
            format!("Send up to {} characters.", self.len_max)
        } else {
            format!("Send 1 to {} characters, not all of them blank.", self.len_max)
        }
    }
}

pub(super) fn text(raw: &RawValue, bounds: Bounds) -> Result<String, Wrong> {
    let wrong = |detail| Wrong::new(detail, bounds.remedy());
    let text = string(raw)?;
    bounds.check(&text).map_err(wrong)?;
    Ok(text)
}

/// The content of a JSON string.
pub(super) fn string(raw: &RawValue) -> Result<String, Wrong> {
    serde_json::from_str(raw.get()).map_err(|_| match kind_of(raw) {
        "a string" => Wrong::new("holds an escape that is no character", "Send half of a surrogate pair only with its other half."),
        other => Wrong::new(format!("is {other}, and has to be a string"), "Put it in quotes."),
    })
}

/// A number without decimals that are all zeros: 1.0 is as whole as 1 (JSON Schema, 6.1.1).
fn whole(number: &str) -> &str {
    match number.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) | None => number,
    }
}

/// `products_stock_quantity_check`, within what an `integer` holds.
pub(super) fn stock_quantity(raw: &RawValue) -> Result<i32, Wrong> {
    const REMEDY: &str = "Send a whole number from 0 to 2147483647, in digits.";
    if kind_of(raw) != "a number" {
        return Err(Wrong::new(format!("is {}, and has to be a number", kind_of(raw)), REMEDY));
    }
    let text = whole(raw.get());
    match text.parse::<i32>() {
        Ok(quantity @ 0..) => Ok(quantity),
        Ok(_) => Err(Wrong::new("is below 0", REMEDY)),
        Err(_) if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => Err(Wrong::new("is not a whole number", REMEDY)),
        Err(_) if text.starts_with('-') => Err(Wrong::new("is below 0", REMEDY)),
        Err(_) => Err(Wrong::new("is above 2147483647", REMEDY)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    #[rstest]
    #[case::as_long_as_may_be(&"ü".repeat(64), true)]
    #[case::one_more(&"ü".repeat(65), false)]
    #[case::empty("", false)]
    #[case::blank(" \u{a0}\t", false)]
    #[case::nul("a\0", false)]
    fn a_sku_has_the_bounds_of_its_column(#[case] text: &str, #[case] fits: bool) {
        assert_eq!(SKU.check(text).is_ok(), fits);
    }

    #[rstest]
    #[case("0", Ok(0))]
    #[case("2147483647", Ok(i32::MAX))]
    #[case("2147483648", Err("is above 2147483647"))]
    #[case("99999999999999999999", Err("is above 2147483647"))]
    #[case("-1", Err("is below 0"))]
    #[case("-99999999999999999999", Err("is below 0"))]
    #[case("1.0", Ok(1))]
    #[case("-0.00", Ok(0))]
    #[case("1.5", Err("is not a whole number"))]
    #[case("2147483648.0", Err("is above 2147483647"))]
    #[case("1e3", Err("is not a whole number"))]
    #[case("\"1\"", Err("is a string, and has to be a number"))]
    #[case("[1]", Err("is an array, and has to be a number"))]
    fn a_quantity_is_a_whole_number_that_an_integer_holds(#[case] text: &str, #[case] read: Result<i32, &str>) {
        assert_eq!(stock_quantity(&raw(text)).map_err(|wrong| wrong.detail), read.map_err(str::to_owned));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        let wrong = text(&raw(r#""\ud800""#), NAME).expect_err("no character");
        assert!(wrong.detail.contains("no character"), "{wrong:?}");
        assert_eq!(text(&raw(r#""\ud83d\ude00""#), NAME), Ok("😀".to_owned()));
    }
}
