//! How two versions of a row become one.

use crate::store::{Answer, Read, StoreError};

/// Merges two replicas' answers to `read`.
pub fn answers(_read: &Read, _a: Answer, b: Answer) -> Result<Answer, StoreError> {
    Ok(b)
}
