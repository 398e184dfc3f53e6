//! Drives one task: performs its effects, hands it what came of them, until it is done.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use mews_core::{
    effect::{ClientGone, Completion, Effect, EffectId, ResponseBody},
    http::ResponseHead,
    rpc::Origin,
    s3::intake::BodyError,
    task::Task,
};
use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use crate::{
    host::{Host, instant},
    pump::Pump,
};

/// How many pieces of a streamed body wait between the task and the connection. With one, the next block is read from disk
/// while the last is being sent.
const STREAM: usize = 1;

/// What the task says to its client: a head, and what follows.
pub struct Answer {
    /// Status and headers.
    pub head: ResponseHead,
    /// The body.
    pub body: AnswerBody,
    /// Whether the request's body was read to its end, or will be: if not, the connection cannot be used again.
    pub reusable: bool,
}

/// The body of an [`Answer`].
pub enum AnswerBody {
    /// All of it.
    Full(bytes::Bytes),
    /// Piece by piece, until the length of the head is reached.
    Stream(mpsc::Receiver<bytes::Bytes>),
}

/// The client of a request, seen from its task.
pub struct Client {
    /// Where the answer goes; gone once it is given.
    reply: Option<oneshot::Sender<Answer>>,
    /// Where the pieces of a streamed body go.
    stream: Option<mpsc::Sender<bytes::Bytes>>,
    /// The request's body; away while a piece of it is being read, and for ever if that was cancelled.
    pump: Option<Box<Pump>>,
    /// An unread body up to this many bytes is read and dropped in the end.
    drain: u64,
}

impl Client {
    /// The client that waits for `reply` and sends the body behind `pump`. A rest of at most `drain` bytes of it is read in
    /// the end, to keep the connection.
    pub fn new(reply: oneshot::Sender<Answer>, pump: Pump, drain: u64) -> Self {
        Self { reply: Some(reply), stream: None, pump: Some(Box::new(pump)), drain }
    }

    fn respond(&mut self, head: ResponseHead, body: ResponseBody) {
        let body = match body {
            ResponseBody::Empty => AnswerBody::Full(bytes::Bytes::new()),
            ResponseBody::Full(bytes) => AnswerBody::Full(bytes),
            ResponseBody::Stream => {
                let (pieces, stream) = mpsc::channel(STREAM);
                self.stream = Some(pieces);
                AnswerBody::Stream(stream)
            }
        };
        let over = self.pump.as_ref().is_some_and(|pump| pump.is_over());
        let reply = self.reply.take().expect("a task answers once");
        // If the client has gone, the task learns of it by another way.
        drop(reply.send(Answer { head, body, reusable: over || self.drain > 0 }));
    }

    /// Waits until the client has gone away.
    async fn gone(&mut self) {
        match (&mut self.reply, &self.stream) {
            (Some(reply), _) => reply.closed().await,
            (None, Some(stream)) => stream.closed().await,
            (None, None) => std::future::pending().await,
        }
    }
}

/// What came of an effect, and the pump if it was lent.
type Performed = (Completion, Option<Box<Pump>>);

/// An effect under way.
struct Flight {
    id: EffectId,
    /// None once it is cancelled.
    performing: Option<Pin<Box<dyn Future<Output = Performed> + Send>>>,
}

impl Future for Flight {
    type Output = (EffectId, Option<Performed>);

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
        let timer = task.poll_timeout().map(|(at, _reason)| instant(host.clock, at));
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
    if let Some(Client { pump: Some(pump), drain, .. }) = driver.client
        && drain > 0
        && !pump.is_over()
    {
        pump.drain(drain).await;
    }
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
                let cancelled = self.flights.iter_mut().find(|flight| flight.id == cancelled);
                if let Some(flight) = cancelled {
                    flight.performing = None;
                }
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
            Effect::Open(intake) => {
                self.client().pump.as_mut().expect("opened before it is read").open(intake);
            }
            Effect::Respond { head, body } => self.client().respond(head, body),
            Effect::Waited(waits) => {
                let now = self.host.clock.now();
                self.host.with_node(|node| node.waited(now, &waits));
            }
            Effect::Pull { block, inline } => match self.client().pump.take() {
                None => self.done.push((id, Completion::Pulled(Err(BodyError::Incomplete)))),
                Some(mut pump) => self.start(id, async move {
                    let pulled = pump.pull(block, inline).await;
                    (Completion::Pulled(pulled), Some(pump))
                }),
            },
            Effect::Collect { max } => match self.client().pump.take() {
                None => self.done.push((id, Completion::Collected(Err(BodyError::Incomplete)))),
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
        }
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("the node's jobs ask for nothing of a client")
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
        match Arc::clone(&self.host.detached).try_acquire_owned() {
            Ok(permit) => drop(tokio::spawn(async move {
                going_on.await;
                drop(permit);
            })),
            Err(_) => going_on.await,
        }
    }

    fn start(
        &mut self,
        id: EffectId,
        performing: impl Future<Output = Performed> + Send + 'static,
    ) {
        self.flights.push(Flight { id, performing: Some(Box::pin(performing)) });
    }

    /// Waits for whatever comes first.
    async fn next(&mut self, timer: Option<time::Instant>, gone: bool) -> Happened {
        let client = &mut self.client;
        let gone = async {
            match client {
                Some(client) if !gone => client.gone().await,
                _ => std::future::pending().await,
            }
        };
        let timeout = async {
            match timer {
                Some(at) => time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let flight = tokio::select! {
            biased;
            Some(flight) = self.flights.next() => flight,
            () = gone => return Happened::Gone,
            () = timeout => return Happened::Timeout,
        };
        match flight {
            (_, None) => Happened::Nothing,
            (id, Some((completion, pump))) => {
                if let (Some(client), Some(pump)) = (&mut self.client, pump) {
                    client.pump = Some(pump);
                }
                Happened::Done(id, completion)
            }
        }
    }
}
