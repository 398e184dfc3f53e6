//! Encodings for bytes inside lists and pairs: CBOR byte strings, which serde would otherwise take for lists of numbers.

use serde::{Deserialize, Deserializer, Serializer};
use serde_bytes::{ByteBuf, Bytes as Slice};

use super::{Rows, Table};

/// For `Vec<(Table, Vec<u8>)>`.
pub(super) mod keys {
    use super::*;

    pub fn serialize<S: Serializer>(keys: &[(Table, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(keys.iter().map(|(table, key)| (table, Slice::new(key))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(Table, Vec<u8>)>, D::Error> {
        let keys = Vec::<(Table, ByteBuf)>::deserialize(from)?;
        Ok(keys.into_iter().map(|(table, key)| (table, key.into_vec())).collect())
    }
}

/// For `Vec<Option<Vec<u8>>>`.
pub(super) mod values {
    use super::*;

    pub fn serialize<S: Serializer>(values: &[Option<Vec<u8>>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| value.as_deref().map(Slice::new)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Option<Vec<u8>>>, D::Error> {
        let values = Vec::<Option<ByteBuf>>::deserialize(from)?;
        Ok(values.into_iter().map(|value| value.map(ByteBuf::into_vec)).collect())
    }
}

/// For [`Rows`].
pub(super) mod rows {
    use super::*;

    pub fn serialize<S: Serializer>(rows: &[(Vec<u8>, Vec<u8>)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rows.iter().map(|(key, value)| (Slice::new(key), Slice::new(value))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Rows, D::Error> {
        let rows = Vec::<(ByteBuf, ByteBuf)>::deserialize(from)?;
        Ok(rows.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect())
    }
}
