//! Listings of a bucket's objects.

pub mod page;
pub mod token;
pub mod v1;
pub mod v2;
