//! A daemon is killed at a random moment under many writers, over and over. What it acknowledged must be there afterwards, to
//! the byte; what it did not answer may be there or not, but never half of it.

mod model;
mod writer;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{Key, Random};
use rustix::process::Signal;

use crate::{daemon::Daemon, signed};

const WRITERS: usize = 16;

/// Keys of each writer: few, so that most writes are overwrites.
const KEYS: usize = 6;

/// What the writers of all rounds have done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    acknowledged: AtomicUsize,
    unanswered: AtomicUsize,
}

/// Kills `binary` so many times; panics if anything acknowledged is lost.
pub fn run(binary: impl AsRef<Path>, rounds: usize) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let seed = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let mut random = Random::new(seed);
    let mut daemon = Daemon::start(binary);
    let mut writers: Vec<Vec<Key>> = (0..WRITERS)
        .map(|writer| (0..KEYS).map(|key| Key::new(format!("w{writer:02}/k{key}"))).collect())
        .collect();
    let tally = Tally::default();
    for round in 0..rounds {
        let patience = Duration::from_millis(random.within(10, 500));
        thread::scope(|scope| {
            for keys in &mut writers {
                let (daemon, tally, random) = (&daemon, &tally, Random::new(random.next()));
                scope.spawn(move || writer::write_until_it_dies(daemon, keys, random, tally));
            }
            thread::sleep(patience);
            daemon.signal(Signal::KILL);
        });
        let output = daemon.output();
        assert!(!output.contains("panicked"), "round {round}: the daemon panicked:\n{output}");
        if random.within(0, 4) == 0 {
            // What it does when it starts must bear it, too.
            daemon.false_start(Duration::from_millis(random.within(0, 60)));
        }
        daemon.kill_and_restart();
        // Most rounds read what they have touched, the last one and some others everything.
        let all = round + 1 == rounds || round % 10 == 9;
        let wrong = check(&daemon, &mut writers, all);
        assert!(wrong.is_empty(), "round {round} of seed {seed}:\n{}", wrong.join("\n"));
    }
    check_listing(&daemon, &writers);
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (acknowledged, unanswered) = (count(&tally.acknowledged), count(&tally.unanswered));
    // Or nothing was put to the test.
    assert!(acknowledged > rounds * WRITERS / 2, "{acknowledged} writes in {rounds} rounds");
    assert!(unanswered > rounds, "{unanswered} unanswered writes in {rounds} rounds");
}

/// Reads the keys back, side by side; says what is wrong.
fn check(daemon: &Daemon, writers: &mut [Vec<Key>], all: bool) -> Vec<String> {
    let keys = writers.iter_mut().flatten().filter(|key| all || key.touched);
    let keys = Mutex::new(keys.collect::<VecDeque<_>>());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = keys.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(key) = next else { return };
                    let reply = signed::get(daemon, &key.name);
                    let found = match reply.status {
                        200 => key.read(Some(&reply.body)),
                        404 => key.read(None),
                        other => Err(format!("{}: {other}", key.name)),
                    };
                    if let Err(what) = found {
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The listing must say what reading every key has said.
fn check_listing(daemon: &Daemon, writers: &[Vec<Key>]) {
    let reply = signed::send(daemon, "GET", "?list-type=2", b"");
    let text = String::from_utf8_lossy(&reply.body);
    let element = |text: &str, name: &str| -> String {
        let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_default();
        rest.split(&format!("</{name}>")).next().unwrap_or_default().to_owned()
    };
    let contents = text.split("<Contents>").skip(1);
    let listed: BTreeMap<String, String> =
        contents.map(|each| (element(each, "Key"), element(each, "Size"))).collect();
    let keys = writers.iter().flatten();
    let expected: BTreeMap<String, String> =
        keys.filter_map(|key| Some((key.name.clone(), key.sure?.len.to_string()))).collect();
    assert_eq!(listed, expected, "the listing: {} {text}", reply.status);
}
