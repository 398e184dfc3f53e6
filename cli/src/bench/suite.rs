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

/// The rows, with the rest from the arguments. `--objects` is for the rows whose objects are small: as many of 16 MiB would
/// fill a disk.
pub fn rows(args: &Args) -> Vec<Work> {
    let by_size = Args { objects: None, ..args.clone() };
    let row = |(kind, size, connections)| match kind {
        Kind::List | Kind::Delete => Work::new(kind, size, connections, args),
        Kind::Put | Kind::Get | Kind::Head | Kind::Mixed => {
            Work::new(kind, size, connections, &by_size)
        }
    };
    ROWS.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use argh::FromArgs;

    use super::*;

    #[test]
    fn no_row_makes_more_than_it_needs() {
        let args = Args::from_args(&["bench"], &["--suite", "--objects", "20000"]).unwrap();
        for row in rows(&args) {
            let bytes = row.objects * row.size;
            assert!(bytes <= 256 << 20, "{}: {bytes} bytes beforehand", row.title());
        }
        let list = rows(&args).into_iter().find(|row| row.kind == Kind::List).unwrap();
        assert_eq!(list.title(), "LIST 1000 of 20000");
    }
}
