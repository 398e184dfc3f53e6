//! Writers whose clocks lie: an acknowledged write comes after all that was acknowledged before it.

use super::{bytes, get, put, spread};
use crate::testing::{Ask, cluster::Cluster};

#[test]
fn a_writer_whose_clock_is_behind_still_comes_last() {
    for mut cluster in [Cluster::replicated(3), spread()] {
        cluster.skew[1] = 600_000;
        for (round, len) in [5, 1000, 2500, 5, 2500, 1000].into_iter().enumerate() {
            let (ahead, behind) = (format!("ahead {round}").into_bytes(), bytes(len));
            put(&mut cluster, 1, "k", ahead.clone());
            assert_eq!(get(&mut cluster, 0, "k"), Ok(ahead));
            put(&mut cluster, 0, "k", behind.clone());
            for at in 0..3 {
                assert_eq!(get(&mut cluster, at, "k"), Ok(behind.clone()), "{len} at {at}");
            }
        }
        put(&mut cluster, 1, "k", "ahead");
        assert_eq!(cluster.timed(0, Ask::new("DELETE", "/bucket/k")), ("204".to_owned(), 2));
        assert_eq!(get(&mut cluster, 2, "k"), Err("404 NoSuchKey".to_owned()));
    }
}
