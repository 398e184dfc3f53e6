//! The connections to other nodes: one loop for each, and the calls that go through it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, poll_fn},
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
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
use smol::{
    Async, Task, Timer,
    channel::{self, Receiver, Sender},
    future::FutureExt,
    io::{AsyncRead, AsyncWrite},
    lock::{Semaphore, SemaphoreGuardArc},
};

use crate::{
    drive,
    host::{EXECUTOR, Host, spawn},
};

/// A place among so many connections.
type Place = SemaphoreGuardArc;

type Waiter = Sender<Result<Message, PeerError>>;

thread_local! {
    /// Where bytes are read to before anybody knows how many there are: one for a thread instead of one for a connection.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

type Moved = Result<(), Over>;

/// What serves a request. It ends when this is dropped.
type Serving = Task<()>;

/// One connection.
pub struct Link {
    line: Line<Waiter, Serving>,
    /// Wakes its loop. One word is as good as many.
    wake: (Sender<()>, Receiver<()>),
}

impl Link {
    fn new(connection: Connection) -> Self {
        Self { line: Line::new(connection), wake: channel::bounded(1) }
    }

    fn wake(&self) {
        // Full means that the word is there already.
        let _ = self.wake.0.try_send(());
    }

    async fn woken(&self) {
        self.wake.1.recv().await.expect("the link holds the other end");
    }
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
            link.wake();
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
                    self.1.wake();
                }
            }
        }
        let link = self.lock().get(&link).cloned().ok_or(PeerError::Unreachable)?;
        let (waiter, answer) = channel::bounded(1);
        let stream = link.line.ask(host.clock.now(), priority, message, patience, waiter)?;
        link.wake();
        let _asked = Asked(host, &link, stream);
        answer.recv().await.unwrap_or(Err(PeerError::Unreachable))
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
            let verified = host.workers.run(move || rpc::completion(expect, Ok(message))).await;
            verified.unwrap_or_else(|error| rpc::completion(expect, Err(error)))
        }
        answer => rpc::completion(expect, answer),
    };
    if completion.failure().is_some() {
        let now = host.clock.now();
        host.with_node(|node| note(node, now, to, expect, &completion));
        host.nudge();
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
    let link = Arc::new(Link::new(Connection::dial(&host.identity, expected, seed, now)));
    host.links.lock().insert(id, Arc::clone(&link));
    let host = Arc::clone(host);
    spawn(async move {
        let mut run = Run::new(&host, &link, End::dialled(id, address));
        match run.connect().await {
            Ok(socket) => run.run_until_over(&socket).await,
            Err(over) => run.over = over,
        }
    });
}

/// Takes connections of other nodes, for ever.
pub async fn listen(host: Arc<Host>, listener: Async<TcpListener>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let accepted = Arc::new(Semaphore::new(ACCEPTED));
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the other end was gone before we looked. Neither gets better at once.
                log::warn!("cannot accept a connection of another node: {error}");
                Timer::after(Duration::from_millis(50)).await;
                continue;
            }
        };
        let permits = (handshakes.try_acquire_arc(), accepted.try_acquire_arc());
        let (Some(handshake), Some(open)) = permits else {
            host.with_node(|node| node.link_crowded(&peer.to_string()));
            continue;
        };
        let end = End::accepted(peer.to_string(), handshake, open);
        if let Err(error) = accept(&host, socket, end) {
            log::warn!("{peer}: {error}");
        }
    }
}

fn accept(host: &Arc<Host>, socket: Async<TcpStream>, end: End<Place>) -> Result<(), Trouble> {
    let seed = Seed::new(random()?);
    let link = Connection::accept(&host.identity, seed, host.clock.now());
    let (host, link) = (Arc::clone(host), Arc::new(Link::new(link)));
    spawn(async move {
        let mut run = Run::new(&host, &link, end);
        run.run_until_over(&socket).await;
    });
    Ok(())
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
    /// One serves a connection: it is moved when it has fired, or is too late.
    timer: Timer,
    armed: Option<Instant>,
}

impl<'a> Run<'a> {
    fn new(host: &'a Arc<Host>, link: &'a Arc<Link>, end: End<Place>) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        let over = Over::Wire(WireError::Closed);
        let timer = Timer::never();
        Self { host, link, end, over, input, output, timer, armed: None }
    }

    /// The TCP connection, unless it takes longer than a handshake may, or is no longer wanted.
    async fn connect(&mut self) -> Result<Arc<Async<TcpStream>>, Over> {
        let mut connecting = Box::pin(smol::net::TcpStream::connect(self.end.address().to_owned()));
        loop {
            let timeout = self.turn()?;
            let connected = async { Some((&mut connecting).await) };
            let woken = async {
                self.link.woken().await;
                None
            };
            let late = async {
                poll_fn(|cx| self.poll_timer(cx, timeout)).await;
                None
            };
            if let Some(stream) = connected.or(woken).or(late).await {
                return Ok(stream?.into());
            }
        }
    }

    /// Moves bytes until the connection ends.
    async fn run_until_over(&mut self, socket: &Async<TcpStream>) {
        let Err(over) = self.run(socket).await;
        self.over = over;
    }

    async fn run(&mut self, socket: &Async<TcpStream>) -> Result<Infallible, Over> {
        socket.get_ref().set_nodelay(true)?;
        let link = self.link;
        loop {
            let timeout = self.turn()?;
            let woken = async {
                link.woken().await;
                Ok(())
            };
            let moved = poll_fn(|cx| {
                let moved = self.poll_move(cx, socket);
                if moved.is_pending() && self.poll_timer(cx, timeout).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                moved
            });
            moved.or(woken).await?;
        }
    }

    /// Writes and reads what can be; ready when anything was.
    fn poll_move(&mut self, cx: &mut Context<'_>, mut socket: &Async<TcpStream>) -> Poll<Moved> {
        let mut moved = Poll::Pending;
        if !self.output.is_empty()
            && let Poll::Ready(count) = Pin::new(&mut socket).poll_write(cx, &self.output)
        {
            self.output.advance(count?);
            if self.output.is_empty() {
                // An idle connection holds no buffers.
                self.output = BytesMut::new();
            }
            moved = Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let count = match Pin::new(&mut socket).poll_read(cx, scratch) {
                Poll::Ready(count) => count?,
                Poll::Pending => return moved,
            };
            if count == 0 {
                return Poll::Ready(Err(Over::Socket(ErrorKind::UnexpectedEof.into())));
            }
            self.input.extend_from_slice(&scratch[..count]);
            self.link.line.input(self.host.clock.now(), &mut self.input)?;
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
            Poll::Ready(Ok(()))
        })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, until: Option<Instant>) -> Poll<()> {
        let Some(until) = until else { return Poll::Pending };
        if self.armed.is_none_or(|armed| armed > until) {
            self.timer.set_at(self.host.clock.std(until));
            self.armed = Some(until);
        }
        ready!(Pin::new(&mut self.timer).poll(cx));
        self.armed = None;
        Poll::Ready(())
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
            News::Answered(waiter, answer) => drop(waiter.try_send(answer)),
            News::Cancelled(serving) => drop(serving),
        }
    }

    fn up(&mut self, peer: NodeId) {
        let now = self.host.clock.now();
        let enter = |id| drop(self.host.links.lock().insert(id, Arc::clone(self.link)));
        self.host.with_node(|node| self.end.up(node, now, peer, enter));
        self.host.nudge();
    }

    fn serve(&self, stream: StreamId, message: Message) {
        let id = self.end.id().expect("requests come after the handshake");
        let now = self.host.clock.now();
        match self.host.with_node(|node| node.serve(now, id, message)) {
            Served::Reply(message) => drop(self.link.line.respond(now, stream, message)),
            Served::Run(task, slot) => {
                let (host, link) = (Arc::clone(self.host), Arc::clone(self.link));
                let served = Request { host, link, stream, origin: task.origin(), slot };
                let serving = EXECUTOR.spawn(async move {
                    let driven = drive::drive(&served.host, task, None);
                    // A panic has been logged by then.
                    drop(AssertUnwindSafe(driven).catch_unwind().await);
                });
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
                News::Answered(waiter, answer) => drop(waiter.try_send(answer)),
                News::Cancelled(serving) => drop(serving),
            }
        }
        let reason = self.over.reason(&closed);
        if let Some(id) = self.end.id() {
            self.host.links.lock().remove(&id);
        }
        let now = self.host.clock.now();
        self.host.with_node(|node| self.end.down(node, now, &self.over, &reason));
        self.host.nudge();
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
        self.link.wake();
    }
}
