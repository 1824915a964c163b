//! Arbitrary and damaged messages never break the decoder, and hold no more than they brought.

use super::{ITEMS, table};
use crate::{
    change::{ReplicaIdentity, Row},
    envelope::{Numerics, Record, Table, decode},
};

fn survives(tables: &[Table], key: Option<&[u8]>, value: &[u8]) {
    match decode(key, Some(value)) {
        Ok(Record::Change(envelope)) => {
            for (table, numerics) in tables.iter().flat_map(|table| [(table, Numerics::Text), (table, Numerics::Precise)]) {
                let Ok((change, _)) = envelope.change(table, numerics) else { continue };
                let held: usize = [&change.before, &change.after].into_iter().flatten().map(Row::size).sum();
                // The longest growth: a base64 digit is less than two hexadecimal ones, a scale's digits are zeros.
                assert!(held <= 3 * (value.len() + key.map_or(0, <[u8]>::len)) + 4 * 16_400, "{held} bytes from {}", value.len());
            }
        }
        Ok(_) => {}
        Err(poison) => {
            for table in tables {
                drop(poison.partial.change(table, Numerics::Text));
            }
        }
    }
}

fn tables() -> [Table; 2] {
    [table("items", ReplicaIdentity::Default, ITEMS), table("items", ReplicaIdentity::Full, ITEMS)]
}

/// Any bytes at all, as key and value.
///
/// Runs for a second with every `cargo test`. Longer, with coverage: `cargo install cargo-bolero`, then
/// `cargo bolero test -p freshline envelope::tests::arbitrary::arbitrary_bytes_never_break_the_decoder -T 1h`.
#[test]
fn arbitrary_bytes_never_break_the_decoder() {
    let tables = tables();
    let check = bolero::check!().with_test_time(std::time::Duration::from_secs(1)).with_type::<(Option<Vec<u8>>, Vec<u8>)>();
    check.for_each(|(key, value)| survives(&tables, key.as_deref(), value));
}

/// Good messages with some bytes changed, cut or added: these get further into the decoder than arbitrary bytes do.
#[test]
fn damaged_messages_never_break_the_decoder() {
    type Captured = std::collections::BTreeMap<String, Vec<(Option<String>, Option<String>)>>;
    let captured: Captured =
        serde_json::from_str(include_str!("../../../tests/golden/debezium.json")).expect("the captured events");
    let whole: Vec<_> = captured.into_values().flatten().filter_map(|(key, value)| Some((key?, value?))).collect();
    let tables = tables();
    type Damage = (u8, Vec<(u16, u8)>, Option<u16>, Vec<u8>);
    let check = bolero::check!().with_test_time(std::time::Duration::from_secs(1)).with_type::<Damage>();
    check.for_each(|(which, changed, kept, added)| {
        let (key, value) = &whole[usize::from(*which) % whole.len()];
        let mut value = value.clone().into_bytes();
        for (at, byte) in changed {
            let at = usize::from(*at) % value.len();
            value[at] = *byte;
        }
        value.truncate(kept.map_or(usize::MAX, usize::from));
        value.extend(added);
        survives(&tables, Some(key.as_bytes()), &value);
    });
}
