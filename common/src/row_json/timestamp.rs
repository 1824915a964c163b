//! `timestamptz` as RFC 3339 in UTC, whatever offset the session printed it with.

use super::text::push_string;

/// Appends a `timestamptz` as a string such as `"2024-02-29T12:00:00.5Z"`: fractions of a second as printed, the offset taken out.
///
/// What has no such form is written as it was printed: `infinity`, years before 1 or after 9999, dates that are not ISO.
pub(super) fn push_utc(out: &mut Vec<u8>, text: &str) {
    match Printed::parse(text).and_then(Printed::in_utc) {
        Some(Printed { date, time, fraction, .. }) => {
            out.push(b'"');
            let (year, month, day) = date;
            for (number, digits, after) in [(year, 4, b'-'), (month, 2, b'-'), (day, 2, b'T')] {
                push_digits(out, number, digits);
                out.push(after);
            }
            for (number, before) in [(time / 3600, None), (time / 60 % 60, Some(b':')), (time % 60, Some(b':'))] {
                out.extend(before);
                push_digits(out, number, 2);
            }
            out.extend_from_slice(fraction.as_bytes());
            out.extend_from_slice(b"Z\"");
        }
        None => push_string(out, text),
    }
}

/// A moment as Postgres prints it in ISO style: `2024-02-29 17:30:00.5+05:30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Printed<'a> {
    /// Year, month, day.
    date: (i64, i64, i64),
    /// Seconds of the day.
    time: i64,
    /// With its point, or empty.
    fraction: &'a str,
    /// Seconds east of Greenwich.
    offset: i64,
}

impl<'a> Printed<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
        if separators.iter().any(|&(at, byte)| bytes.get(at) != Some(&byte)) {
            return None;
        }
        let number = |from: usize, to: usize| digits(bytes.get(from..to)?);
        let date = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let time = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
        let rest = text.get(19..)?;
        let sign = rest.find(['+', '-'])?;
        let (fraction, offset) = rest.split_at_checked(sign)?;
        let whole = match fraction.as_bytes() {
            [] => true,
            [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        whole.then_some(Self { date, time, fraction, offset: parse_offset(offset)? })
    }

    /// The same moment at offset 0; `None` where its year would leave 1 to 9999.
    fn in_utc(self) -> Option<Self> {
        if self.offset == 0 {
            return Some(self);
        }
        let seconds = days_of(self.date) * 86_400 + self.time - self.offset;
        let date = date_of(seconds.div_euclid(86_400));
        (1..=9999).contains(&date.0).then_some(Self { date, time: seconds.rem_euclid(86_400), offset: 0, ..self })
    }
}

/// Seconds of an offset `+05`, `+05:30` or, before standard time, `-00:01:15`.
fn parse_offset(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let sign = match bytes.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let part = |from: usize| match bytes.get(from..) {
        None | Some([]) => Some(0),
        Some([b':', two @ ..]) => digits(two.get(..2)?),
        Some(_) => None,
    };
    let usable = matches!(bytes.len(), 3 | 6 | 9);
    usable.then_some(sign * ((digits(bytes.get(1..3)?)? * 60 + part(3)?) * 60 + part(6)?))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let step = |number: i64, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'));
    bytes.iter().try_fold(0, step)
}

fn push_digits(out: &mut Vec<u8>, number: i64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back. Both are Howard Hinnant's algorithms
/// (`days_from_civil`, `civil_from_days`): years begin in March, so that a leap day is the last of its year.
fn days_of((year, month, day): (i64, i64, i64)) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// See [`days_of`].
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> String {
        let mut out = Vec::new();
        push_utc(&mut out, text);
        String::from_utf8(out).expect("UTF-8")
    }

    #[rstest::rstest]
    #[case::utc("2024-02-29 12:00:00+00", "2024-02-29T12:00:00Z")]
    #[case::microseconds_as_printed("2024-02-29 12:00:00.123456+00", "2024-02-29T12:00:00.123456Z")]
    #[case::trailing_zeros_are_not_put_back("2024-02-29 12:00:00.5+00", "2024-02-29T12:00:00.5Z")]
    #[case::half_an_hour("2024-02-29 17:30:00.5+05:30", "2024-02-29T12:00:00.5Z")]
    #[case::over_midnight_into_a_leap_day("2024-03-01 01:00:00+02", "2024-02-29T23:00:00Z")]
    #[case::over_the_year("2023-12-31 20:00:00-08", "2024-01-01T04:00:00Z")]
    #[case::before_1970("1969-12-31 23:59:59-00:30", "1970-01-01T00:29:59Z")]
    #[case::local_mean_time("1840-01-01 00:00:00-00:01:15", "1840-01-01T00:01:15Z")]
    #[case::the_first_year("0001-01-01 00:00:00+00", "0001-01-01T00:00:00Z")]
    fn a_moment_is_written_in_utc(#[case] printed: &str, #[case] written: &str) {
        assert_eq!(utc(printed), format!("\"{written}\""));
    }

    #[rstest::rstest]
    #[case("infinity")]
    #[case("-infinity")]
    #[case("0044-03-15 12:00:00+00 BC")]
    #[case("10000-01-01 00:00:00+00")]
    #[case("0001-01-01 00:00:00+01")]
    #[case("9999-12-31 23:30:00-01")]
    #[case("29/02/2024 12:00:00 UTC")]
    #[case("2024-02-29 12:00:00")]
    #[case("2024-02-29 12:00:00.+00")]
    #[case("2024-02-29 12:00:00+0")]
    #[case("2024-02-29 12:00:00+0530")]
    #[case("2024-02-29 12:00:00é+00")]
    #[case("")]
    fn what_has_no_such_form_stays_as_printed(#[case] printed: &str) {
        assert_eq!(utc(printed), format!("\"{printed}\""));
    }

    proptest! {
        #[test]
        fn one_moment_has_one_text_whatever_offset_it_was_printed_with(
            day in -700_000_i64..2_900_000, time in 0_i64..86_400, minutes in -14_i64 * 60..=14 * 60,
        ) {
            let printed = |seconds: i64, minutes: i64| {
                let (year, month, day) = date_of(seconds.div_euclid(86_400));
                let (time, sign) = (seconds.rem_euclid(86_400), if minutes < 0 { '-' } else { '+' });
                let offset = minutes.abs();
                format!(
                    "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}{sign}{:02}:{:02}",
                    time / 3600, time / 60 % 60, time % 60, offset / 60, offset % 60,
                )
            };
            let seconds = day * 86_400 + time;
            prop_assert_eq!(utc(&printed(seconds, 0)), utc(&printed(seconds + minutes * 60, minutes)));
        }

        #[test]
        fn days_and_dates_are_each_other_backwards(day in -800_000_i64..3_000_000) {
            let (year, month, of_month) = date_of(day);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&of_month));
            prop_assert_eq!(days_of((year, month, of_month)), day);
            prop_assert!(date_of(day + 1) > date_of(day));
        }
    }
}
