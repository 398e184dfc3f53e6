//! A world for one request at a time: what a shell does, over maps in memory, in an order that a test decides.
//!
//! [`Host::ask`] runs a request to its end. [`Host::begin`] and [`Running::step`] perform one effect at a time, so that a test
//! can put requests in between, or stop. Every effect is noted in [`Host::trace`] as it is performed.

mod admin;
pub mod cluster;
mod pump;
mod trace;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use crate::{
    block::{Payload, seal},
    effect::{Completion, Effect, EffectId, PeerError, ResponseBody},
    http::{RequestHead, ResponseHead},
    id::{Hash, NodeId},
    s3::{
        auth,
        call::{self, Bucket, Call},
        request, serve,
        sign::{self, Signer},
    },
    seed::Seed,
    store::{Batch, Op, Outcome, Snapshot, Table, apply, map::MapStore, read},
    table::{
        self,
        access::{AccessKeyRow, AliasRow, Lww},
    },
    task::{Cx, Task},
    time::{Instant, Now, Stamp, Timestamp},
    view::{Config, View},
    web,
};

use pump::Pump;

/// The id of the access key that requests are signed with, unless they say otherwise.
pub const KEY_ID: &str = "MKtest";
/// Its secret.
pub const SECRET: &str = "a secret for tests";
const HOST: &str = "s3.example.org";

/// When the first request comes: 2023-11-14T22:13:20Z.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// A node in memory.
#[derive(Debug)]
pub struct Host {
    /// What the tasks see. Blocks have 1,000 bytes, payloads up to 100 are inline.
    pub view: Arc<View>,
    /// The database.
    pub store: MapStore,
    /// The disk: plain blocks.
    pub blocks: BTreeMap<Hash, Bytes>,
    /// Both clocks; a millisecond passes with every effect.
    pub now: Now,
    /// The effects performed, a line each.
    pub trace: Vec<String>,
    /// What goes wrong.
    pub faults: Faults,
    seed: Seed,
}

/// What goes wrong. Numbers count down to the effect that fails; it fails once.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The commit (or block with a commit) to fail, and how.
    pub commit: Option<(usize, CommitFault)>,
    /// The load to fail.
    pub load: Option<(usize, PeerError)>,
}

/// How a commit fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// With nothing done.
    Nothing(PeerError),
    /// Although it was done.
    Done(PeerError),
}

/// A request as a test writes it.
#[derive(Clone, Debug)]
pub struct Ask {
    method: String,
    target: String,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
    cut: Option<usize>,
    signed: bool,
    payload: PayloadKind,
    key: (String, String),
    declared: bool,
}

#[derive(Clone, Copy, Debug)]
enum PayloadKind {
    Unsigned,
    Chunked,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status; 0 without a response.
    pub status: u16,
    /// The header fields.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body's length as declared.
    pub len: u64,
    /// The body.
    pub body: Vec<u8>,
    /// How many responses there were: one, if all is well.
    pub responses: usize,
}

impl Ask {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), Bytes::from_static(HOST.as_bytes()))],
            body: Bytes::new(),
            cut: None,
            signed: true,
            payload: PayloadKind::Unsigned,
            key: (KEY_ID.to_owned(), SECRET.to_owned()),
            declared: true,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A PUT.
    pub fn put(target: &str, body: impl Into<Bytes>) -> Self {
        Self::new("PUT", target).body(body)
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), Bytes::copy_from_slice(value.as_ref())));
        self
    }

    /// Sent to another host.
    #[must_use]
    pub fn to(mut self, host: &str) -> Self {
        self.headers.retain(|(name, _)| name != "host");
        self.header("host", host)
    }

    /// Gives it a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The client goes away after so many bytes of the body.
    #[must_use]
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// Without a signature.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.signed = false;
        self
    }

    /// With the body in signed chunks.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.payload = PayloadKind::Chunked;
        self
    }

    /// Framed without a length.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.declared = false;
        self
    }

    /// Signed with another key.
    #[must_use]
    pub fn key(mut self, id: &str, secret: &str) -> Self {
        self.key = (id.to_owned(), secret.to_owned());
        self
    }

    fn into_head(self, now: Timestamp) -> (RequestHead, Bytes, Option<usize>) {
        let mut head = RequestHead {
            method: self.method,
            target: self.target.into_bytes(),
            headers: self.headers,
            body_len: self.declared.then_some(self.body.len() as u64),
            peer: "192.0.2.1:4242".to_owned(),
        };
        let mut body = self.body;
        if self.signed {
            let (id, secret) = self.key;
            let mut signer = Signer::new(id, secret, "mews");
            let payload = match self.payload {
                PayloadKind::Unsigned => sign::Payload::Unsigned,
                PayloadKind::Chunked => {
                    let len = body.len().to_string();
                    head.headers.push(("x-amz-decoded-content-length".to_owned(), len.into()));
                    sign::Payload::Chunked(None)
                }
            };
            let framer = signer.sign(&mut head, payload, now).expect("a target that can be read");
            if matches!(self.payload, PayloadKind::Chunked) {
                body = framer.frame(&body, 64).into();
                head.body_len = Some(body.len() as u64);
            }
        }
        (head, body, self.cut)
    }
}

impl Reply {
    /// The first value of a header field, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(each, _)| each == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// What stands in the first element of that name.
    pub fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.text().split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    }

    /// What stands in every element of that name.
    pub fn elements(&self, name: &str) -> Vec<&str> {
        let pieces = self.text().split(&format!("<{name}>")).skip(1).collect::<Vec<_>>();
        let end = format!("</{name}>");
        pieces.into_iter().map(|piece| piece.split(&end).next().unwrap_or_default()).collect()
    }

    /// Status and error code (or nothing), as in `404 NoSuchKey`.
    pub fn outcome(&self) -> String {
        let code = if self.status >= 400 { self.element("Code") } else { None };
        match code {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A node with a key that may create buckets, and a bucket called `bucket`.
    pub fn new() -> Self {
        let mut host = Self::bare(NodeId([7; 32]), Seed::new([1; 32]));
        host.add_key(KEY_ID, SECRET, true);
        let created = host.ask(Ask::put("/bucket", ""));
        assert_eq!(created.status, 200, "{}", created.text());
        host.trace.clear();
        host
    }

    /// A node with nothing, alone.
    pub fn bare(node: NodeId, seed: Seed) -> Self {
        let config = Config { block_size: 1000, inline_max: 100, ..Config::default() };
        Self {
            view: Arc::new(View::single(node, 3, config)),
            store: MapStore::default(),
            blocks: BTreeMap::new(),
            now: Now { mono: Instant(0), wall: START },
            trace: Vec::new(),
            faults: Faults::default(),
            seed,
        }
    }

    /// Adds an access key.
    pub fn add_key(&mut self, id: &str, secret: &str, create_bucket: bool) {
        let at = Stamp::from_wall(self.now.wall);
        let row = AccessKeyRow {
            created: self.now.wall,
            secret: secret.to_owned(),
            name: Lww { at, value: format!("key {id}") },
            create_bucket: Lww { at, value: create_bucket },
            ..AccessKeyRow::default()
        };
        self.merge(Table::AccessKey, id.as_bytes(), table::encode(&row));
    }

    /// Makes changes, past all requests.
    pub fn change(&mut self, ops: Vec<Op>) {
        let outcome = self.apply(&Batch::new(self.now.wall, ops)).expect("valid changes");
        assert!(matches!(outcome, Outcome::Applied(_)));
    }

    /// Merges a row, past all requests.
    pub fn merge(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.change(vec![Op::Merge { table, key: key.to_vec(), value, inline: None }]);
    }

    /// How many rows there are in a table.
    pub fn count(&self, table: Table) -> usize {
        self.store.rows(table).count()
    }

    /// Runs a request to its end.
    pub fn ask(&mut self, ask: Ask) -> Reply {
        let mut running = self.begin(ask);
        while running.step(self) {}
        running.reply
    }

    /// Starts a request, up to its first wait.
    pub fn begin(&mut self, ask: Ask) -> Running {
        let (head, body, cut) = ask.into_head(self.now.wall);
        let view = self.view.clone();
        let task = Task::new("s3", self.seed.child(), |cx| serve::serve(cx, view, head));
        Running::start(self, task, Pump::new(body, cut))
    }

    /// Runs a request to a website to its end.
    pub fn browse(&mut self, ask: Ask) -> Reply {
        let (head, body, cut) = ask.anonymous().into_head(self.now.wall);
        let view = self.view.clone();
        let task = Task::new("page", self.seed.child(), |cx| web::serve::serve(cx, view, head));
        let mut running = Running::start(self, task, Pump::new(body, cut));
        while running.step(self) {}
        running.reply
    }

    /// Starts any flow, with a body for it to pull.
    pub fn begin_flow<F>(&mut self, body: impl Into<Bytes>, flow: impl FnOnce(Cx) -> F) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = Task::new("flow", self.seed.child(), flow);
        Running::start(self, task, Pump::new(body.into(), None))
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
        self.now.wall = self.now.wall.after(time);
    }

    /// A verified request on an existing bucket, for whoever calls handlers themselves.
    pub fn call(&self, ask: Ask) -> Call {
        let (head, ..) = ask.into_head(self.now.wall);
        let request = request::parse(head, &self.view.config).expect("a request");
        let claim = auth::claim(&request, self.now.wall, &self.view.config).expect("a claim");
        let row = |table: Table, key: &[u8]| {
            self.store.get(table, key).expect("a map").expect("a row of that key")
        };
        let key = row(Table::AccessKey, claim.key_id().as_bytes());
        let key: AccessKeyRow = table::decode(Table::AccessKey, &key).expect("a key");
        let verified = claim.verify(&key.secret, &request).expect("a good signature");
        let name = request.bucket.clone().expect("a bucket");
        let alias: AliasRow =
            table::decode(Table::Alias, &row(Table::Alias, name.as_bytes())).expect("an alias");
        let id = alias.bucket.value.expect("a bucket of that name");
        let bucket = row(Table::Bucket, &id.0);
        let permissions = key.buckets.get(&id).map(|each| each.value).unwrap_or_default();
        let bucket = table::decode(Table::Bucket, &bucket).expect("a bucket");
        Call {
            view: self.view.clone(),
            request,
            signer: Some(call::Signer { id: verified.key_id().to_owned(), verified, key }),
            bucket: Some(Bucket { name, id, row: bucket, permissions }),
        }
    }

    /// Lends out the token that handlers take, without running anything.
    pub fn with_cx(&self, f: impl FnOnce(Cx)) {
        drop(Task::new("none", Seed::new([0; 32]), |cx| {
            f(cx);
            std::future::ready(())
        }));
    }

    fn apply(&mut self, batch: &Batch) -> Result<Outcome, PeerError> {
        let config = &self.view.config;
        let delays = apply::Delays { block: config.block_delay, tombstone: config.tombstone_delay };
        // All or nothing, as a transaction is.
        let mut changed = self.store.clone();
        let outcome = apply::apply(batch, &mut changed, &delays).map_err(PeerError::Store)?;
        self.store = changed;
        Ok(outcome)
    }

    fn commit(&mut self, batch: &Batch) -> Result<Outcome, PeerError> {
        match self.faults.commit.take() {
            Some((0, CommitFault::Nothing(error))) => Err(error),
            Some((0, CommitFault::Done(error))) => self.apply(batch).and(Err(error)),
            Some((n, fault)) => {
                self.faults.commit = Some((n - 1, fault));
                self.apply(batch)
            }
            None => self.apply(batch),
        }
    }

    fn load(&mut self, hash: Hash) -> Result<Payload, PeerError> {
        match self.faults.load.take() {
            Some((0, error)) => return Err(error),
            Some((n, error)) => self.faults.load = Some((n - 1, error)),
            None => {}
        }
        let bytes = self.blocks.get(&hash).cloned().ok_or(PeerError::Missing)?;
        Ok(seal::seal(bytes, None))
    }
}

/// A request under way.
pub struct Running {
    task: Task,
    queue: VecDeque<(EffectId, Effect)>,
    /// Effects that are no longer waited for.
    cancelled: Vec<EffectId>,
    pump: Pump,
    /// What has come back so far.
    pub reply: Reply,
}

impl Running {
    fn start(host: &Host, mut task: Task, pump: Pump) -> Self {
        task.start(host.now);
        let (queue, cancelled) = (VecDeque::new(), Vec::new());
        let mut running = Self { task, queue, cancelled, pump, reply: Reply::default() };
        running.drain();
        running
    }

    /// What will be performed next, as the trace will call it.
    pub fn next(&self) -> Option<String> {
        self.queue.front().map(|(_, effect)| trace::describe(effect))
    }

    /// How many effects of this kind wait to be performed.
    pub fn in_flight(&self, kind: &str) -> usize {
        let lines = self.queue.iter().map(|(_, effect)| trace::describe(effect));
        lines.filter(|line| line.starts_with(kind)).count()
    }

    /// Performs the oldest effect. False if the request has ended and none is left.
    pub fn step(&mut self, host: &mut Host) -> bool {
        let Some((id, effect)) = self.queue.pop_front() else {
            assert!(self.task.is_done(), "waits for {:?}", self.task.waiting_for());
            return false;
        };
        host.trace.push(trace::describe(&effect));
        host.pass(Duration::from_millis(1));
        let completion = self.perform(host, effect);
        if self.pump.is_gone() {
            self.task.handle_disconnect(host.now);
            self.drain();
        }
        if let Some(completion) = completion {
            self.task.handle_event(host.now, id, completion);
        }
        self.drain();
        true
    }

    /// Performs the oldest effect of this kind. False if there is none.
    pub fn step_first(&mut self, host: &mut Host, kind: &str) -> bool {
        let at = self.queue.iter().position(|(_, each)| trace::describe(each).starts_with(kind));
        match at.and_then(|at| self.queue.remove(at)) {
            Some(effect) => {
                self.queue.push_front(effect);
                self.step(host)
            }
            None => false,
        }
    }

    /// Performs effects until the next one is of this kind: the beginning of its line in the trace.
    pub fn run_until(&mut self, host: &mut Host, next: &str) {
        while !self.next().is_some_and(|line| line.starts_with(next)) {
            assert!(self.step(host), "the request ended before any {next}");
        }
    }

    fn drain(&mut self) {
        while let Some((id, effect)) = self.task.poll_effect() {
            if let Effect::Cancel(cancelled) = effect {
                self.queue.retain(|(each, _)| *each != cancelled);
                self.cancelled.push(cancelled);
            } else {
                self.queue.push_back((id, effect));
            }
        }
    }

    fn perform(&mut self, host: &mut Host, effect: Effect) -> Option<Completion> {
        Some(match effect {
            Effect::Read { read, .. } => {
                Completion::Read(read::read(&read, &host.store).map_err(PeerError::Store))
            }
            Effect::Commit { batch, .. } => Completion::Committed(host.commit(&batch)),
            Effect::StoreBlock { block, then, .. } => {
                let (form, stored) = block.stored();
                let plain = seal::open(block.hash(), form, stored.clone(), block.len());
                let plain = plain.expect("a sound block").plain().expect("opened");
                host.blocks.insert(block.hash(), plain);
                Completion::Committed(host.commit(&then.with_stored(block.hash())))
            }
            Effect::LoadBlock { hash, .. } => Completion::Loaded(host.load(hash)),
            Effect::Open(intake) => {
                self.pump.open(*intake);
                return None;
            }
            Effect::Pull { block, inline } => {
                let level = host.view.config.compression;
                Completion::Pulled(self.pump.pull(block as usize, inline as usize, level))
            }
            Effect::Collect { max } => Completion::Collected(self.pump.collect(max as usize)),
            Effect::Respond { head, body } => {
                self.respond(head, body);
                return None;
            }
            Effect::Send(bytes) => {
                self.reply.body.extend_from_slice(&bytes);
                Completion::Sent(Ok(()))
            }
            Effect::Holds { blocks, .. } => {
                let held = blocks.iter().map(|block| host.blocks.contains_key(block));
                Completion::Held(Ok(held.collect()))
            }
            Effect::Chore(chore) => panic!("no request does maintenance: {chore:?}"),
            Effect::Snapshot(_) | Effect::Control(_) | Effect::Ask { .. } => {
                panic!("no request of S3 asks for this")
            }
            Effect::Waited(_) => return None,
            Effect::Cancel(_) => unreachable!("taken out when drained"),
        })
    }

    fn respond(&mut self, head: ResponseHead, body: ResponseBody) {
        self.reply.status = head.status;
        self.reply.len = head.len;
        self.reply.headers = head.headers;
        self.reply.responses += 1;
        match body {
            ResponseBody::Empty | ResponseBody::Stream => {}
            ResponseBody::Full(bytes) => self.reply.body = bytes.to_vec(),
        }
    }
}
