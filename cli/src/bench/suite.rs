//! The rows that Mews and its peers are measured by.

use crate::bench::{
    Args,
    work::{Kind, Work},
};

/// Kind, size and connections, in the order in which they run.
const ROWS: [(Kind, u64, usize); 12] = [
    (Kind::Put, 1 << 10, 1),
    (Kind::Put, 1 << 10, 64),
    (Kind::Get, 1 << 10, 1),
    (Kind::Get, 1 << 10, 64),
    (Kind::Head, 1 << 10, 64),
    (Kind::Mixed, 1 << 10, 64),
    (Kind::Put, 64 << 10, 32),
    (Kind::Get, 64 << 10, 32),
    (Kind::List, 1 << 10, 1),
    (Kind::Put, 16 << 20, 4),
    (Kind::Get, 16 << 20, 4),
    (Kind::Delete, 1 << 10, 64),
];

/// The rows, with the rest from the arguments.
pub fn rows(args: &Args) -> Vec<Work> {
    ROWS.into_iter()
        .map(|(kind, size, connections)| Work::new(kind, size, connections, args))
        .collect()
}
