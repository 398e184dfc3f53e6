//! `mewsd-smol`: the Mews daemon on smol, for small boards. It performs what the core asks for, and decides nothing.

mod blocks;
mod codec;
mod drive;
mod host;
mod link;
mod peers;
mod pool;
mod pump;
mod serve;
mod start;
mod workers;
mod writer;

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use mews_core::{
    daemon::{
        bounds::Bounds,
        setup::{Listen, Setup},
        texts::{self, Bound, Ready},
        trouble::Trouble,
    },
    http::limits::Limits,
};
use mews_host::{journal, machine::system, place::Place, process};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};
use smol::{Async, channel, future::FutureExt};

use host::EXECUTOR;

fn main() -> ExitCode {
    process::main("mewsd-smol", run)
}

fn run(setup: &Setup, bounds: &Bounds) -> Result<(), Trouble> {
    // This thread is the first.
    for _ in 1..bounds.worker_threads {
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(host::run_executor);
        thread.map_err(system)?;
    }
    smol::block_on(EXECUTOR.run(serve(setup, bounds)))
}

async fn serve(setup: &Setup, bounds: &Bounds) -> Result<(), Trouble> {
    let place = Place::open(setup)?;
    let (mut listeners, mut apis) = (Vec::new(), Vec::new());
    for (api, at) in setup.apis() {
        if let Some((listener, address)) = at.or_without(listen(at))? {
            listeners.push((api, listener));
            apis.push((api, address));
        }
    }
    let rpc = listen(setup.rpc)?;
    let bound = Bound { rpc: rpc.1, apis };
    let (host, database) = start::host(&place, setup, bounds, bound.rpc.port())?;
    let node = EXECUTOR.spawn(Arc::clone(&host).run_node());
    host::spawn(peers::listen(Arc::clone(&host), rpc.0));
    let prepared = match &setup.quickstart {
        Some(promise) => start::quickstart(&host, promise).await?,
        None => None,
    };
    if let Some(key) = prepared.as_ref().and_then(|prepared| prepared.key.as_ref()) {
        place.write_credentials(key)?;
    }
    place.write_address(&bound)?;
    let (terminate, interrupt) = (signal(SIGTERM)?, signal(SIGINT)?);

    let (stop, stopping) = channel::bounded::<Infallible>(1);
    let ready = Ready { setup, bound: &bound, node: host.id, prepared: prepared.as_ref() };
    let patience = Duration::from_secs(texts::STOP_SECONDS);
    let serve = |(api, listener)| {
        let connections = setup.connections(api, bounds);
        let (host, limits) = (Arc::clone(&host), Limits::default());
        let server = Arc::new(serve::Server { host, api, limits, connections });
        EXECUTOR.spawn(server.run(listener, stopping.clone(), patience))
    };
    let serving: Vec<_> = listeners.into_iter().map(serve).collect();
    process::say_ready(&ready);

    let asked = async {
        terminate.readable().or(interrupt.readable()).await.map_err(system)?;
        Ok(None)
    };
    let failed = asked.or(async { Ok(database.recv().await.ok().flatten()) }).await?;
    node.cancel().await;
    drop(stop);
    let mut left = 0;
    for serving in serving {
        left += serving.await;
    }
    journal::end(&host.db);
    log::info!("{}", texts::stopped(left));
    match failed {
        None => Ok(()),
        Some(error) => Err(Trouble::Stopped { reason: error.to_string() }),
    }
}

/// Connections that the kernel has taken and we have not; the kernel has a bound of its own.
const BACKLOG: i32 = 1024;

/// Becomes readable when the process gets the signal.
fn signal(signal: i32) -> Result<Async<UnixStream>, Trouble> {
    let (ours, theirs) = UnixStream::pair().map_err(system)?;
    pipe::register(signal, theirs).map_err(system)?;
    Async::new(ours).map_err(system)
}

fn listen(listen: Listen) -> Result<(Async<TcpListener>, SocketAddr), Trouble> {
    let Listen { option, address, .. } = listen;
    let trouble = |error| Trouble::listen(option, &address.to_string(), &error);
    let listener = Async::<TcpListener>::bind(address).map_err(trouble)?;
    // The standard library's queue of 128 is too short for a client that opens all its connections at once.
    rustix::net::listen(&listener, BACKLOG).map_err(|error| trouble(error.into()))?;
    let address = listener.get_ref().local_addr().map_err(trouble)?;
    Ok((listener, address))
}
