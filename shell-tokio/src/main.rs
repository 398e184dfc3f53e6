//! `mewsd`: the Mews daemon on tokio, for servers. It performs what the core asks for, and decides nothing.

mod blocks;
mod drive;
mod host;
mod io;
mod names;
mod peers;
mod pump;
mod request;
mod serve;
mod start;
mod writer;

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
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
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> ExitCode {
    process::main("mewsd", run)
}

fn run(setup: &Setup, bounds: &Bounds) -> Result<(), Trouble> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(bounds.worker_threads)
        .max_blocking_threads(bounds.blocking_threads)
        .enable_all()
        .build()
        .map_err(system)?;
    let result = runtime.block_on(serve(setup, bounds));
    // Work on blocking threads that nobody waits for any more may be in the middle of a slow disk operation.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(setup: &Setup, bounds: &Bounds) -> Result<(), Trouble> {
    let place = Place::open(setup)?;
    let (mut listeners, mut apis) = (Vec::new(), Vec::new());
    for (api, at) in setup.apis() {
        if let Some((listener, address)) = at.or_without(listen(at).await)? {
            listeners.push((api, listener));
            apis.push((api, address));
        }
    }
    let rpc = listen(setup.rpc).await?;
    let bound = Bound { rpc: rpc.1, apis };
    let (host, mut database) = start::host(&place, setup, bounds, bound.rpc.port())?;
    let node = tokio::spawn(Arc::clone(&host).run_node());
    tokio::spawn(peers::listen(Arc::clone(&host), rpc.0));
    let prepared = match &setup.quickstart {
        Some(promise) => start::quickstart(&host, promise).await?,
        None => None,
    };
    if let Some(key) = prepared.as_ref().and_then(|prepared| prepared.key.as_ref()) {
        place.write_credentials(key)?;
    }
    place.write_address(&bound)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;

    let (stop, stopping) = watch::channel(false);
    let patience = Duration::from_secs(texts::STOP_SECONDS);
    let serve = |(api, listener)| {
        let connections = setup.connections(api, bounds);
        let (host, limits) = (Arc::clone(&host), Limits::default());
        let server = Arc::new(serve::Server { host, api, limits, connections });
        tokio::spawn(server.run(listener, stopping.clone(), patience))
    };
    let serving: Vec<_> = listeners.into_iter().map(serve).collect();
    let ready = Ready { setup, bound: &bound, node: host.id, prepared: prepared.as_ref() };
    process::say_ready(&ready);

    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failed = &mut database => failed.ok().flatten(),
    };
    host.stopping.store(true, Ordering::Relaxed);
    node.abort();
    stop.send_replace(true);
    let mut left = 0;
    for serving in serving {
        left += serving.await.map_err(|error| Trouble::System { reason: error.to_string() })?;
    }
    journal::end(&host.db);
    log::info!("{}", texts::stopped(left));
    match failed {
        None => Ok(()),
        Some(error) => Err(Trouble::Stopped { reason: error.to_string() }),
    }
}

async fn listen(listen: Listen) -> Result<(TcpListener, SocketAddr), Trouble> {
    let Listen { option, address, .. } = listen;
    let trouble = |error| Trouble::listen(option, &address.to_string(), &error);
    let listener = TcpListener::bind(address).await.map_err(trouble)?;
    let address = listener.local_addr().map_err(trouble)?;
    Ok((listener, address))
}
