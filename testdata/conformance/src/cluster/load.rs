//! Writing while things happen, and what must be there afterwards.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::Cluster;
use crate::{daemon::Daemon, signed, wire::Response};

/// How long a cluster may take to notice that a node has fallen silent, and to go round it.
const DETECT_MAX: Duration = Duration::from_secs(40);

/// The key of a write that a node refuses while it is cut off.
pub const UNCERTAIN: &str = "while-alone";

/// Sizes that live in a row, in a block, in several.
pub const SIZES: [usize; 3] = [1 << 10, 100 << 10, 5 << 19];

/// Bytes that look random: the same for the same seed.
pub fn blob(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Asks until the answer has this status. Any other must be a 503 with a hint when to come again.
pub fn eventually(daemon: &Daemon, method: &str, key: &str, body: &[u8], status: u16) -> Response {
    let began = Instant::now();
    loop {
        let response = signed::send(daemon, method, key, body);
        if response.status == status {
            return response;
        }
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(response.status, 503, "{method} {key}: {text}");
        assert!(response.header("retry-after").is_some(), "{method} {key}: no hint: {text}");
        assert!(began.elapsed() < DETECT_MAX, "{method} {key}: still {text}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// What was acknowledged: by key, the seed of its content, and how long that is.
#[derive(Debug, Default)]
pub struct Written(BTreeMap<String, (u64, usize)>);

impl Written {
    /// Writes an object of each size by each of these nodes.
    pub fn write(&mut self, cluster: &Cluster, name: &str, by: &[usize]) {
        for node in by {
            for len in SIZES {
                self.put(&cluster.nodes[*node], format!("{name}/{node}/{len}"), len);
            }
        }
    }

    fn put(&mut self, by: &Daemon, key: String, len: usize) {
        let seed = u64::try_from(self.0.len()).expect("few");
        eventually(by, "PUT", &key, &blob(seed, len), 200);
        self.0.insert(key, (seed, len));
    }

    /// Each of these nodes answers with all of it, by name and in the listing.
    pub fn check(&self, cluster: &Cluster, on: &[usize]) {
        for node in on {
            let daemon = &cluster.nodes[*node];
            for (key, (seed, len)) in &self.0 {
                let response = eventually(daemon, "GET", key, b"", 200);
                assert!(response.body == blob(*seed, *len), "{key} came wrong from node {node}");
            }
            assert!(self.0.len() <= 1000, "more than a page of a listing");
            let listing = eventually(daemon, "GET", "?list-type=2", b"", 200);
            let listing = String::from_utf8_lossy(&listing.body).into_owned();
            let keys =
                listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            let wanted: Vec<&str> = self.0.keys().map(String::as_str).collect();
            // A write that was answered with 503 may have happened or not.
            let keys: Vec<&str> = keys.filter(|key| *key != UNCERTAIN).collect();
            assert_eq!(keys, wanted, "node {node} lists otherwise");
        }
    }

    /// Writes and reads on by these nodes, each for itself, while `meanwhile` goes on: at least one object each.
    pub fn under_load(&mut self, by: &[&Daemon], name: &str, meanwhile: impl FnOnce()) {
        let (over, all) = (AtomicBool::new(false), Mutex::new(Self::default()));
        // Also if it panics: or the scope would wait for ever.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        thread::scope(|scope| {
            for (index, daemon) in by.iter().enumerate() {
                let (over, all) = (&over, &all);
                scope.spawn(move || {
                    let mut own = Self::default();
                    for round in 0.. {
                        let key = format!("{name}/{index}/{round:03}");
                        let len = SIZES[round % 2];
                        own.put(daemon, key.clone(), len);
                        let (seed, _) = own.0[&key];
                        let response = eventually(daemon, "GET", &key, b"", 200);
                        assert!(response.body == blob(seed, len), "{key} came wrong under load");
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        thread::sleep(Duration::from_millis(100));
                    }
                    all.lock().unwrap_or_else(PoisonError::into_inner).0.append(&mut own.0);
                });
            }
            let _end = End(&over);
            meanwhile();
        });
        self.0.append(&mut all.into_inner().unwrap_or_else(PoisonError::into_inner).0);
    }
}
