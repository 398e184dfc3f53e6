//! Operations on objects.

pub mod conditions;
pub mod meta;
pub mod part;
pub mod range;
pub mod row;
