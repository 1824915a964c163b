//! What can be cached: anything that turns into bytes and back.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// A value that can be cached.
pub trait Value: Sized + Clone + Send {
    /// Its bytes. Equal values make equal bytes, for the `ETag` is a digest of them.
    fn encode(&self) -> Bytes;

    /// The value of these bytes; `None` for what another version of the program wrote, which counts as a miss.
    fn decode(bytes: Bytes) -> Option<Self>;
}

/// Bytes pass through as they are.
impl Value for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        Some(bytes)
    }
}

/// A value of a serde type, cached as JSON. It keeps its text, for those who send it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T> {
    value: T,
    text: Bytes,
}

impl<T: Serialize> Json<T> {
    /// This value, with its text.
    ///
    /// # Errors
    /// What serde says of a value that has no JSON, such as a map whose keys are no texts.
    pub fn new(value: T) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_vec(&value)?.into();
        Ok(Self { value, text })
    }
}

impl<T> Json<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// The value, without its text.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The text.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

impl<T: DeserializeOwned + Clone + Send> Value for Json<T> {
    fn encode(&self) -> Bytes {
        self.text.clone()
    }

    fn decode(text: Bytes) -> Option<Self> {
        let value = serde_json::from_slice(&text).ok()?;
        Some(Self { value, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_its_bytes_and_refuses_others() {
        let pair = Json::new((1, "one".to_owned())).expect("has JSON");
        assert_eq!(pair.text(), &Bytes::from_static(b"[1,\"one\"]"));
        assert_eq!(Json::decode(pair.encode()), Some(pair));
        assert_eq!(Json::<(u8, String)>::decode(Bytes::from_static(b"[1]")), None);
    }
}
