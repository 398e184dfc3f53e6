//! The listeners of the APIs and their connections, by hyper.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use mews_core::{daemon::texts, http::limits::Limits, node::Api};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time,
};

use crate::{
    host::Host,
    io::{Idle, Paced},
    request::Requests,
};

/// How many refusals are under way at once; beyond that a connection is just closed.
const REFUSALS: usize = 64;

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

impl Server {
    /// Accepts and serves until `stop` becomes true; then lets requests in flight go on for `patience`. Gives the number of
    /// connections that were cut off.
    pub async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        mut stop: watch::Receiver<bool>,
        patience: Duration,
    ) -> usize {
        let open = Arc::new(Semaphore::new(self.connections));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&open).try_acquire_owned() {
                    Ok(permit) => {
                        let server = Arc::clone(&self);
                        tokio::spawn(server.connection(stream, peer, permit, stop.clone()));
                    }
                    Err(_) => {
                        self.host.with_node(|node| node.crowded(self.api));
                        if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                            tokio::spawn(Arc::clone(&self).refuse(stream, permit));
                        }
                    }
                },
                Err(error) => {
                    // Out of descriptors, or the client was gone before we looked. Neither gets better at once.
                    log::warn!("cannot accept a connection: {error}");
                    time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        let in_flight = self.connections - open.available_permits();
        log::info!("{}", texts::stopping(self.api, in_flight));
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        match time::timeout(patience, open.acquire_many(all)).await {
            Ok(_) => 0,
            Err(_) => self.connections - open.available_permits(),
        }
    }

    async fn refuse(self: Arc<Self>, mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
        let written = time::timeout(self.limits.linger, async {
            stream.write_all(&texts::CROWDED.to_wire()).await
        });
        if let Ok(Ok(())) = written.await {
            let clock = self.host.clock;
            Paced::new(stream, clock, &self.limits, Idle::since(clock.mono())).linger().await;
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        mut stop: watch::Receiver<bool>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("{peer}: {error}");
            return;
        }
        let clock = self.host.clock;
        let idle = Idle::since(clock.mono());
        let io = TokioIo::new(Paced::new(stream, clock, &self.limits, idle.clone()));
        let requests = Requests {
            host: Arc::clone(&self.host),
            api: self.api,
            limits: self.limits,
            permit: Arc::new(permit),
            idle,
            peer: peer.to_string(),
        };
        let mut connection = http1::Builder::new()
            // The stream keeps the time, with one timer for a connection instead of one for a request.
            .header_read_timeout(None)
            .max_headers(self.limits.header_count)
            .max_header_size(self.limits.head_bytes)
            .max_buf_size(READ_BUFFER)
            .serve_connection(io, requests);
        let stopping = async { stop.wait_for(|stop| *stop).await.map(drop) };
        let result = tokio::select! {
            result = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => result,
            _ = stopping => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        if let Err(error) = result {
            log::debug!("{peer}: {error}");
        }
        connection.into_parts().io.into_inner().linger().await;
    }
}

/// hyper's buffer of a connection: what one read of a body brings at most.
const READ_BUFFER: usize = 256 << 10;
