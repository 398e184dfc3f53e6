//! What both daemons lend the core from the standard library alone: files, locks, threads, clocks. No runtime, no socket,
//! no decision.

#![forbid(unsafe_code)]

pub mod abort;
pub mod blocks;
pub mod clock;
pub mod config;
pub mod disk;
pub mod journal;
pub mod line;
pub mod logger;
pub mod machine;
pub mod peers;
pub mod place;
#[cfg(test)]
mod place_tests;
pub mod process;
pub mod queue;
pub mod rows;
pub mod saver;
pub mod snapshots;
pub mod space;
