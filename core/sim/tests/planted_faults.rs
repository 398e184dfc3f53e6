//! Every known fault is caught when it is planted: a checker that nothing can fail checks nothing.

use mews_sim::{fault::Fault, planted};

#[test]
fn every_planted_fault_is_caught() {
    let missed: Vec<_> =
        Fault::ALL.into_iter().filter(|fault| planted::catch(*fault).is_none()).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
