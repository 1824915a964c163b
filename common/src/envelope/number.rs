//! Numbers as Postgres prints them.

use std::io::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{value::Written, wire::Text};

/// Longer numbers are unknown: turning them into decimals takes the square of their length.
const UNSCALED_LEN_MAX: usize = 512;

/// A decimal in plain digits. With a scale, it has exactly so many after the point; what has not was not printed by Postgres.
pub(super) fn push_decimal_text(out: &mut Vec<u8>, text: &str, scale: Option<u32>) -> Option<()> {
    // As Debezium writes what no decimal of Java's can hold.
    let special = match text {
        "NAN" | "NaN" => Some("NaN"),
        "POSITIVE_INFINITY" | "Infinity" => Some("Infinity"),
        "NEGATIVE_INFINITY" | "-Infinity" => Some("-Infinity"),
        _ => None,
    };
    if let Some(special) = special {
        out.extend_from_slice(special.as_bytes());
        return Some(());
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = all_digits(whole) && (whole == "0" || !whole.starts_with('0')) && fraction.is_none_or(all_digits);
    let fits = scale.is_none_or(|scale| fraction.map_or(0, str::len) == scale as usize);
    if !is_plain || !fits {
        return None;
    }
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// A number of this scale from the base64 of its unscaled digits: two's complement, big endian.
pub(super) fn push_unscaled(out: &mut Vec<u8>, base64: &str, scale: u32) -> Option<()> {
    let bytes = BASE64_STANDARD.decode(base64).ok().filter(|bytes| (1..=UNSCALED_LEN_MAX).contains(&bytes.len()))?;
    let is_negative = bytes[0] & 0x80 != 0;
    let digits = digits_of(magnitude(bytes, is_negative));
    if is_negative {
        out.push(b'-');
    }
    let scale = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if scale > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    Some(())
}

/// A number that brings its own scale: `{"scale":1,"value":"Dw=="}`.
pub(super) fn push_scaled(out: &mut Vec<u8>, json: &str) -> Option<()> {
    #[derive(Deserialize)]
    struct Scaled<'a> {
        scale: u32,
        #[serde(borrow)]
        value: Text<'a>,
    }
    let scaled: Scaled<'_> = serde_json::from_str(json).ok()?;
    // The most digits that Postgres keeps after the point (NUMERIC_MAX_DISPLAY_SCALE, 16383).
    (scaled.scale <= 16_383).then(|| push_unscaled(out, &scaled.value.0, scaled.scale))?
}

fn magnitude(mut bytes: Vec<u8>, is_negative: bool) -> Vec<u8> {
    if is_negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            let (inverted, carried) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (inverted, carried);
        }
    }
    bytes
}

/// The decimal digits of a number of these bytes, big endian.
fn digits_of(mut bytes: Vec<u8>) -> String {
    /// Nine digits at a time.
    const STEP: u64 = 1_000_000_000;
    let mut groups = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut bytes {
            let value = rest << 8 | u64::from(*byte);
            (*byte, rest) = (u8::try_from(value / STEP).unwrap_or(0), value % STEP);
        }
        groups.push(rest);
    }
    let mut digits = groups.pop().unwrap_or(0).to_string();
    digits.extend(groups.iter().rev().map(|group| format!("{group:09}")));
    digits
}

/// `NaN` and the infinities, which JSON has no numbers for.
pub(super) fn push_special_float(out: &mut Vec<u8>, text: &str) -> Option<()> {
    matches!(text, "NaN" | "Infinity" | "-Infinity").then(|| out.extend_from_slice(text.as_bytes()))
}

/// As Postgres prints `real` with `extra_float_digits` above 0.
pub(super) fn push_f32(out: &mut Vec<u8>, float: f32) -> Written {
    let shortest = format!("{float:e}");
    let is_same = |text: String| text.parse() == Ok(float);
    // Plain up to the precision of the type (FLT_DIG).
    let is_agreed = is_agreed(&shortest, |digits| format!("{float:.digits$e}"), is_same);
    if is_agreed { push_float(out, &shortest, 6) } else { Written::Unknown }
}

/// As Postgres prints `double precision` with `extra_float_digits` above 0.
pub(super) fn push_f64(out: &mut Vec<u8>, float: f64) -> Written {
    let shortest = format!("{float:e}");
    let is_same = |text: String| text.parse() == Ok(float);
    let is_agreed = is_agreed(&shortest, |digits| format!("{float:.digits$e}"), is_same);
    if is_agreed { push_float(out, &shortest, 15) } else { Written::Unknown }
}

/// Whether everybody's shortest digits of a number are these. Two printers may differ where the digits lie exactly in the middle to
/// the next number, which some take and Postgres does not, and where two digits are equally near.
fn is_agreed(shortest: &str, rounded: impl Fn(usize) -> String, is_same: impl Fn(String) -> bool) -> bool {
    /// Twice as many as tell any two numbers apart, so that the last of them is far below half the distance between two.
    const DIGITS: u32 = 34;
    let Some((mantissa, exponent)) = shortest.split_once('e') else { return true }; // NaN, inf
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let fraction_len = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits = mantissa.replace('.', "").parse::<u128>();
    let (Ok(digits), Ok(exponent)) = (digits, exponent.parse::<i64>()) else { return false };
    if digits == 0 {
        return true;
    }
    let more = DIGITS.saturating_sub(digits.ilog10() + 1);
    let (digits, scale) = (digits * 10_u128.pow(more), exponent - i64::try_from(fraction_len).unwrap_or(0) - i64::from(more));
    let is_inside = [digits + 1, digits - 1].iter().all(|beside| is_same(format!("{sign}{beside}e{scale}")));
    let further = rounded(fraction_len + 8);
    let rest = further.split_once('e').and_then(|(mantissa, _)| mantissa.get(mantissa.len().checked_sub(8)?..).map(str::to_owned));
    is_inside && rest.is_none_or(|rest| rest != "50000000")
}

/// From digits and exponent (`1.25e-7`) to what Postgres makes of them: plain from 1e-4 to below `10^plain_max`.
fn push_float(out: &mut Vec<u8>, scientific: &str, plain_max: i32) -> Written {
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return Written::Unknown };
    let Ok(exponent) = exponent.parse::<i32>() else { return Written::Unknown };
    if !(-4..plain_max).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to a Vec does not fail.
        return write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs()).map_or(Written::Unknown, |()| Written::Text);
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    out.extend_from_slice(sign.as_bytes());
    match usize::try_from(exponent) {
        Err(_) => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', (-exponent - 1).unsigned_abs() as usize));
            out.extend_from_slice(digits.as_bytes());
        }
        Ok(exponent) if digits.len() <= exponent + 1 => {
            out.extend_from_slice(digits.as_bytes());
            out.extend(std::iter::repeat_n(b'0', exponent + 1 - digits.len()));
        }
        Ok(exponent) => {
            let (whole, fraction) = digits.split_at(exponent + 1);
            out.extend_from_slice(whole.as_bytes());
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
    }
    Written::Text
}
