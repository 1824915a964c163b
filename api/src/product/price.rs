//! Prices, taken from their text digit by digit. A float would round what it cannot hold, and say nothing.

use std::borrow::Cow;

use freshline::catalog::{Price, PriceSyntax};
use serde_json::value::RawValue;

use super::{Wrong, bounds::string, kind_of};

const REMEDY: &str = "Send a number from 0 to 9999999999.99 with at most two decimals, or the same as a string.";

/// The largest exponent, either way, that is written out. A number with a larger one is refused, whatever its digits.
const EXPONENT_MAX: usize = 40;

/// The price that a JSON number or string says.
pub(super) fn price(raw: &RawValue) -> Result<Price, Wrong> {
    match kind_of(raw) {
        "a number" => exact(raw.get()),
        "a string" => exact(&string(raw)?),
        other => Err(Wrong::new(format!("is {other}, and has to be a number or a string"), REMEDY)),
    }
}

fn exact(text: &str) -> Result<Price, Wrong> {
    let wrong = |detail: &str| Wrong::new(detail, REMEDY);
    let plain = without_exponent(text).ok_or_else(|| wrong("has an exponent that cannot be used"))?;
    plain.parse().map_err(|syntax| match syntax {
        PriceSyntax::Negative => wrong("is below 0"),
        PriceSyntax::TooHigh => wrong(&format!("is above {}", Price::MAX)),
        PriceSyntax::TooFine => wrong("has more than two decimals"),
        PriceSyntax::NotDecimal => wrong("is not a decimal number"),
    })
}

/// The same number written without an exponent: `12.5e1` gives `125.`; the digits are not looked at.
fn without_exponent(text: &str) -> Option<Cow<'_, str>> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return Some(text.into()) };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let size = |digits: &str| digits.parse::<usize>().ok().filter(|size| *size <= EXPONENT_MAX && !digits.starts_with('+'));
    if whole.is_empty() {
        return None;
    }
    let moved = match exponent.strip_prefix('-') {
        Some(left) => {
            let padded = format!("{:0<1$}{whole}", "", size(left)? + 1);
            let (whole, moved) = padded.split_at_checked(padded.len() - size(left)?)?;
            format!("{sign}{whole}.{moved}{decimals}0")
        }
        None => {
            let right = size(exponent.strip_prefix('+').unwrap_or(exponent))?;
            let padded = format!("{decimals:0<right$}");
            let (moved, decimals) = padded.split_at_checked(right)?;
            format!("{sign}{whole}{moved}.{decimals}0")
        }
    };
    Some(moved.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(json: &str) -> Result<String, String> {
        let raw = RawValue::from_string(json.to_owned()).expect("JSON");
        price(&raw).map(|price| price.to_string()).map_err(|wrong| wrong.detail)
    }

    #[rstest]
    #[case("12.5", "12.50")]
    #[case("12", "12.00")]
    #[case("-0.0", "0.00")]
    #[case("0.10", "0.10")]
    #[case("12.500000000000000000000", "12.50")]
    #[case("9999999999.99", "9999999999.99")]
    #[case("1e3", "1000.00")]
    #[case("1.5E+3", "1500.00")]
    #[case("125E-2", "1.25")]
    #[case("5e-2", "0.05")]
    #[case("0e40", "0.00")]
    #[case("\"12.50\"", "12.50")]
    fn a_price_is_taken_exactly(#[case] json: &str, #[case] price: &str) {
        assert_eq!(read(json).as_deref(), Ok(price));
    }

    #[rstest]
    #[case("12.345", "has more than two decimals")]
    #[case("0.30000000000000004", "has more than two decimals")]
    #[case("1e-3", "has more than two decimals")]
    #[case("-0.01", "is below 0")]
    #[case("-1e2", "is below 0")]
    #[case("10000000000", "is above 9999999999.99")]
    #[case("1e10", "is above 9999999999.99")]
    #[case("1e400", "has an exponent that cannot be used")]
    #[case("1e-99999999999999999999999", "has an exponent that cannot be used")]
    #[case("\"\"", "is not a decimal number")]
    #[case("\"NaN\"", "is not a decimal number")]
    #[case("\"1,50\"", "is not a decimal number")]
    #[case("\"e1\"", "has an exponent that cannot be used")]
    #[case("\"1e\"", "has an exponent that cannot be used")]
    #[case("\"1e++2\"", "has an exponent that cannot be used")]
    #[case("\"1eé\"", "has an exponent that cannot be used")]
    #[case("true", "is a boolean, and has to be a number or a string")]
    fn what_is_no_price_is_refused(#[case] json: &str, #[case] detail: &str) {
        assert_eq!(read(json), Err(detail.to_owned()));
    }

    proptest! {
        #[test]
        fn an_exponent_moves_the_point_and_nothing_else(cents in 0_u64..1_000_000_000_000, shift in 0_usize..20) {
            let price = format!("{}.{:02}", cents / 100, cents % 100);
            prop_assert_eq!(read(&price), Ok(price.clone()));
            prop_assert_eq!(read(&format!("{cents}{:0<shift$}e-{}", "", shift + 2)), Ok(price.clone()));
            prop_assert_eq!(read(&format!("\"0.{:0>shift$}{cents:012}e{}\"", "", shift + 10)), Ok(price));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "[-+0-9.eEé]{0,20}") {
            if let Ok(price) = exact(&text) {
                prop_assert_eq!(price.to_string().parse::<Price>().ok(), Some(price));
            }
        }
    }
}
