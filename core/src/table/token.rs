//! Tokens of the Admin API.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::access::Lww;
use crate::time::Timestamp;

/// The value of a row in [`Table::AdminToken`](crate::store::Table::AdminToken), keyed by the token's id. Never collected: the id of a
/// deleted token stays dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminTokenRow {
    /// When it was created; the earlier wins.
    #[serde(rename = "c")]
    pub created: Timestamp,
    /// SHA-256 of the whole token. A token has 256 random bits, so nothing slower is needed to keep it from being guessed. Never
    /// changed; a new secret is a new token.
    #[serde(rename = "h", with = "serde_bytes")]
    pub hash: [u8; 32],
    /// Whether it was deleted. True absorbs.
    #[serde(rename = "x")]
    pub deleted: bool,
    /// What people call it.
    #[serde(rename = "n")]
    pub name: Lww<String>,
    /// From when on it admits nobody; `None` for never.
    #[serde(rename = "e")]
    pub expires: Lww<Option<Timestamp>>,
    /// What it is for.
    #[serde(rename = "s")]
    pub scope: Lww<Scope>,
}

impl AdminTokenRow {
    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.value.is_some_and(|at| at <= now)
    }
}

/// What a token of the Admin API is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Everything.
    #[serde(rename = "a")]
    All,
    /// Calls, by their names. Names, because a later release may know more of them.
    #[serde(rename = "c")]
    Calls(BTreeSet<String>),
}

impl Scope {
    /// Whether it covers this name.
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Calls(names) => names.contains(name),
        }
    }

    /// What both cover.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, scope) | (scope, Self::All) => scope,
            (Self::Calls(a), Self::Calls(b)) => Self::Calls(a.intersection(&b).cloned().collect()),
        }
    }
}
