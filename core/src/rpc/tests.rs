#![allow(clippy::wildcard_enum_match_arm)]
