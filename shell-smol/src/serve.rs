//! The S3 API's listener: connections, and requests on them.

use std::{
    convert::Infallible, future::Future, net::TcpListener, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use http_types::{Method, Request};
use mews_core::{
    daemon::texts,
    http::{
        RequestHead,
        check::{Meta, Version},
        guard::Need,
        limits::Limits,
        reject::Reject,
    },
    node::Api,
    rpc::Origin,
};
use smol::{
    Async, Timer,
    channel::{self, Receiver, Sender},
    future::{self, FutureExt},
    lock::{Semaphore, SemaphoreGuardArc},
};

use crate::{
    codec::{self, AnswerBody, Frame, Outgoing},
    drive::{self, Answer, Client},
    host::{Host, spawn},
    link::Link,
    pump::Pump,
};

/// How many refusals are under way at once; beyond that a connection is just closed.
const REFUSALS: usize = 64;

/// Closed when the daemon is to stop.
pub type Stop = Receiver<Infallible>;

/// A listener and the bounds of its connections.
pub struct Server {
    /// What requests are served with.
    pub host: Arc<Host>,
    /// What they are for.
    pub api: Api,
    /// The bounds of one connection.
    pub limits: Limits,
    /// How many connections there may be.
    pub connections: usize,
}

/// What a connection holds while it is open.
struct Admission {
    _permit: SemaphoreGuardArc,
    _open: Sender<Infallible>,
}

impl Server {
    /// Accepts and serves until it is stopped; then lets requests in flight go on for `patience`. Gives the number of
    /// connections that were cut off.
    pub async fn run(
        self: Arc<Self>,
        listener: Async<TcpListener>,
        stop: Stop,
        patience: Duration,
    ) -> usize {
        let permits = Arc::new(Semaphore::new(self.connections));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        let (open, all_closed) = channel::bounded::<Infallible>(1);
        while let Some(accepted) = unless_stopped(&stop, listener.accept()).await {
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the client was gone before we looked. Neither gets better at once.
                    log::warn!("cannot accept a connection: {error}");
                    Timer::after(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if let Err(error) = socket.get_ref().set_nodelay(true) {
                log::debug!("{peer}: {error}");
                continue;
            }
            let link = Link::new(socket, peer.to_string(), self.host.clock, self.limits);
            let permit = match permits.try_acquire_arc() {
                Some(permit) => permit,
                None => {
                    self.host.with_node(|node| node.crowded(self.api));
                    let Some(permit) = refusals.try_acquire_arc() else { continue };
                    link.guard(|guard, _| guard.refuse(texts::CROWDED));
                    permit
                }
            };
            let admission = Admission { _permit: permit, _open: open.clone() };
            spawn(Arc::clone(&self).connection(Arc::new(link), stop.clone(), admission));
        }
        drop((listener, open));
        let left = || self.connections - permits.available_permits();
        log::info!("{}", texts::stopping(self.api, left()));
        let ended = async {
            let Err(_) = all_closed.recv().await;
        };
        let patience_ends = async {
            Timer::after(patience).await;
        };
        ended.or(patience_ends).await;
        left()
    }

    async fn connection(self: Arc<Self>, link: Arc<Link>, stop: Stop, _admission: Admission) {
        loop {
            let need = match unless_stopped(&stop, link.next()).await {
                Some(need) => need,
                None => {
                    link.guard(|guard, _| guard.stop());
                    link.next().await
                }
            };
            // What is boxed here does not burden a connection that is idle.
            match need {
                Need::Serve(head, meta) => Box::pin(self.exchange(&link, *head, meta, &stop)).await,
                Need::Refuse(reject) => Box::pin(refuse(&link, reject, &stop)).await,
                Need::ShutDown => link.shut_down(),
                Need::Close => return,
                Need::Read => unreachable!("the link does the reading"),
            }
        }
    }

    /// Runs one request to its end, whether or not its client stays, and answers it.
    async fn exchange(&self, link: &Arc<Link>, head: RequestHead, meta: Meta, stop: &Stop) {
        let host = &self.host;
        let request = match codec::request(link, head, meta).await {
            Ok(request) => request,
            Err(error) => {
                log::error!("async-h1 does not understand what we write: {error}");
                return refuse(link, texts::BROKEN, stop).await;
            }
        };
        let (method, version) = (request.method(), meta.version);
        let (reply, answer) = channel::bounded(1);
        let handling = run(host, self.api, link, request, reply);
        let handling = async {
            // A panic has been logged by then.
            drop(AssertUnwindSafe(handling).catch_unwind().await);
        };
        let answering = async {
            // The task may be gone without an answer.
            let answer = answer.recv().await.unwrap_or_else(|_| refusal(texts::BROKEN));
            send(link, answer, method, version, stop).await
        };
        let ((), whole) = future::zip(handling, answering).await;
        link.guard(|guard, now| guard.answered(now, whole));
    }
}

/// Runs the task of a request.
async fn run(
    host: &Arc<Host>,
    api: Api,
    link: &Arc<Link>,
    mut request: Request,
    reply: Sender<Answer>,
) {
    struct Released<'a>(&'a Arc<Host>, Origin);
    impl Drop for Released<'_> {
        fn drop(&mut self) {
            self.0.released(self.1);
        }
    }
    let head = request.ext_mut().remove::<RequestHead>().expect("the codec puts it there");
    let pump = Pump::new(Arc::clone(host), Arc::clone(link), request.take_body());
    let task = host.admit(api, head);
    let _released = Released(host, task.origin());
    drive::drive(host, task, Some(Client::new(reply, pump))).await;
}

/// Answers what the guard has refused.
async fn refuse(link: &Link, reject: Reject, stop: &Stop) {
    let whole = send(link, refusal(reject), Method::Get, Version::Http11, stop).await;
    link.guard(|guard, now| guard.answered(now, whole));
}

fn refusal(reject: Reject) -> Answer {
    let (head, body) = reject.response();
    Answer { head, body: AnswerBody::Full(body) }
}

/// Sends an answer. Whether it was sent as its head promised.
async fn send(link: &Link, answer: Answer, method: Method, version: Version, stop: &Stop) -> bool {
    let keep = link.guard(|guard, _| {
        if stop.is_closed() {
            guard.stop();
        }
        guard.begin_answer()
    });
    let frame = Frame { method, version, keep };
    match Outgoing::new(answer.head, answer.body, frame).send(link).await {
        Ok(whole) => whole,
        Err(error) => {
            log::debug!("a client has gone before the end of its answer: {error}");
            false
        }
    }
}

/// What comes of `future`; nothing if the daemon is stopped before.
async fn unless_stopped<T>(stop: &Stop, future: impl Future<Output = T>) -> Option<T> {
    let stopped = async {
        let Err(_) = stop.recv().await;
        None
    };
    async { Some(future.await) }.or(stopped).await
}
