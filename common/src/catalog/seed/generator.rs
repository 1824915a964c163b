//! Made products: row `n` of a seed is the same row always, and can be made without the rows before it.

use std::fmt::Write as _;

use uuid::Uuid;

/// 2024-01-01 00:00:00 UTC: made rows are made one a second from here on, so that ten million end in April 2024. Below the fifteen,
/// which stay the newest.
const BEGIN_MS: u64 = 1_704_067_200_000;

/// The Julian day of that date. Postgres reads `J2460311` as a date, which saves a calendar here.
const BEGIN_DAY: u64 = 2_460_311;

/// Between one row and the next.
const STEP_MS: u64 = 1000;

/// What a category's products are made of.
struct Shelf {
    category: &'static str,
    prefix: &'static str,
    nouns: &'static [&'static str],
    /// In whole units of money.
    price: (u64, u64),
    /// An attribute and its values.
    attribute: (&'static str, &'static [&'static str]),
}

const SHELVES: [Shelf; 12] = [
    Shelf {
        category: "audio",
        prefix: "AU",
        nouns: &["Headphones", "Bookshelf Speaker", "Turntable", "Microphone", "Soundbar"],
        price: (25, 900),
        attribute: ("connection", &["bluetooth", "usb-c", "xlr", "3.5 mm"]),
    },
    Shelf {
        category: "bicycles",
        prefix: "BI",
        nouns: &["City Bike", "Gravel Bike", "Saddle", "Pannier", "Floor Pump"],
        price: (15, 3200),
        attribute: ("frame_size", &["S", "M", "L", "XL"]),
    },
    Shelf {
        category: "books",
        prefix: "BO",
        nouns: &["Field Guide", "Cookbook", "Atlas", "Novel", "Workbook"],
        price: (6, 80),
        attribute: ("binding", &["hardcover", "paperback", "spiral"]),
    },
    Shelf {
        category: "cameras",
        prefix: "CA",
        nouns: &["Compact Camera", "Tripod", "Prime Lens", "Camera Strap", "Light Meter"],
        price: (20, 2600),
        attribute: ("mount", &["E", "X", "Z", "M4/3"]),
    },
    Shelf {
        category: "coffee",
        prefix: "CO",
        nouns: &["Espresso Machine", "Hand Grinder", "Gooseneck Kettle", "Filter Papers", "Dripper"],
        price: (5, 1400),
        attribute: ("material", &["steel", "ceramic", "glass", "paper"]),
    },
    Shelf {
        category: "furniture",
        prefix: "FU",
        nouns: &["Desk", "Armchair", "Bookcase", "Stool", "Floor Lamp"],
        price: (30, 1800),
        attribute: ("finish", &["oak", "walnut", "birch", "black"]),
    },
    Shelf {
        category: "garden",
        prefix: "GA",
        nouns: &["Pruner", "Watering Can", "Raised Bed", "Spade", "Seed Tray"],
        price: (4, 350),
        attribute: ("season", &["spring", "summer", "autumn", "all year"]),
    },
    Shelf {
        category: "kitchen",
        prefix: "KI",
        nouns: &["Chef's Knife", "Dutch Oven", "Cutting Board", "Mixing Bowl", "Scale"],
        price: (8, 420),
        attribute: ("dishwasher_safe", &["yes", "no"]),
    },
    Shelf {
        category: "lighting",
        prefix: "LI",
        nouns: &["Pendant", "Reading Lamp", "LED Bulb", "Lantern", "Wall Light"],
        price: (3, 600),
        attribute: ("socket", &["E14", "E27", "GU10"]),
    },
    Shelf {
        category: "outdoor",
        prefix: "OU",
        nouns: &["Tent", "Sleeping Bag", "Trekking Poles", "Camp Stove", "Dry Bag"],
        price: (10, 900),
        attribute: ("weight_class", &["ultralight", "light", "standard"]),
    },
    Shelf {
        category: "tools",
        prefix: "TO",
        nouns: &["Drill", "Socket Set", "Spirit Level", "Workbench", "Hand Plane"],
        price: (7, 700),
        attribute: ("drive", &["manual", "12 V", "18 V", "230 V"]),
    },
    Shelf {
        category: "toys",
        prefix: "TY",
        nouns: &["Wooden Train", "Puzzle", "Kite", "Building Blocks", "Board Game"],
        price: (5, 160),
        attribute: ("age_from", &["3", "5", "8", "12"]),
    },
];

const MAKERS: [&str; 10] =
    ["Aldern", "Brightwater", "Corvane", "Dunmore", "Eastley", "Fennick", "Gravelle", "Holmquist", "Ironwell", "Juniper"];

const PRAISES: [&str; 6] = [
    "Made to be repaired",
    "Quiet and light",
    "For everyday use",
    "Small enough for any shelf",
    "Built for years",
    "Easy to clean",
];

/// The columns that a made row fills, in the order in which it fills them.
pub(super) const COLUMNS: &str = "id, sku, name, description, category, price, stock_quantity, attributes, created_at, updated_at";

/// Appends row `n` in the text format of COPY. None of its values needs escaping there.
pub(super) fn push_row(out: &mut String, seed: u64, n: u64) {
    let mut random = Random::new(seed, n);
    let shelf = random.choose(&SHELVES);
    let (maker, noun, praise) = (random.choose(&MAKERS), random.choose(shelf.nouns), random.choose(&PRAISES));
    let (low, high) = shelf.price;
    // Twice random, once multiplied: many cheap ones, few dear ones. All end in 0, 50 or 99 cents, as prices do.
    let price = low + (high - low) * random.below(1000) * random.below(1000) / 1_000_000;
    let cents = random.choose(&["00", "50", "99"]);
    let (attribute, values) = shelf.attribute;
    let (value, weight) = (random.choose(values), 50 + random.below(20_000));
    let stock = random.below(500);
    let ms = n * STEP_MS + random.below(STEP_MS);
    let id = id(&mut random, ms);
    let model = random.below(900) + 100;
    // Writing to a String cannot fail.
    let written = write!(out, "{id}\t{}-{n:08}\t{maker} {noun} {model}\t", shelf.prefix).and_then(|()| {
        // One in twenty has no description.
        match random.below(20) {
            0 => out.push_str("\\N"),
            _ => write!(out, "{praise}. {noun} by {maker}, model {model}.")?,
        }
        write!(out, "\t{}\t{price}.{cents}\t{stock}\t", shelf.category)?;
        write!(out, r#"{{"maker": "{maker}", "{attribute}": "{value}", "weight_grams": {weight}}}"#)?;
        push_time(out, ms)?;
        push_time(out, ms + random.below(30 * 24 * 3600 * 1000))?;
        writeln!(out)
    });
    debug_assert!(written.is_ok());
}

/// The row that has this id, if it is one that was made, whatever its seed.
pub(super) fn row_of(id: Uuid) -> Option<u64> {
    let ms = u64::try_from(id.as_u128() >> 80).ok()?;
    Some(ms.checked_sub(BEGIN_MS)? / STEP_MS)
}

/// Below the id of row `n` and above that of the row before it.
pub(super) fn id_floor(n: u64) -> Uuid {
    Uuid::from_u128(u128::from(BEGIN_MS + n * STEP_MS) << 80)
}

/// A version 7 uuid of this time after the beginning.
fn id(random: &mut Random, ms: u64) -> Uuid {
    const VERSION: u64 = 7 << 12;
    const VARIANT: u64 = 0b10 << 62;
    let high = (BEGIN_MS + ms) << 16 | VERSION | random.next() >> 52;
    Uuid::from_u64_pair(high, VARIANT | random.next() >> 2)
}

fn push_time(out: &mut String, ms: u64) -> std::fmt::Result {
    let (day, ms) = (BEGIN_DAY + ms / 86_400_000, ms % 86_400_000);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    write!(out, "\tJ{day} {hours:02}:{minutes:02}:{seconds:02}.{:03}+00", ms % 1000)
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and any row's numbers can be begun at once.
struct Random(u64);

impl Random {
    fn new(seed: u64, n: u64) -> Self {
        Self(mix(seed).wrapping_add(mix(n ^ 0x9E37_79B9_7F4A_7C15)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, which is small: what modulo favours does not show.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(from.len() as u64);
        &from[usize::try_from(place).unwrap_or(0)]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seed: u64, range: std::ops::Range<u64>) -> String {
        let mut out = String::new();
        range.for_each(|n| push_row(&mut out, seed, n));
        out
    }

    #[test]
    fn a_row_is_the_same_whatever_was_made_before_it() {
        assert_eq!(rows(7, 0..10).lines().last(), rows(7, 9..10).lines().last());
        assert_ne!(rows(7, 9..10), rows(8, 9..10));
    }

    /// Rows that were made once are in somebody's database: another one under the same id would be a change of it.
    #[test]
    fn the_rows_of_a_seed_never_change() {
        assert_eq!(
            xxhash_rust::xxh3::xxh3_64(rows(1, 0..10_000).as_bytes()),
            7_274_327_854_227_949_300,
            "the first rows:\n{}",
            rows(1, 0..3)
        );
    }

    #[test]
    fn ids_are_version_7_and_tell_their_row() {
        for (n, line) in (0_u64..).zip(rows(3, 0..2000).lines()) {
            let id: Uuid = line.split('\t').next().expect("a column").parse().expect("a uuid");
            assert_eq!((id.get_version_num(), row_of(id)), (7, Some(n)));
            assert!(id_floor(n) < id && id < id_floor(n + 1), "row {n} has {id}");
        }
    }

    #[test]
    fn no_value_needs_escaping() {
        for line in rows(5, 0..5000).lines() {
            assert_eq!(line.split('\t').count(), 10, "{line}");
            assert!(!line.replace("\t\\N\t", "").contains('\\'), "{line}");
        }
    }
}
