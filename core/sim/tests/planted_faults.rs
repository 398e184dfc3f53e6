//! Every known fault is caught when it is planted, by something that is right without it: a checker that nothing can fail checks
//! nothing.

use mews_sim::{fault::Fault, planted};

#[test]
fn every_planted_fault_is_caught() {
    let missed: Vec<_> = planted::ALL
        .iter()
        .filter(|planted| planted.catch().is_none())
        .map(|planted| (planted.fault, planted.place()))
        .collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn no_fault_is_left_out() {
    let listed = |place| -> Vec<_> {
        let all = planted::ALL.iter().filter(|planted| planted.place() == place);
        all.map(|planted| planted.fault).collect()
    };
    assert_eq!(listed("alone"), Fault::ALONE);
    assert_eq!(listed("cluster"), Fault::CLUSTER);
}
