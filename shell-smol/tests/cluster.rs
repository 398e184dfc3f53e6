//! Several nodes as one cluster: the suite that both daemons must pass, mixed.

#[test]
fn a_cluster_of_three_outlives_the_loss_of_any_one() {
    mews_conformance::cluster::heals(env!("CARGO_BIN_EXE_mewsd-smol"));
}

#[test]
fn nodes_are_replaced_and_added_while_clients_go_on() {
    mews_conformance::cluster::grows(env!("CARGO_BIN_EXE_mewsd-smol"));
}

#[test]
fn real_clients_are_served_by_each_node() {
    mews_conformance::cluster::serves_clients(env!("CARGO_BIN_EXE_mewsd-smol"));
}
