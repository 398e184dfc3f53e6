//! Operations on objects.

pub mod attributes;
pub mod conditions;
pub mod delete;
pub mod delete_many;
pub mod get;
pub mod meta;
pub mod part;
pub mod put;
pub mod range;
pub mod row;
