//! Quorums against several nodes in memory.
