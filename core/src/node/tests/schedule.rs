use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::super::*;
use crate::{
    effect::{Completion, Effect, PeerError, ResponseBody},
    id::NodeId,
    job::{Job, Verdict, unrested},
    store::{Answer, Applied, Outcome, StoreError},
    time::Timestamp,
    view::Config,
};

fn alone() -> Node {
    let seed = Seed::new([1; 32]);
    let setup = Setup::alone(NodeId([1; 32]), 1, Config::default(), seed);
    Node::new(setup, at(Instant(0))).unwrap()
}

/// The next job that the node begins; a node that is alone asks for nothing else.
fn poll_job(node: &mut Node) -> Option<(EffectId, Task)> {
    match node.poll_effect()? {
        (id, NodeEffect::Run(task)) => Some((id, task)),
        other => panic!("{other:?}"),
    }
}

fn at(mono: Instant) -> Now {
    Now { mono, wall: Timestamp(1_000_000_000_000).after(mono.since(Instant(0))) }
}

/// Drives a job's task over an empty store; `fails` says whether the database does.
fn drive(mut task: Task, now: Now, fails: bool) {
    task.start(now);
    while let Some((id, effect)) = task.poll_effect() {
        let failure = || PeerError::Store(StoreError::Engine("injected".to_owned()));
        let completion = match effect {
            Effect::Read { read, .. } => Completion::Read(if fails {
                Err(failure())
            } else {
                Ok(match read {
                    crate::store::Read::Get(keys) => Answer::Values(vec![None; keys.len()]),
                    crate::store::Read::Count(tables) => Answer::Counts(vec![0; tables.len()]),
                    _ => Answer::Rows(vec![]),
                })
            }),
            Effect::Commit { .. } => {
                Completion::Committed(Ok(Outcome::Applied(Applied::default())))
            }
            Effect::Holds { .. } => panic!("no job of a single node asks for this"),
            Effect::Chore(_) if fails => Completion::Chore(Err(failure())),
            Effect::Chore(_) => {
                Completion::Chore(Ok(crate::block::chore::ChoreReport::Files(vec![])))
            }
            Effect::Control(command) => unrested(*command),
            other => panic!("{other:?} is not a job's"),
        };
        task.handle_event(now, id, completion);
    }
    assert!(task.is_done(), "an empty store leaves nothing to wait for");
}

/// A node whose jobs end as soon as they begin, and what it does, line by line.
struct Trace {
    node: Node,
    now: Instant,
    text: String,
    fails: bool,
}

impl Trace {
    fn new(fails: bool) -> Self {
        let node = alone();
        Self { node, now: Instant(0), text: String::new(), fails }
    }

    fn clock(&self) -> String {
        let seconds = self.now.since(Instant(0)).as_secs();
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// Runs for so long; `quiet` jobs are counted, and not written down.
    fn run(&mut self, time: Duration, quiet: &[&str]) -> BTreeMap<&'static str, u32> {
        let end = self.now.after(time);
        let mut counts = BTreeMap::new();
        while let Some((next, _)) = self.node.poll_timeout().filter(|(next, _)| *next < end) {
            self.now = self.now.max(next);
            self.node.handle_timeout(at(self.now));
            while let Some((id, task)) = poll_job(&mut self.node) {
                let name = task.name();
                *counts.entry(name).or_default() += 1;
                if !quiet.contains(&name) && !FREQUENT.contains(&name) {
                    writeln!(self.text, "{} {name}", self.clock()).unwrap();
                }
                drive(task, at(self.now), self.fails);
                self.node.handle_event(at(self.now), id, NodeEvent::Done);
            }
        }
        self.now = end;
        counts
    }
}

/// What is no news in the course of a day.
const QUIET: [&str; 3] = ["queue", "scrub", "sync"];

/// Looks for work of their own kind every few seconds or minutes, mostly in vain; not written down.
const FREQUENT: [&str; 3] = ["fetch", "offload", "repair"];

#[test]
fn a_day_of_a_node() {
    let mut trace = Trace::new(false);
    let counts = trace.run(Duration::from_secs(25 * 3600), &QUIET);
    let mut expected = "00:00:00 intents\n00:01:00 uploads\n00:05:00 orphans\n".to_owned();
    (1..24).for_each(|hour| writeln!(expected, "{hour:02}:01:00 uploads").unwrap());
    expected.push_str("24:00:00 intents\n24:01:00 uploads\n24:05:00 orphans\n");
    assert_eq!(trace.text, expected);
    assert_eq!((counts["queue"], counts["scrub"]), (25 * 3600, 25 * 60 - 1));
}

#[test]
fn the_first_minutes_of_a_node() {
    let mut trace = Trace::new(false);
    trace.run(Duration::from_secs(2), &[]);
    trace.text.push_str("...\n");
    trace.run(Duration::from_secs(57), &["queue", "sync"]);
    trace.run(Duration::from_secs(3), &[]);
    trace.text.push_str("...\n");
    trace.run(Duration::from_secs(300), &["queue", "sync"]);
    assert_eq!(
        trace.text,
        "\
00:00:00 queue
00:00:00 intents
00:00:01 queue
...
00:00:59 queue
00:01:00 queue
00:01:00 uploads
00:01:00 scrub
00:01:01 queue
...
00:02:00 scrub
00:03:00 scrub
00:04:00 scrub
00:05:00 orphans
00:05:00 scrub
00:06:00 scrub
"
    );
}

#[test]
fn a_job_that_fails_comes_again_ever_later_and_never_spins() {
    let mut trace = Trace::new(true);
    trace.run(Duration::from_secs(200), &["intents", "uploads", "orphans", "scrub", "sync"]);
    assert_eq!(
        trace.text,
        "\
00:00:00 queue
00:00:01 queue
00:00:03 queue
00:00:07 queue
00:00:15 queue
00:00:31 queue
00:01:03 queue
00:02:03 queue
00:03:03 queue
"
    );
    let counts =
        trace.run(Duration::from_secs(86400), &["queue", "scrub", "orphans", "uploads", "sync"]);
    assert!(counts.values().all(|count| *count <= 1500), "{counts:?}");
    assert!((20..30).contains(&counts["orphans"]), "once an hour: {counts:?}");
    trace.fails = false;
    trace.text.clear();
    trace.run(
        Duration::from_secs(3600),
        &["scrub", "uploads", "orphans", "intents", "queue", "sync"],
    );
    let counts = trace.run(Duration::from_secs(60), &["queue", "scrub", "sync"]);
    assert_eq!(counts["queue"], 60, "back to its pace after the first success");
}

#[test]
fn jobs_that_share_a_slot_wait_for_each_other_and_the_queue_waits_for_none() {
    let mut node = alone();
    let begin = |node: &mut Node, seconds| {
        node.handle_timeout(at(Instant(0).after(Duration::from_secs(seconds))));
        let mut begun = Vec::new();
        while let Some((id, task)) = poll_job(node) {
            begun.push((id, task.name()));
        }
        begun
    };
    let first = begin(&mut node, 0);
    assert_eq!(first.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["queue", "intents"]);
    let own: Vec<_> = begin(&mut node, 1000).iter().map(|(_, name)| *name).collect();
    assert_eq!(own, ["fetch", "sync"], "each has a slot of its own");
    let next = |node: &Node| node.poll_timeout().map(|(_, reason)| reason);
    assert_eq!(next(&node), Some(Reason("peers")), "all slots are taken");
    assert!(begin(&mut node, 1000).is_empty());
    // The queue's task has left no verdict: it has panicked. It comes again all the same.
    let now = at(Instant(0).after(Duration::from_secs(1000)));
    node.handle_event(now, first[0].0, NodeEvent::Done);
    assert_eq!(node.poll_timeout().map(|(at, _)| at), Some(now.mono.after(Duration::from_secs(1))));
    assert!(node.schedule.next().is_some_and(|(_, job)| job == Job::Queue));
    node.handle_event(now, first[1].0, NodeEvent::Done);
    assert_eq!(begin(&mut node, 1000)[0].1, "uploads", "waiting since the first minute");
    // An event of no effect of ours changes nothing.
    node.handle_event(now, EffectId(99), NodeEvent::Done);
    assert!(begin(&mut node, 1000).is_empty());
}

#[test]
fn why_a_job_has_failed_is_told_until_it_fails_again() {
    let mut node = alone();
    let queue = |node: &Node| {
        let now = at(Instant(0).after(Duration::from_secs(100)));
        let found = node.status(now).jobs.into_iter().find(|status| status.job == Job::Queue);
        let status = found.expect("there is one");
        (status.failures, status.errors, status.last_error)
    };
    let run = |node: &mut Node, seconds, fails| {
        let now = at(Instant(0).after(Duration::from_secs(seconds)));
        node.handle_timeout(now);
        while let Some((id, task)) = poll_job(node) {
            let fails = fails && task.name() == "queue";
            drive(task, now, fails);
            node.handle_event(now, id, NodeEvent::Done);
        }
        now.mono
    };
    assert_eq!(queue(&node), (0, 0, None));
    let failed = run(&mut node, 1, true);
    let (failures, errors, last) = queue(&node);
    assert_eq!((failures, errors), (1, 1));
    let last = last.expect("it has failed");
    assert!(last.at == failed && last.reason.contains("injected"), "{last:?}");
    run(&mut node, 10, false);
    assert_eq!(queue(&node), (0, 1, Some(last)));
}

#[test]
fn a_job_that_is_asked_for_while_it_runs_runs_once_more() {
    let mut schedule = Schedule::new(Instant(0), Some(Duration::from_secs(3600)));
    let at = |seconds| Instant(0).after(Duration::from_secs(seconds));
    let sync =
        |schedule: &Schedule| schedule.lines().find(|line| line.job == Job::Sync).unwrap().due;
    let begin = |schedule: &mut Schedule, now| {
        while schedule.begin(now).is_some_and(|job| job != Job::Sync) {}
        assert_eq!(sync(schedule), None, "it runs");
    };
    begin(&mut schedule, at(5));
    schedule.hasten(at(6), Job::Sync);
    schedule.hasten(at(7), Job::Sync);
    assert_eq!(sync(&schedule), None, "what runs goes on");
    let wait = schedule.end(at(8), Job::Sync, Verdict::Synced { version: 1 });
    assert_eq!((wait, sync(&schedule)), (Duration::ZERO, Some(at(8))));
    begin(&mut schedule, at(8));
    schedule.end(at(9), Job::Sync, Verdict::Synced { version: 1 });
    assert_eq!(sync(&schedule), Some(at(609)), "once is enough");
    begin(&mut schedule, at(609));
    schedule.hasten(at(610), Job::Sync);
    schedule.stopped(at(611), Job::Sync);
    begin(&mut schedule, at(611));
    schedule.end(at(612), Job::Sync, Verdict::Done);
    assert_eq!(sync(&schedule), Some(at(1212)), "that run was the other one");
}

fn head() -> RequestHead {
    RequestHead {
        method: "GET".to_owned(),
        target: b"/bucket/key".to_vec(),
        headers: vec![],
        body_len: Some(0),
        peer: "127.0.0.1:1".to_owned(),
    }
}

/// The status and body of what a task answers without asking anybody.
fn answer(task: &mut Task) -> (u16, String) {
    task.start(at(Instant(0)));
    match task.poll_effect() {
        Some((_, Effect::Respond { head, body: ResponseBody::Full(body) })) => {
            (head.status, String::from_utf8_lossy(&body).into_owned())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_request_too_many_is_told_to_slow_down() {
    let mut node = alone();
    let tasks: Vec<Task> = (0..REQUESTS_MAX).map(|_| node.admit(at(Instant(0)), head())).collect();
    assert!(tasks.iter().all(|task| task.name() == "request"));
    let mut refused = node.admit(at(Instant(0)), head());
    let (status, body) = answer(&mut refused);
    assert_eq!(status, 503);
    assert!(body.contains("<Code>SlowDown</Code>") && body.contains("/bucket/key"), "{body}");
    assert!(refused.is_done());
    node.released(at(Instant(0)), tasks[0].origin());
    assert_eq!(node.admit(at(Instant(0)), head()).name(), "refusal", "the refused one counts too");
    node.released(at(Instant(0)), tasks[1].origin());
    node.released(at(Instant(0)), refused.origin());
    assert_eq!(node.admit(at(Instant(0)), head()).name(), "request");
}

#[test]
fn a_request_that_is_admitted_is_served() {
    let mut node = alone();
    let list = RequestHead { target: "/bucket?list-type=2".into(), ..head() };
    let mut task = node.admit(at(Instant(0)), list);
    assert_eq!(
        answer(&mut task).0,
        403,
        "an anonymous listing is answered without a look at the store"
    );
    assert_eq!(node.requests(), 1);
}
