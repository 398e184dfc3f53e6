//! Copies within the store. Blocks are content-addressed and counted, so a copy is a new list of references to the same blocks:
//! its cost is that of its metadata, not of its bytes, wherever the request does not ask for a digest of them.

pub mod blocks;
pub mod conditions;
pub mod object;
pub mod part;
pub mod source;
