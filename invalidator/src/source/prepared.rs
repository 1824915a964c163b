//! The part of decoding that needs nothing but one message and the tables: done for a whole batch at once, on every core.
//!
//! What the order of the messages says is for [`super::decoder::Decoder`], one after another.

use freshline::{
    change::RowChange,
    envelope::{Envelope, Notes, Numerics, Operation, Poison, Record, Relations, decode},
};
use rayon::prelude::*;

/// Fewer messages than this are read sooner than another thread is woken.
const SHARED_LEN_MIN: usize = 32;

/// Key and value, as they came.
pub type Raw<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A message that was read, and its row by the tables as they were known then.
pub struct Prepared<'a> {
    /// What it is, or why it cannot be used.
    pub record: Result<Record<'a>, Poison>,
    /// Its row, where it is a change of one in a table that was known.
    pub row: Option<Result<(RowChange, Notes), Poison>>,
    /// Which tables were known.
    pub edition: u64,
}

/// The tables, by which rows are read.
pub struct Tables {
    pub relations: Relations,
    numerics: Numerics,
    edition: u64,
}

impl Tables {
    /// The tables as the catalogue describes them, and how numbers come.
    pub fn new(relations: Relations, numerics: Numerics) -> Self {
        Self { relations, numerics, edition: 0 }
    }

    /// Takes the tables as they were loaded anew.
    pub fn renew(&mut self, loaded: Relations) {
        self.relations.renew(loaded);
        self.edition += 1;
    }

    /// Whether a message was read by the tables as they are known now.
    pub fn are_of(&self, prepared: &Prepared<'_>) -> bool {
        prepared.edition == self.edition
    }

    /// Reads messages; those of a batch on every core.
    pub fn prepare<'a>(&self, batch: &[Raw<'a>]) -> Vec<Prepared<'a>> {
        if batch.len() < SHARED_LEN_MIN {
            return batch.iter().map(|raw| self.prepare_one(*raw)).collect();
        }
        batch.par_iter().with_min_len(SHARED_LEN_MIN / 2).map(|raw| self.prepare_one(*raw)).collect()
    }

    /// Reads a message.
    pub fn prepare_one<'a>(&self, (key, value): Raw<'a>) -> Prepared<'a> {
        let record = decode(key, value);
        let row = match &record {
            Ok(Record::Change(envelope)) => self.row(envelope),
            Ok(_) | Err(_) => None,
        };
        Prepared { record, row, edition: self.edition }
    }

    /// The row of a change; `None` where it is none of a row, or of no table that is known.
    pub fn row(&self, envelope: &Envelope<'_>) -> Option<Result<(RowChange, Notes), Poison>> {
        let is_of_a_row = matches!(envelope.operation, Operation::Create | Operation::Update | Operation::Delete);
        let table = self.relations.get(&envelope.origin.schema, &envelope.origin.table).filter(|_| is_of_a_row)?;
        Some(envelope.change(table, self.numerics))
    }

    /// The row that a message names which cannot be used itself.
    pub fn row_of(&self, partial: &freshline::envelope::Partial) -> Option<RowChange> {
        let (schema, name) = partial.table.as_ref()?;
        partial.change(self.relations.get(schema, name)?, self.numerics)
    }
}
