//! Buckets as websites.

pub mod config;
pub mod rule;
