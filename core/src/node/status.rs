//! What a node can tell of itself and of the cluster.
