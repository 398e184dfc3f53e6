//! Operations on buckets.

pub mod alias;
mod change;
pub mod cors;
pub mod create;
pub mod delete;
pub mod head;
pub mod list;
pub mod location;
pub mod name;
pub(crate) mod seal;
pub mod versioning;
pub mod website;
