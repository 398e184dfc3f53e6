//! Drives one task: performs its effects, hands it what came of them, until it is done.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use mews_core::{
    effect::{ClientGone, Completion, Effect, EffectId, ResponseBody},
    http::ResponseHead,
    rpc::Origin,
    s3::intake::{BodyError, Intake},
    task::Task,
    time::Instant,
};
use smol::{
    channel::{self, Sender},
    future::{self, FutureExt},
};

use crate::{
    codec::AnswerBody,
    host::{self, Host},
    pump::Pump,
};

/// How many pieces of a streamed body wait between the task and the connection. With one, the next block is read from disk
/// while the last is being sent.
const STREAM: usize = 1;

/// What the task says to its client.
pub struct Answer {
    /// Status and headers.
    pub head: ResponseHead,
    /// What follows.
    pub body: AnswerBody,
}

/// The client of a request, seen from its task.
pub struct Client {
    /// Where the answer goes; gone once it is given.
    reply: Option<Sender<Answer>>,
    /// Where the pieces of a streamed body go.
    stream: Option<Sender<Bytes>>,
    /// The request's body; away while a piece of it is being read, and for ever if that was cancelled.
    pump: Option<Box<Pump>>,
}

impl Client {
    /// The client that waits for `reply` and sends the body behind `pump`.
    pub fn new(reply: Sender<Answer>, pump: Pump) -> Self {
        Self { reply: Some(reply), stream: None, pump: Some(Box::new(pump)) }
    }

    fn open(&mut self, intake: Box<Intake>) {
        self.pump.as_mut().expect("opened before it is read").open(intake);
    }

    fn respond(&mut self, head: ResponseHead, body: ResponseBody) {
        let body = match body {
            ResponseBody::Empty => AnswerBody::Full(Bytes::new()),
            ResponseBody::Full(bytes) => AnswerBody::Full(bytes),
            ResponseBody::Stream => {
                let (pieces, stream) = channel::bounded(STREAM);
                self.stream = Some(pieces);
                AnswerBody::Stream(stream)
            }
        };
        let reply = self.reply.take().expect("a task answers once");
        // If the client has gone, the task learns of it by another way.
        drop(reply.try_send(Answer { head, body }));
    }

    /// Waits until the client has gone away.
    async fn gone(&self) {
        match (&self.reply, &self.stream) {
            (Some(reply), _) => reply.closed().await,
            (None, Some(stream)) => stream.closed().await,
            (None, None) => future::pending().await,
        }
    }
}

type Performing = Pin<Box<dyn Future<Output = (Completion, Option<Box<Pump>>)> + Send>>;

/// An effect under way.
struct Flight {
    id: EffectId,
    /// None once it is cancelled.
    performing: Option<Performing>,
}

impl Future for Flight {
    type Output = (EffectId, Option<(Completion, Option<Box<Pump>>)>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id;
        match &mut self.performing {
            Some(performing) => Poll::Ready((id, Some(ready!(performing.as_mut().poll(cx))))),
            None => Poll::Ready((id, None)),
        }
    }
}

/// What a task waits for.
struct Driver<'a> {
    host: &'a Arc<Host>,
    origin: Origin,
    client: Option<Client>,
    flights: FuturesUnordered<Flight>,
    /// Done while the task's effects were drained.
    done: Vec<(EffectId, Completion)>,
}

/// Drives `task` to its end. Without a client, for the node's own jobs.
pub async fn drive(host: &Arc<Host>, mut task: Task, client: Option<Client>) {
    let (flights, origin) = (FuturesUnordered::new(), task.origin());
    let mut driver = Driver { host, origin, client, flights, done: Vec::new() };
    let mut gone = driver.client.is_none();
    task.start(host.clock.now());
    loop {
        while let Some((id, effect)) = task.poll_effect() {
            driver.perform(id, effect);
        }
        if task.is_done() {
            break;
        }
        if let Some((id, completion)) = driver.done.pop() {
            task.handle_event(host.clock.now(), id, completion);
            continue;
        }
        let timer = task.poll_timeout().map(|(at, _reason)| at);
        match driver.next(timer, gone).await {
            Happened::Done(id, completion) => task.handle_event(host.clock.now(), id, completion),
            Happened::Nothing => {}
            Happened::Gone => {
                gone = true;
                task.handle_disconnect(host.clock.now());
            }
            Happened::Timeout => task.handle_timeout(host.clock.now()),
        }
    }
    driver.detach().await;
}

enum Happened {
    Done(EffectId, Completion),
    /// A cancelled effect has left.
    Nothing,
    Gone,
    Timeout,
}

impl Driver<'_> {
    fn perform(&mut self, id: EffectId, effect: Effect) {
        match effect {
            Effect::Cancel(cancelled) => {
                for flight in self.flights.iter_mut().filter(|flight| flight.id == cancelled) {
                    flight.performing = None;
                }
            }
            Effect::Open(intake) => self.client().open(intake),
            Effect::Respond { head, body } => self.client().respond(head, body),
            Effect::Waited(waits) => {
                let now = self.host.clock.now();
                self.host.with_node(|node| node.waited(now, &waits));
            }
            Effect::Pull { block, inline } => match self.client().pump.take() {
                None => {
                    self.done.push((id, Completion::Pulled(Err(BodyError::Incomplete))));
                }
                Some(mut pump) => self.start(id, async move {
                    let pulled = pump.pull(block, inline).await;
                    (Completion::Pulled(pulled), Some(pump))
                }),
            },
            Effect::Collect { max } => match self.client().pump.take() {
                None => {
                    self.done.push((id, Completion::Collected(Err(BodyError::Incomplete))));
                }
                Some(mut pump) => self.start(id, async move {
                    let collected = pump.collect(max).await;
                    (Completion::Collected(collected), Some(pump))
                }),
            },
            Effect::Send(bytes) => {
                let stream = self.client().stream.clone().expect("the response is a stream");
                self.start(id, async move {
                    let sent = stream.send(bytes).await.map_err(|_| ClientGone);
                    (Completion::Sent(sent), None)
                });
            }
            Effect::Read { at, read } => match self.host.read_now(at, &read) {
                Some(answer) => self.done.push((id, Completion::Read(answer))),
                None => self.perform_by_host(id, Effect::Read { at, read }),
            },
            effect @ (Effect::Commit { .. }
            | Effect::StoreBlock { .. }
            | Effect::LoadBlock { .. }
            | Effect::Holds { .. }
            | Effect::Chore(_)
            | Effect::Snapshot(_)
            | Effect::Control(_)
            | Effect::Ask { .. }) => self.perform_by_host(id, effect),
        }
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("only tasks of requests speak to a client")
    }

    fn perform_by_host(&mut self, id: EffectId, effect: Effect) {
        let (host, origin) = (Arc::clone(self.host), self.origin);
        self.start(id, async move { (host.perform(effect, origin).await, None) });
    }

    /// Lets what the task has left under way go on without it. Each effect ends by a peer's patience, or by what the own disk
    /// takes.
    async fn detach(&mut self) {
        let mut flights = std::mem::take(&mut self.flights);
        if flights.iter().all(|flight| flight.performing.is_none()) {
            return;
        }
        let going_on = async move { while flights.next().await.is_some() {} };
        match self.host.detached.try_acquire_arc() {
            Some(permit) => host::spawn(async move {
                going_on.await;
                drop(permit);
            }),
            None => going_on.await,
        }
    }

    fn start(
        &mut self,
        id: EffectId,
        performing: impl Future<Output = (Completion, Option<Box<Pump>>)> + Send + 'static,
    ) {
        self.flights.push(Flight { id, performing: Some(Box::pin(performing)) });
    }

    /// Waits for whatever comes first.
    async fn next(&mut self, at: Option<Instant>, gone: bool) -> Happened {
        let Self { host, client, flights, .. } = self;
        let landed = async {
            match flights.next().await {
                Some(flight) => flight,
                None => future::pending().await,
            }
        };
        let gone = async {
            match client {
                Some(client) if !gone => client.gone().await,
                _ => future::pending().await,
            }
            Happened::Gone
        };
        let timeout = async {
            host::timer(host.clock, at).await;
            Happened::Timeout
        };
        let other = async { Err(gone.or(timeout).await) };
        match async { Ok(landed.await) }.or(other).await {
            Err(happened) => happened,
            Ok((_, None)) => Happened::Nothing,
            Ok((id, Some((completion, pump)))) => {
                if let (Some(client), Some(pump)) = (&mut self.client, pump) {
                    client.pump = Some(pump);
                }
                Happened::Done(id, completion)
            }
        }
    }
}
