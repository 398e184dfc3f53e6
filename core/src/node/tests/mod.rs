//! Whole clusters of machines on a network of this module's own, in virtual time.
#![allow(clippy::wildcard_enum_match_arm)]

mod first_layout;
mod layouts;
mod mesh;
mod net;
mod schedule;
