//! A block that is written again while it is being reaped stays.

use mews_sim::{host::Options, race};

#[test]
fn a_block_written_again_while_it_is_reaped_stays() {
    for seed in 1..=4 {
        match race::reaped_and_written(seed, &Options::default()) {
            Ok(runs) => assert!(runs > 30, "seed {seed}: only {runs} orders"),
            Err(wrong) => panic!("seed {seed}: {wrong}"),
        }
    }
}
