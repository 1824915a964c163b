//! An amount of money, exactly as the column `price numeric(12,2)` holds it.

use std::{fmt, str::FromStr};

/// A price: 0 to 9,999,999,999.99, in hundredths.
///
/// Checked when made, because Postgres would round a third decimal silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

impl Price {
    /// The highest price: ten digits before the point.
    pub const MAX: Self = Self(999_999_999_999);

    /// A price of so many hundredths, or `None` above [`Price::MAX`].
    pub const fn from_cents(cents: u64) -> Option<Self> {
        if cents <= Self::MAX.0 { Some(Self(cents)) } else { None }
    }

    /// The price in hundredths.
    pub const fn cents(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A text that is not a price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceSyntax {
    /// It is below zero.
    #[error("a price is not negative")]
    Negative,
    /// It is above [`Price::MAX`].
    #[error("a price is at most {}", Price::MAX)]
    TooHigh,
    /// It has more than two decimals that are not zero.
    #[error("a price has at most two decimals")]
    TooFine,
    /// It is no decimal number.
    #[error("a price is a decimal number such as 12.50")]
    NotDecimal,
}

impl FromStr for Price {
    type Err = PriceSyntax;

    /// Reads digits with an optional fraction, without an exponent. Zeros are taken wherever they change nothing.
    fn from_str(text: &str) -> Result<Self, PriceSyntax> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal(whole) || !decimal(fraction) {
            return Err(PriceSyntax::NotDecimal);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 2 {
            return Err(if negative { PriceSyntax::Negative } else { PriceSyntax::TooFine });
        }
        let whole = whole.trim_start_matches('0');
        if whole.len() > 10 {
            return Err(if negative { PriceSyntax::Negative } else { PriceSyntax::TooHigh });
        }
        let number = |digits: &str| digits.bytes().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        let cents = number(whole) * 100 + number(fraction) * if fraction.len() == 1 { 10 } else { 1 };
        if negative && cents > 0 { Err(PriceSyntax::Negative) } else { Ok(Self(cents)) }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", "0.00")]
    #[case("-0.00", "0.00")]
    #[case("12.5", "12.50")]
    #[case("12.50000", "12.50")]
    #[case("0012", "12.00")]
    #[case("0.07", "0.07")]
    #[case("9999999999.99", "9999999999.99")]
    fn a_price_is_printed_as_postgres_prints_it(#[case] text: &str, #[case] printed: &str) {
        assert_eq!(text.parse::<Price>().expect("a price").to_string(), printed);
    }

    #[rstest]
    #[case("-1", PriceSyntax::Negative)]
    #[case("-0.001", PriceSyntax::Negative)]
    #[case("10000000000", PriceSyntax::TooHigh)]
    #[case("99999999999999999999999999", PriceSyntax::TooHigh)]
    #[case("1.005", PriceSyntax::TooFine)]
    #[case("", PriceSyntax::NotDecimal)]
    #[case("1e3", PriceSyntax::NotDecimal)]
    #[case("1.", PriceSyntax::NotDecimal)]
    #[case(".5", PriceSyntax::NotDecimal)]
    #[case("--1", PriceSyntax::NotDecimal)]
    #[case("NaN", PriceSyntax::NotDecimal)]
    #[case("١", PriceSyntax::NotDecimal)]
    fn what_is_no_price_is_told_why(#[case] text: &str, #[case] why: PriceSyntax) {
        assert_eq!(text.parse::<Price>(), Err(why));
    }
}
