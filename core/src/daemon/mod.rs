//! What both daemons share without touching the world: arguments, names of files, the keys a start needs, the quickstart
//! flow, bounds, and every text they print. The shells read and write files, and ask here what and why.

pub mod args;
pub mod bounds;
pub mod config;
pub mod cut;
pub mod identity;

pub mod log;
pub mod plan;
pub mod quickstart;
pub mod setup;
pub mod texts;
pub mod trouble;
