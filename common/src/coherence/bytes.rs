//! The bytes in Redis: little-endian numbers and fixed fields, read with bounds and never with a panic.

use super::{
    snapshot::Snapshot,
    xid::{EXACT_MAX, Lsn, Xid},
};

/// Reads fields from the front of some bytes.
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number that a script can hold exactly.
    pub fn exact(&mut self) -> Option<u64> {
        self.u64().filter(|number| *number <= EXACT_MAX)
    }

    pub fn xid(&mut self) -> Option<Xid> {
        self.u64().and_then(Xid::new)
    }

    pub fn lsn(&mut self) -> Option<Lsn> {
        self.u64().and_then(Lsn::new)
    }

    /// `count` xids.
    pub fn xids(&mut self, count: usize) -> Option<Vec<Xid>> {
        if self.0.len() < count.checked_mul(8)? {
            return None;
        }
        (0..count).map(|_| self.xid()).collect()
    }
}

/// A snapshot as the scripts keep it: xmin, xmax, then each running xid.
pub fn pack_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    let mut packed = Vec::with_capacity(16 + 8 * snapshot.running().len());
    packed.extend(snapshot.xmin().get().to_le_bytes());
    packed.extend(snapshot.xmax().get().to_le_bytes());
    packed.extend(pack_xids(snapshot.running()));
    packed
}

/// The snapshot of bytes that [`pack_snapshot`] made.
pub fn unpack_snapshot(packed: &[u8]) -> Option<Snapshot> {
    let mut fields = Fields(packed);
    let (xmin, xmax) = (fields.xid()?, fields.xid()?);
    Snapshot::new(xmin, xmax, unpack_xids(fields.0)?)
}

/// Xids as the scripts keep them.
pub fn pack_xids<'a>(xids: impl IntoIterator<Item = &'a Xid>) -> Vec<u8> {
    xids.into_iter().flat_map(|xid| xid.get().to_le_bytes()).collect()
}

/// The xids of bytes that [`pack_xids`] made.
pub fn unpack_xids(packed: &[u8]) -> Option<Vec<Xid>> {
    if !packed.len().is_multiple_of(8) {
        return None;
    }
    Fields(packed).xids(packed.len() / 8)
}
