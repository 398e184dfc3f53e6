//! One suite of black-box tests that both Mews daemons must pass: it starts a daemon's binary and knows nothing of what is
//! inside. A shell's test is one line that names its binary.
//!
//! What goes wrong is a panic: these are tests.

pub mod admin;
pub mod clients;
pub mod cluster;
pub mod commands;
pub mod configured;
pub mod daemon;
pub mod http_cases;
pub mod kill9;
pub mod lifecycle;
pub mod metrics;
pub mod signed;
pub mod tools;
pub mod transfers;
pub mod websites;
pub mod wire;
