//! Reads one message from front to back. Every read is checked against the message's end.

use bytes::Bytes;

use super::error::{DecodeError, MessageKind};

/// A place in a message, and the message's kind for errors.
pub(super) struct Cursor<'a> {
    message: &'a Bytes,
    kind: MessageKind,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Stands behind the first byte, which says the message's kind.
    pub(super) fn open(message: &'a Bytes) -> Result<Self, DecodeError> {
        let tag = *message.first().ok_or(DecodeError::Empty)?;
        let kind = MessageKind::of(tag).ok_or(DecodeError::UnknownMessage { tag })?;
        // Ranges within a row are 32 bit; Postgres itself makes no message above 1 GB.
        if u32::try_from(message.len()).is_err() {
            return Err(DecodeError::TooLong { message: kind, len: message.len() });
        }
        Ok(Self { message, kind, at: 1 })
    }

    /// What is being read.
    pub(super) fn message(&self) -> MessageKind {
        self.kind
    }

    /// Where the next read begins, from the message's first byte.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The bytes that everything is read from.
    pub(super) fn bytes(&self) -> &'a Bytes {
        self.message
    }

    /// Refuses what is left over.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        match self.rest().len() {
            0 => Ok(()),
            len => Err(DecodeError::Trailing { message: self.kind, offset: self.at, len }),
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The length of what follows: 32 bits with a sign.
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let offset = self.at;
        let len = self.i32()?;
        usize::try_from(len).map_err(|_| DecodeError::Length { message: self.kind, offset, len })
    }

    /// How many things of at least `each` bytes follow `between` bytes later. Refused where the message has no room for them, so
    /// that whoever allocates for them allocates no more than has come.
    pub(super) fn count(&mut self, each: usize, between: usize) -> Result<usize, DecodeError> {
        let offset = self.at;
        let count = self.length()?;
        let room = self.rest().len().saturating_sub(between) / each;
        if count > room {
            return Err(DecodeError::Truncated { message: self.kind, offset, needed: (count - room).saturating_mul(each) });
        }
        Ok(count)
    }

    /// Text up to a zero byte, which is passed over.
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let (offset, rest) = (self.at, self.rest());
        let len = rest.iter().position(|byte| *byte == 0);
        let len = len.ok_or(DecodeError::Truncated { message: self.kind, offset: self.message.len(), needed: 1 })?;
        self.at += len + 1;
        std::str::from_utf8(&rest[..len])
            .map_err(|wrong| DecodeError::NotUtf8 { message: self.kind, offset: offset + wrong.valid_up_to() })
    }

    /// Bytes that share the message's memory.
    pub(super) fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let start = self.at;
        self.skip(len)?;
        Ok(self.message.slice(start..self.at))
    }

    /// Passes over this many bytes.
    pub(super) fn skip(&mut self, len: usize) -> Result<(), DecodeError> {
        let left = self.rest().len();
        if len > left {
            return Err(DecodeError::Truncated { message: self.kind, offset: self.at, needed: len - left });
        }
        self.at += len;
        Ok(())
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], DecodeError> {
        let rest = self.rest();
        let Some(found) = rest.first_chunk::<LEN>().copied() else {
            return Err(DecodeError::Truncated { message: self.kind, offset: self.at, needed: LEN - rest.len() });
        };
        self.at += LEN;
        Ok(found)
    }

    // `at` never passes the end: every step forward is checked before it is made.
    fn rest(&self) -> &'a [u8] {
        &self.message[self.at..]
    }
}
