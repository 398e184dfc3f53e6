//! A crash at every effect boundary of every kind of write: nothing acknowledged is lost, nothing else is half there, and
//! after the night every row and block is led to or gone.

use mews_sim::{
    host::Options,
    matrix::{Case, sweep},
};

/// How many seeds each case is swept with: other delays, other groups, other things left of what was not synced. More by
/// `MEWS_SIM_SEEDS`.
const SEEDS: u64 = 1;

fn holds(case: Case) {
    let seeds = std::env::var("MEWS_SIM_SEEDS").map(|seeds| seeds.parse().expect("a number"));
    let mut options = Options::default();
    if case == Case::Complete {
        // Its parts have 5 MiB: with blocks of the usual size, preparing it would take nearly all the time.
        options.config.block_size = 1 << 20;
    }
    for seed in 1..=seeds.unwrap_or(SEEDS) {
        match sweep(case, seed, &options) {
            Ok(crashes) => assert!(crashes > 10, "{case:?}: only {crashes} places to crash at"),
            Err(wrong) => panic!("{}", wrong.join("\n")),
        }
    }
}

#[test]
fn put_small() {
    holds(Case::PutSmall);
}

#[test]
fn put_one_block() {
    holds(Case::PutBlock);
}

#[test]
fn put_large() {
    holds(Case::PutLarge);
}

#[test]
fn overwrite() {
    holds(Case::Overwrite);
    holds(Case::OverwriteSmall);
}

#[test]
fn delete() {
    holds(Case::Delete);
    holds(Case::DeleteSmall);
}

#[test]
fn copy() {
    holds(Case::Copy);
    holds(Case::CopySmall);
}

#[test]
fn upload_part() {
    holds(Case::Part);
}

#[test]
fn complete_multipart_upload() {
    holds(Case::Complete);
}

#[test]
fn abort_multipart_upload() {
    holds(Case::Abort);
}
