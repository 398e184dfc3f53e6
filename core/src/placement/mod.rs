//! Where things are kept: roles, layouts, and the assignment of partitions to nodes.
//!
//! A [`layout::Layout`] is immutable and has a version; [`history::History`] knows which of them are in force, what is staged for
//! the next one, and how far each node has got with them. [`solve::solve`] computes a layout, [`explain::explain`] says what it
//! would mean.

pub mod explain;
pub mod history;
#[cfg(test)]
mod history_tests;
pub mod layout;
pub mod solve;
pub mod staging;
pub mod trackers;
