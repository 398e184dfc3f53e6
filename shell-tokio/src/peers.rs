//! The connections to other nodes: one loop for each, and the calls that go through it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::ErrorKind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use mews_core::{
    daemon::trouble::Trouble,
    effect::{Completion, PeerError},
    id::NodeId,
    node::{LinkId, Served},
    rpc::{self, Call, Origin, Slot},
    seed::Seed,
    time::Instant,
    wire::{Connection, Message, Priority, StreamId, WireError},
};
use mews_host::{
    line::{Line, News},
    machine::random,
    peers::{ACCEPTED, End, HANDSHAKES, Over, READ, note, reply},
};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinHandle,
    time::{self, Sleep},
};

use crate::{
    drive,
    host::{Host, blocking, instant},
    names,
};

/// A place among so many connections.
type Place = OwnedSemaphorePermit;

type Waiter = oneshot::Sender<Result<Message, PeerError>>;

/// A task that ends when this is dropped.
pub struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One connection.
pub struct Link {
    line: Line<Waiter, Serving>,
    /// Wakes its loop.
    wake: Notify,
}

/// All connections that are up or being made.
#[derive(Default)]
pub struct Links(Mutex<BTreeMap<LinkId, Arc<Link>>>);

impl Links {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LinkId, Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes a connection.
    pub fn close(&self, link: LinkId) {
        if let Some(link) = self.lock().remove(&link) {
            link.line.shut();
            link.wake.notify_one();
        }
    }

    /// Asks by a connection, and waits for the answer. Whoever stops waiting takes the question back.
    pub async fn ask(
        &self,
        host: &Host,
        link: LinkId,
        priority: Priority,
        message: Message,
        patience: Duration,
    ) -> Result<Message, PeerError> {
        struct Asked<'a>(&'a Host, &'a Link, StreamId);
        impl Drop for Asked<'_> {
            fn drop(&mut self) {
                if self.1.line.give_up(self.0.clock.now(), self.2) {
                    self.1.wake.notify_one();
                }
            }
        }
        let link = self.lock().get(&link).cloned().ok_or(PeerError::Unreachable)?;
        let (waiter, answer) = oneshot::channel();
        let stream = link.line.ask(host.clock.now(), priority, message, patience, waiter)?;
        link.wake.notify_one();
        let _asked = Asked(host, &link, stream);
        answer.await.unwrap_or(Err(PeerError::Unreachable))
    }
}

/// Performs an effect at another node.
pub async fn call(host: &Arc<Host>, call: Call) -> Completion {
    let Call { to, priority, patience, message, expect } = call;
    let link = host.with_node(|node| node.link_to(to));
    let answer = match link {
        Some(link) => host.links.ask(host, link, priority, message, patience).await,
        None => Err(PeerError::Unreachable),
    };
    let completion = match answer {
        // A block is to be verified.
        Ok(message) if !message.payload.is_empty() => {
            let verified = blocking(move || rpc::completion(expect, Ok(message))).await;
            verified.unwrap_or_else(|error| rpc::completion(expect, Err(error)))
        }
        answer => rpc::completion(expect, answer),
    };
    if completion.failure().is_some() {
        let now = host.clock.now();
        host.with_node(|node| note(node, now, to, expect, &completion));
        host.nudge.notify_one();
    }
    completion
}

/// Connects to another node and serves the connection to its end.
pub fn dial(host: &Arc<Host>, id: LinkId, address: String, expected: Option<NodeId>) {
    let now = host.clock.now();
    let seed = match random() {
        Ok(seed) => Seed::new(seed),
        Err(error) => return host.with_node(|node| node.link_down(now, id, &error.to_string())),
    };
    let line = Line::new(Connection::dial(&host.identity, expected, seed, now));
    let link = Arc::new(Link { line, wake: Notify::new() });
    host.links.lock().insert(id, Arc::clone(&link));
    let host = Arc::clone(host);
    tokio::spawn(async move {
        let mut run = Run::new(&host, &link, End::dialled(id, address));
        match run.connect().await {
            Ok(stream) => run.run_until_over(stream).await,
            Err(over) => run.over = over,
        }
    });
}

/// Takes connections of other nodes, for ever.
pub async fn listen(host: Arc<Host>, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let accepted = Arc::new(Semaphore::new(ACCEPTED));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the other end was gone before we looked. Neither gets better at once.
                log::warn!("cannot accept a connection of another node: {error}");
                time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let permits = (
            Arc::clone(&handshakes).try_acquire_owned(),
            Arc::clone(&accepted).try_acquire_owned(),
        );
        let (Ok(handshake), Ok(open)) = permits else {
            host.with_node(|node| node.link_crowded(&peer.to_string()));
            continue;
        };
        let end = End::accepted(peer.to_string(), handshake, open);
        if let Err(error) = accept(&host, stream, end) {
            log::warn!("{peer}: {error}");
        }
    }
}

fn accept(host: &Arc<Host>, stream: TcpStream, end: End<Place>) -> Result<(), Trouble> {
    let line = Connection::accept(&host.identity, Seed::new(random()?), host.clock.now());
    let link = Arc::new(Link { line: Line::new(line), wake: Notify::new() });
    let host = Arc::clone(host);
    tokio::spawn(async move {
        let mut run = Run::new(&host, &link, end);
        run.run_until_over(stream).await;
    });
    Ok(())
}

async fn connect(address: String) -> std::io::Result<TcpStream> {
    TcpStream::connect(&names::resolve(address).await?[..]).await
}

/// The loop of a connection.
struct Run<'a> {
    host: &'a Arc<Host>,
    link: &'a Arc<Link>,
    end: End<Place>,
    /// Why it has ended.
    over: Over,
    input: BytesMut,
    output: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a> Run<'a> {
    fn new(host: &'a Arc<Host>, link: &'a Arc<Link>, end: End<Place>) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let over = Over::Wire(WireError::Closed);
        Self { host, link, end, over, input, output, timer: None }
    }

    /// The TCP connection, unless it takes longer than a handshake may, or is no longer wanted.
    async fn connect(&mut self) -> Result<TcpStream, Over> {
        let connecting = connect(self.end.address().to_owned());
        tokio::pin!(connecting);
        loop {
            let timeout = self.turn()?;
            tokio::select! {
                stream = &mut connecting => return Ok(stream?),
                () = self.link.wake.notified() => {}
                () = sleep(&mut self.timer, self.host, timeout) => {}
            }
        }
    }

    /// Moves bytes until the connection ends.
    async fn run_until_over(&mut self, stream: TcpStream) {
        let Err(over) = self.run(stream).await;
        self.over = over;
    }

    async fn run(&mut self, stream: TcpStream) -> Result<Infallible, Over> {
        stream.set_nodelay(true)?;
        loop {
            let timeout = self.turn()?;
            let interest = match self.output.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            let ready = tokio::select! {
                ready = stream.ready(interest) => ready?,
                () = self.link.wake.notified() => continue,
                () = sleep(&mut self.timer, self.host, timeout) => continue,
            };
            if ready.is_writable() {
                self.write(&stream)?;
            }
            // Also when the other end has closed: what it sent before counts.
            if ready.is_readable() || ready.is_read_closed() || ready.is_error() {
                self.read(&stream)?;
            }
        }
    }

    fn write(&mut self, stream: &TcpStream) -> Result<(), Over> {
        match stream.try_write(&self.output) {
            Ok(count) => self.output.advance(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if self.output.is_empty() {
            // An idle connection holds no buffers.
            self.output = BytesMut::new();
        }
        Ok(())
    }

    fn read(&mut self, stream: &TcpStream) -> Result<(), Over> {
        self.input.reserve(READ);
        match stream.try_read_buf(&mut self.input) {
            Ok(0) => return Err(Over::Socket(ErrorKind::UnexpectedEof.into())),
            Ok(_) => self.link.line.input(self.host.clock.now(), &mut self.input)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(())
    }

    /// Does what there is to do; says when to come again.
    fn turn(&mut self) -> Result<Option<Instant>, WireError> {
        let (clock, link) = (self.host.clock, self.link);
        let mut output = std::mem::take(&mut self.output);
        let timeout = link.line.work(|| clock.now(), &mut output, |news| self.handle(news));
        self.output = output;
        timeout
    }

    fn handle(&mut self, news: News<Waiter, Serving>) {
        match news {
            News::Up(peer) => self.up(peer),
            News::Measured(rtt) => {
                let now = self.host.clock.now();
                self.host.with_node(|node| self.end.measured(node, now, rtt));
            }
            News::Asked(stream, message) => self.serve(stream, message),
            // Who no longer waits has taken the question back.
            News::Answered(waiter, answer) => drop(waiter.send(answer)),
            News::Cancelled(serving) => drop(serving),
        }
    }

    fn up(&mut self, peer: NodeId) {
        let now = self.host.clock.now();
        let enter = |id| drop(self.host.links.lock().insert(id, Arc::clone(self.link)));
        self.host.with_node(|node| self.end.up(node, now, peer, enter));
        self.host.nudge.notify_one();
    }

    fn serve(&self, stream: StreamId, message: Message) {
        let id = self.end.id().expect("requests come after the handshake");
        let now = self.host.clock.now();
        match self.host.with_node(|node| node.serve(now, id, message)) {
            Served::Reply(message) => drop(self.link.line.respond(now, stream, message)),
            Served::Run(task, slot) => {
                let (host, link) = (Arc::clone(self.host), Arc::clone(self.link));
                let served = Request { host, link, stream, origin: task.origin(), slot };
                let serving = Serving(tokio::spawn(async move {
                    drive::drive(&served.host, task, None).await;
                    drop(served);
                }));
                drop(self.link.line.serving(stream, serving));
            }
        }
    }
}

/// However the loop ends, a panic included.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        let (closed, news) = self.link.line.close();
        for news in news {
            match news {
                News::Up(_) | News::Measured(_) | News::Asked(..) => {}
                News::Answered(waiter, answer) => drop(waiter.send(answer)),
                News::Cancelled(serving) => drop(serving),
            }
        }
        let reason = self.over.reason(&closed);
        if let Some(id) = self.end.id() {
            self.host.links.lock().remove(&id);
        }
        let now = self.host.clock.now();
        self.host.with_node(|node| self.end.down(node, now, &self.over, &reason));
        self.host.nudge.notify_one();
    }
}

/// A peer's request while it is served. Answered in the end, also if its task panics.
struct Request {
    host: Arc<Host>,
    link: Arc<Link>,
    stream: StreamId,
    origin: Origin,
    slot: Slot,
}

impl Drop for Request {
    fn drop(&mut self) {
        let now = self.host.clock.now();
        self.host.with_node(|node| node.served(now, self.origin));
        drop(self.link.line.respond(now, self.stream, reply(&self.slot)));
        self.link.wake.notify_one();
    }
}

/// Waits until then. One timer serves a connection: it is moved when it fires, or is too late.
async fn sleep(timer: &mut Option<Pin<Box<Sleep>>>, host: &Host, until: Option<Instant>) {
    let Some(until) = until else { return std::future::pending().await };
    let at = instant(host.clock, until);
    let timer = timer.get_or_insert_with(|| Box::pin(time::sleep_until(at)));
    if timer.deadline() > at || timer.is_elapsed() {
        timer.as_mut().reset(at);
    }
    timer.as_mut().await;
}
