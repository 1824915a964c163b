//! One value of a type in each of the forms that the connector's settings give it.

use super::value;
use crate::envelope::Numerics;

const TIMESTAMP: (u32, i32) = (1114, -1);
const TIMESTAMP_MILLIS: (u32, i32) = (1114, 3);
const TIMESTAMPTZ: (u32, i32) = (1184, -1);
const NUMERIC: (u32, i32) = (1700, -1);
const NUMERIC_10_2: (u32, i32) = (1700, super::NUMERIC_10_2);
const NUMERIC_10_0: (u32, i32) = (1700, (10 << 16) + 4);
const FLOAT4: (u32, i32) = (700, -1);
const FLOAT8: (u32, i32) = (701, -1);

#[rstest::rstest]
#[case::int((23, -1), "-7", "-7")]
#[case::bigint((20, -1), "9223372036854775807", "9223372036854775807")]
#[case::bool_true((16, -1), "true", "t")]
#[case::bool_false((16, -1), "false", "f")]
#[case::null((23, -1), "null", "∅")]
#[case::text((25, -1), r#""a \"b\" \u00fc""#, "a \"b\" ü")]
#[case::json((114, -1), r#""{ \"a\":1}""#, "{ \"a\":1}")]
#[case::padded((1042, 5 + 4), r#""ab""#, "ab   ")]
#[case::padded_already((1042, 5 + 4), r#""ab   ""#, "ab   ")]
#[case::bytes((17, -1), r#""3q2+7w==""#, "\\xdeadbeef")]
#[case::no_bytes((17, -1), r#""""#, "\\x")]
#[case::bytes_perhaps_hexadecimal((17, -1), r#""deadbeef""#, "?")]
#[case::bytes_urlsafe((17, -1), r#""3q2-7w==""#, "?")]
#[case::bytes_unavailable((17, -1), r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#, "?")]
#[case::unavailable((25, -1), r#""__debezium_unavailable_value""#, "?")]
#[case::an_array((1007, -1), "[1,2,null]", "?")]
#[case::an_interval((1186, -1), "2813400000000", "?")]
#[case::a_zoned_time((1266, -1), r#""03:04:05Z""#, "?")]
fn a_value_is_what_postgres_prints(#[case] column: (u32, i32), #[case] json: &str, #[case] printed: &str) {
    assert_eq!(value(column, json, Numerics::Text).as_deref(), Some(printed));
}

#[rstest::rstest]
#[case::plain(NUMERIC, r#""1.5""#, "1.5")]
#[case::scaled(NUMERIC_10_2, r#""10.50""#, "10.50")]
#[case::zero(NUMERIC_10_2, r#""0.00""#, "0.00")]
#[case::negative(NUMERIC_10_2, r#""-0.05""#, "-0.05")]
#[case::digits_lost(NUMERIC_10_2, r#""10.5""#, "?")]
#[case::digits_gained(NUMERIC_10_0, r#""10.0""#, "?")]
#[case::not_a_number(NUMERIC, r#""NAN""#, "NaN")]
#[case::infinite(NUMERIC, r#""NEGATIVE_INFINITY""#, "-Infinity")]
#[case::an_exponent(NUMERIC, r#""1E-20""#, "?")]
#[case::a_zero_too_many(NUMERIC, r#""01""#, "?")]
#[case::base64(NUMERIC_10_2, r#""BBo=""#, "?")]
#[case::double_mode(NUMERIC_10_2, "10.5", "?")]
#[case::null(NUMERIC_10_2, "null", "∅")]
fn a_numeric_in_string_mode(#[case] column: (u32, i32), #[case] json: &str, #[case] printed: &str) {
    assert_eq!(value(column, json, Numerics::Text).as_deref(), Some(printed));
}

#[rstest::rstest]
#[case::positive(NUMERIC_10_2, r#""BBo=""#, "10.50")]
#[case::negative(NUMERIC_10_2, r#""lw==""#, "-1.05")]
#[case::small(NUMERIC_10_2, r#""BQ==""#, "0.05")]
#[case::small_negative(NUMERIC_10_2, r#""+w==""#, "-0.05")]
#[case::zero(NUMERIC_10_2, r#""AA==""#, "0.00")]
#[case::lowest_of_a_byte(NUMERIC_10_0, r#""gA==""#, "-128")]
#[case::above_a_byte(NUMERIC_10_0, r#""AIA=""#, "128")]
#[case::its_own_scale(NUMERIC, r#"{"scale":9,"value":"J+QbMka+ybFuOYEV"}"#, "12345678901234567890.123456789")]
#[case::its_own_scale_small(NUMERIC, r#"{"scale":1,"value":"Dw=="}"#, "1.5")]
#[case::a_scale_too_many(NUMERIC, r#"{"scale":99999,"value":"Dw=="}"#, "?")]
#[case::null_may_be_nan(NUMERIC_10_2, "null", "?")]
#[case::nothing(NUMERIC_10_2, r#""""#, "?")]
fn a_numeric_in_precise_mode(#[case] column: (u32, i32), #[case] json: &str, #[case] printed: &str) {
    assert_eq!(value(column, json, Numerics::Precise).as_deref(), Some(printed));
}

// What Postgres 15 printed for each.
#[rstest::rstest]
#[case(FLOAT8, "0.1", "0.1")]
#[case(FLOAT8, "1.0E10", "10000000000")]
#[case(FLOAT8, "1.0E15", "1e+15")]
#[case(FLOAT8, "123456789012345.0", "123456789012345")]
#[case(FLOAT8, "1.0E-4", "0.0001")]
#[case(FLOAT8, "1.25E-5", "1.25e-05")]
#[case(FLOAT8, "1.0E300", "1e+300")]
#[case(FLOAT8, "-0.0", "-0")]
#[case(FLOAT8, "1234.5", "1234.5")]
#[case(FLOAT8, "3", "3")]
#[case(FLOAT8, r#""-Infinity""#, "-Infinity")]
#[case(FLOAT4, "0.1", "0.1")]
#[case(FLOAT4, "999999.0", "999999")]
#[case(FLOAT4, "1000000.0", "1e+06")]
#[case(FLOAT4, "1.5E-7", "1.5e-07")]
fn a_float(#[case] column: (u32, i32), #[case] json: &str, #[case] printed: &str) {
    assert_eq!(value(column, json, Numerics::Text).as_deref(), Some(printed));
}

#[rstest::rstest]
#[case::date((1082, -1), "20455", "2026-01-02")]
#[case::date_before_1970((1082, -1), "-1", "1969-12-31")]
#[case::date_infinite((1082, -1), "2147483647", "?")]
#[case::date_iso((1082, -1), r#""2026-01-02Z""#, "2026-01-02")]
#[case::date_iso_before_christ((1082, -1), r#""-0043-03-15""#, "0044-03-15 BC")]
#[case::time((1083, -1), "11045678901", "03:04:05.678901")]
#[case::time_midnight((1083, -1), "0", "00:00:00")]
#[case::time_end_of_day((1083, -1), "86400000000", "24:00:00")]
#[case::time_in_milliseconds_perhaps((1083, -1), "11045678", "?")]
#[case::time_of_milliseconds((1083, 3), "11045678", "?")]
#[case::time_iso((1083, -1), r#""03:04:05.500Z""#, "03:04:05.5")]
#[case::timestamp(TIMESTAMP, "1767323045678901", "2026-01-02 03:04:05.678901")]
#[case::timestamp_whole(TIMESTAMP, "1767323045000000", "2026-01-02 03:04:05")]
#[case::timestamp_of_milliseconds(TIMESTAMP_MILLIS, "1767323045678", "2026-01-02 03:04:05.678")]
#[case::timestamp_in_another_unit(TIMESTAMP, "1767323045678", "?")]
#[case::timestamp_in_nanoseconds(TIMESTAMP, "1767323045678901000", "?")]
#[case::timestamp_infinite(TIMESTAMP, "-9223372036854775808", "?")]
#[case::timestamp_iso(TIMESTAMP, r#""2026-01-02T03:04:05.678901Z""#, "2026-01-02 03:04:05.678901")]
#[case::timestamp_iso_infinite(TIMESTAMP, r#""-292275055-05-16T23:00:00Z""#, "?")]
#[case::zoned(TIMESTAMPTZ, r#""2026-01-02T01:04:05.000000Z""#, "2026-01-02 01:04:05+00")]
#[case::zoned_fraction(TIMESTAMPTZ, r#""2026-01-02T01:04:05.120000Z""#, "2026-01-02 01:04:05.12+00")]
#[case::zoned_short(TIMESTAMPTZ, r#""2026-01-02T01:04Z""#, "2026-01-02 01:04:00+00")]
#[case::zoned_elsewhere(TIMESTAMPTZ, r#""2026-01-02T01:04:05+02:00""#, "?")]
#[case::zoned_before_christ(TIMESTAMPTZ, r#""-0043-03-15T00:00:00.000000Z""#, "0044-03-15 00:00:00+00 BC")]
#[case::zoned_far(TIMESTAMPTZ, r#""+12026-01-02T01:04:05Z""#, "12026-01-02 01:04:05+00")]
#[case::zoned_infinite(TIMESTAMPTZ, r#""infinity""#, "infinity")]
#[case::zoned_nonsense(TIMESTAMPTZ, r#""yesterday""#, "?")]
#[case::zoned_not_ascii(TIMESTAMPTZ, r#""2026-01é02""#, "?")]
fn a_moment(#[case] column: (u32, i32), #[case] json: &str, #[case] printed: &str) {
    assert_eq!(value(column, json, Numerics::Text).as_deref(), Some(printed));
}

#[rstest::rstest]
#[case::text_for_a_number((23, -1), r#""7""#)]
#[case::fraction_for_a_whole((23, -1), "7.5")]
#[case::beyond_64_bits((20, -1), "9223372036854775808")]
#[case::number_for_a_bool((16, -1), "1")]
#[case::number_for_a_text((25, -1), "7")]
#[case::bool_for_a_date((1082, -1), "true")]
#[case::object_for_a_text((25, -1), "{}")]
#[case::word_for_a_float((701, -1), r#""much""#)]
fn a_value_of_another_type_is_wrong(#[case] column: (u32, i32), #[case] json: &str) {
    assert_eq!(value(column, json, Numerics::Text), None);
}
