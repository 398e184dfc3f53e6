//! The load itself: every connection sends its next request when the last is answered.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mews_core::time::Timestamp;
use smol::future;

use crate::bench::{
    Failure,
    client::{Client, Response},
    histogram::Histogram,
    target::Target,
    work::{Ask, Builder, Fill, Kind, PAGE, Random, Work},
};

/// How long after the end an answer is waited for.
const GRACE: Duration = Duration::from_secs(60);

/// After an error a connection waits so long, so that a server that refuses is not flooded.
const PAUSE: Duration = Duration::from_millis(10);

/// What came out.
#[derive(Clone, Default)]
pub struct Outcome {
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Times of the operations that succeeded.
    pub times: Histogram,
    /// Bytes of payload moved by these.
    pub bytes: u64,
    /// Operations that failed, by S3 error code or kind of trouble.
    pub errors: BTreeMap<String, u64>,
    /// CPU time of the server, if it was to be observed.
    pub cpu: Option<Duration>,
    /// The most memory that the server has had so far.
    pub peak: Option<u64>,
    /// CPU time of the load generator.
    pub own_cpu: Duration,
}

impl Outcome {
    /// How many operations failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds what was done in another stretch of time.
    pub fn append(&mut self, other: &Self) {
        let elapsed = self.elapsed + other.elapsed;
        self.merge(other);
        self.elapsed = elapsed;
        self.own_cpu += other.own_cpu;
        let both = |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other);
        self.cpu = both(self.cpu, other.cpu).reduce(|one, other| one + other);
        self.peak = self.peak.max(other.peak);
    }

    fn merge(&mut self, other: &Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.times.merge(&other.times);
        self.bytes += other.bytes;
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }
}

/// Which objects a row works on, and how far it has come with them. Shared by its connections.
#[derive(Debug, Default)]
pub struct Keys {
    /// Begins the keys of objects that are there beforehand.
    pub there: String,
    /// Begins the keys of new ones.
    pub new: String,
    /// Operations begun.
    pub begun: AtomicU64,
    /// New objects begun.
    pub made: AtomicU64,
}

impl Keys {
    /// The key of object `index` of a series.
    pub fn key(series: &str, index: u64) -> String {
        format!("{series}{index:08}")
    }
}

/// Runs a row to its end.
pub fn run(work: &Work, target: &Target, signed: bool, keys: &Keys) -> Result<Outcome, Failure> {
    let ready = Barrier::new(work.threads);
    let shares = (0..work.threads)
        .map(|thread| (0..work.connections).filter(move |index| index % work.threads == thread));
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .map(|share| {
                let share: Vec<usize> = share.collect();
                let ready = &ready;
                scope.spawn(move || carry(&share, work, target, signed, keys, ready))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::failed("a thread of the load panicked")))
        });
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    let mut outcome = Outcome::default();
    results.iter().for_each(|result| outcome.merge(result));
    Ok(outcome)
}

/// One thread's connections. The time begins when every thread is ready: making payloads is no part of it.
fn carry(
    share: &[usize],
    work: &Work,
    target: &Target,
    signed: bool,
    keys: &Keys,
    ready: &Barrier,
) -> Result<Outcome, Failure> {
    let executor = smol::LocalExecutor::new();
    let connections: Result<Vec<_>, _> =
        share.iter().map(|index| Connection::new(*index, work, target, signed, keys)).collect();
    // Before any return, or the other threads would wait for ever.
    ready.wait();
    let begun = Instant::now();
    let end = begun + work.duration;
    let tasks: Vec<_> =
        connections?.into_iter().map(|each| executor.spawn(each.run(end))).collect();
    smol::block_on(executor.run(async {
        let mut outcome = Outcome::default();
        for task in tasks {
            outcome.merge(&task.await?);
        }
        outcome.elapsed = begun.elapsed();
        Ok(outcome)
    }))
}

struct Connection<'a> {
    work: &'a Work,
    keys: &'a Keys,
    client: Client,
    builder: Builder,
    fill: Fill,
    random: Random,
    outcome: Outcome,
}

impl<'a> Connection<'a> {
    fn new(
        index: usize,
        work: &'a Work,
        target: &Target,
        signed: bool,
        keys: &'a Keys,
    ) -> Result<Self, Failure> {
        let puts = work.kind == Kind::Put || work.puts > 0;
        // No two runs, rows or connections put the same bytes: a store that keeps equal blocks once must not gain by it.
        let mut hasher = DefaultHasher::new();
        (&keys.new, index).hash(&mut hasher);
        let seed = hasher.finish();
        Ok(Self {
            work,
            keys,
            client: Client::new(target.addr),
            builder: Builder::new(&target.host, &target.bucket, target.signer.clone(), signed),
            fill: Fill::new(if puts { work.size } else { 0 }, seed)?,
            random: Random::new(seed),
            outcome: Outcome::default(),
        })
    }

    /// Works until the time or the number is up. An answer that does not come in time counts as an error, once.
    async fn run(mut self, end: Instant) -> Result<Outcome, Failure> {
        let late = end + GRACE;
        let finished = {
            let work = async { self.steps(end).await.map(|()| true) };
            let timer = async {
                smol::Timer::at(late).await;
                Ok(false)
            };
            future::or(work, timer).await?
        };
        if !finished {
            *self.outcome.errors.entry("NoAnswer".to_owned()).or_default() += 1;
        }
        Ok(self.outcome)
    }

    async fn steps(&mut self, end: Instant) -> Result<(), Failure> {
        while Instant::now() < end {
            let index = self.keys.begun.fetch_add(1, Ordering::Relaxed);
            let all_deleted = self.work.kind == Kind::Delete && index >= self.work.objects;
            if all_deleted || self.work.count.is_some_and(|count| index >= count) {
                break;
            }
            self.step(index).await?;
        }
        Ok(())
    }

    async fn step(&mut self, index: u64) -> Result<(), Failure> {
        let puts = match self.work.kind {
            Kind::Put => true,
            Kind::Mixed => self.random.next() % 100 < self.work.puts,
            Kind::Get | Kind::Head | Kind::List | Kind::Delete => false,
        };
        let (method, rest) = self.request(index, puts);
        let body = if puts { self.fill.marked(index) } else { &[] };
        let ask = Ask { method, rest: &rest, body, header: None };
        let begun = Instant::now();
        let head = self.builder.head(&ask, wall())?;
        let answer = self.client.request(head, body, method == "HEAD", false).await;
        let expected = match self.work.kind {
            _ if puts => Some(0),
            Kind::Get | Kind::Mixed => Some(self.work.size),
            Kind::Put | Kind::Head | Kind::List | Kind::Delete => None,
        };
        match trouble(&answer, expected) {
            None => {
                self.outcome.times.record(begun.elapsed());
                let moved = answer.map_or(0, |answer| answer.len);
                self.outcome.bytes += moved + body.len() as u64;
            }
            Some(code) => {
                *self.outcome.errors.entry(code).or_default() += 1;
                smol::Timer::after(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Method, and what follows the bucket in the target.
    fn request(&mut self, index: u64, puts: bool) -> (&'static str, String) {
        if puts {
            let made = self.keys.made.fetch_add(1, Ordering::Relaxed);
            return ("PUT", Keys::key(&self.keys.new, made));
        }
        let any = self.random.next() % self.work.objects.max(1);
        match self.work.kind {
            Kind::Get | Kind::Mixed | Kind::Put => ("GET", Keys::key(&self.keys.there, any)),
            Kind::Head => ("HEAD", Keys::key(&self.keys.there, any)),
            Kind::Delete => ("DELETE", Keys::key(&self.keys.there, index)),
            Kind::List => {
                let prefix = self.keys.there.replace('/', "%2F");
                ("GET", format!("?list-type=2&max-keys={PAGE}&prefix={prefix}"))
            }
        }
    }
}

/// What is wrong with an answer, named as S3 names it. `expected` is the length that the body must have.
pub fn trouble(answer: &std::io::Result<Response>, expected: Option<u64>) -> Option<String> {
    match answer {
        Err(error) => Some(format!("{:?}", error.kind())),
        Ok(answer) if !(200..300).contains(&answer.status) => Some(code(answer)),
        Ok(answer) if expected.is_some_and(|expected| expected != answer.len) => {
            Some("WrongLength".to_owned())
        }
        Ok(_) => None,
    }
}

/// The code in an error document, or the status where there is none.
fn code(answer: &Response) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(|| format!("Status{}", answer.status), |(code, _)| code.to_owned())
}

/// The wall clock, for signatures.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
