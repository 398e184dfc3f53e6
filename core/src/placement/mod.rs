//! Where things are kept: roles, layouts, and the assignment of partitions to nodes.
//!
//! A [`layout::Layout`] is immutable and has a version; which of them are in use at a time, and how far each node has got with
//! them, is the business of [`crate::node`].

pub mod layout;
