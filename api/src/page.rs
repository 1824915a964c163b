//! A page as the cache holds it: the cursor of the next one, and ids. Binary, because it is read by us alone and a page of a hundred
//! ids is a third of its JSON.

use std::str::FromStr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use freshline::{
    cache::Value,
    catalog::{Cursor, Page},
};
use uuid::Uuid;

const ID_LEN: usize = 16;

/// A page, in the bytes that the cache holds: length of the cursor (u16, 0 for none), the cursor, the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedPage(pub Page);

impl Value for CachedPage {
    fn encode(&self) -> Bytes {
        let Page { ids, next } = &self.0;
        let next = next.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(2 + next.len() + ID_LEN * ids.len());
        // A cursor is at most a name long, in hexadecimal.
        bytes.put_u16(u16::try_from(next.len()).unwrap_or(0));
        bytes.put_slice(next.as_bytes());
        ids.iter().for_each(|id| bytes.put_slice(id.as_bytes()));
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        let next_len = usize::from(bytes.try_get_u16().ok()?);
        let next = (next_len <= bytes.len()).then(|| bytes.split_to(next_len))?;
        let next = match std::str::from_utf8(&next).ok()? {
            "" => None,
            text => Some(Cursor::from_str(text).ok()?),
        };
        let ids = bytes.chunks(ID_LEN).map(|id| Uuid::from_slice(id).ok()).collect::<Option<_>>()?;
        Some(Self(Page { ids, next }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_survives_its_bytes() {
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        let next = format!("0{}", id.simple()).parse::<Cursor>().expect("a cursor");
        for page in [
            Page { ids: Vec::new(), next: None },
            Page { ids: vec![id, Uuid::from_u128(2)], next: None },
            Page { ids: vec![id], next: Some(next) },
        ] {
            let page = CachedPage(page);
            assert_eq!(CachedPage::decode(page.encode()), Some(page));
        }
    }

    #[test]
    fn other_bytes_are_no_page() {
        for bytes in [&b""[..], b"\0", b"\0\x05abc", b"\0\x01x", b"\0\0abc"] {
            assert_eq!(CachedPage::decode(Bytes::from_static(bytes)), None, "{bytes:?}");
        }
    }
}
