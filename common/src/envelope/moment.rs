//! Dates and times as Postgres prints them under `DateStyle = ISO` and `TimeZone = UTC`.

use std::io::Write;

use crate::row_json::date_of;

const DAY_SECONDS: i64 = 86_400;
const SECOND_MICROS: i64 = 1_000_000;
const DAY_MICROS: i64 = DAY_SECONDS * SECOND_MICROS;

/// Days since 1970 of the years in which a number of them is taken at its word.
const DAYS: std::ops::Range<i64> = -719_528..2_932_897; // 0000-01-01 to 9999-12-31

/// µs since 1970 from 1980 to 2200, and the same in ms.
///
/// Debezium writes a timestamp as a number of µs, of ms where the type keeps no more, or, by `time.precision.mode`, of another unit.
/// Read in the wrong one, no moment of these years falls into these years: what does was read in the right one. (Only a moment of
/// the first months of 1970, in a unit a thousand times finer, would.) All else is unknown.
const PLAUSIBLE_MICROS: std::ops::Range<i64> = 315_532_800 * SECOND_MICROS..7_258_118_400 * SECOND_MICROS;

/// A date from its days since 1970.
pub(super) fn push_date(out: &mut Vec<u8>, days: i64) -> Option<()> {
    if !DAYS.contains(&days) {
        return None;
    }
    let (year, month, day) = date_of(days);
    push_day(out, year, month, day, "")
}

/// A time of day. Numbers that another unit would explain as well are unknown, but for midnight.
pub(super) fn push_time(out: &mut Vec<u8>, count: i64, in_millis: bool) -> Option<()> {
    /// No time of day has more ms; so a greater number of µs is one of µs.
    const DAY_MILLIS: i64 = DAY_MICROS / 1000;
    // Up to milliseconds two modes differ, and either number may be of the other unit.
    let is_plain = count == 0 || (!in_millis && (DAY_MILLIS + 1..=DAY_MICROS).contains(&count));
    is_plain.then(|| push_clock(out, count))?
}

/// A timestamp without time zone.
pub(super) fn push_timestamp(out: &mut Vec<u8>, count: i64, in_millis: bool) -> Option<()> {
    let micros = if in_millis { count.checked_mul(1000)? } else { count };
    if !PLAUSIBLE_MICROS.contains(&micros) {
        return None;
    }
    push_date(out, micros.div_euclid(DAY_MICROS))?;
    out.push(b' ');
    push_clock(out, micros.rem_euclid(DAY_MICROS))
}

/// µs of the day, fractions without the zeros at their end.
fn push_clock(out: &mut Vec<u8>, micros: i64) -> Option<()> {
    let (seconds, fraction) = (micros / SECOND_MICROS, micros % SECOND_MICROS);
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).ok()?;
    if fraction > 0 {
        write!(out, ".{fraction:06}").ok()?;
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    Some(())
}

/// A date of ISO 8601, perhaps with a `Z`.
pub(super) fn push_iso_date(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let (year, month, day, rest) = iso_day(text)?;
    matches!(rest, "" | "Z").then(|| push_day(out, year, month, day, ""))?
}

/// A time of day of ISO 8601, perhaps with a `Z`.
pub(super) fn push_iso_time(out: &mut Vec<u8>, text: &str) -> Option<()> {
    push_iso_clock(out, text.strip_suffix('Z').unwrap_or(text))
}

/// A moment of ISO 8601 in UTC, or one of the infinities; `zone` is what comes after the time.
pub(super) fn push_iso_timestamp(out: &mut Vec<u8>, text: &str, zone: &str) -> Option<()> {
    if matches!(text, "infinity" | "-infinity") {
        out.extend_from_slice(text.as_bytes());
        return Some(());
    }
    let (year, month, day, rest) = iso_day(text)?;
    let mut clock = Vec::with_capacity(20);
    let time = rest.strip_prefix(['T', ' '])?;
    push_iso_clock(&mut clock, time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00")).unwrap_or(time))?;
    clock.extend_from_slice(zone.as_bytes());
    push_day(out, year, month, day, &format!(" {}", std::str::from_utf8(&clock).ok()?))
}

/// Year, month, day, and what follows them.
fn iso_day(text: &str) -> Option<(i64, i64, i64, &str)> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (year, rest) = rest.split_once('-')?;
    let month_day = rest.as_bytes().get(..5).filter(|part| part[2] == b'-')?;
    let year = if year.len() >= 4 { digits(year.as_bytes())? * sign } else { return None };
    let (month, day) = (digits(&month_day[..2])?, digits(&month_day[3..])?);
    // From the first day of Postgres's calendar (4713 BC, which ISO calls -4712) to the last year of its timestamps.
    let is_known = (-4_712..=294_276).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    is_known.then_some((year, month, day, rest.get(5..)?))
}

/// A day, then `rest`, then whether it was before Christ: ISO has a year 0, Postgres does not.
fn push_day(out: &mut Vec<u8>, year: i64, month: i64, day: i64, rest: &str) -> Option<()> {
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    write!(out, "{year:04}-{month:02}-{day:02}{rest}{era}").ok()
}

/// `HH:MM`, perhaps with seconds, perhaps with a fraction.
fn push_iso_clock(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let mut next =
        |max: i64| parts.next().filter(|part| part.len() == 2).and_then(|part| digits(part.as_bytes())).filter(|n| *n <= max);
    let (hours, minutes) = (next(24)?, next(59)?);
    let seconds = if whole.len() > 5 { next(59)? } else { 0 };
    let is_known = parts.next().is_none() && fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    // Postgres keeps microseconds; a finer fraction is not from it.
    if !is_known || fraction.trim_end_matches('0').len() > 6 {
        return None;
    }
    write!(out, "{hours:02}:{minutes:02}:{seconds:02}").ok()?;
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    Some(())
}

fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 9 {
        return None;
    }
    bytes.iter().try_fold(0, |number: i64, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

/// A `timestamptz` as our relay writes it: as ISO writes it, but the fraction as Postgres printed it. What has no such form stays.
pub(super) fn to_iso(printed: &str) -> Option<String> {
    let time = printed.strip_suffix("+00")?;
    let (day, clock) = time.split_once(' ')?;
    (day.len() == 10 && !clock.contains(' ')).then(|| format!("{day}T{clock}Z"))
}

/// The way back from [`to_iso`].
pub(super) fn push_from_iso(out: &mut Vec<u8>, text: &str) {
    match text.strip_suffix('Z').and_then(|time| time.split_once('T')) {
        Some((day, clock)) => {
            out.extend_from_slice(day.as_bytes());
            out.push(b' ');
            out.extend_from_slice(clock.as_bytes());
            out.extend_from_slice(b"+00");
        }
        None => out.extend_from_slice(text.as_bytes()),
    }
}
