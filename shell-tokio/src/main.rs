//! `mewsd`: the Mews daemon on tokio, for servers. It performs what the core asks for, and decides nothing.

mod blocks;
mod drive;
mod host;
mod io;
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
        args::Quickstart,
        bounds::Bounds,
        identity::KeyPair,
        quickstart,
        texts::{self, Ready},
        trouble::Trouble,
    },
    http::limits::Limits,
};
use mews_host::{machine::system, place::Place, process};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> ExitCode {
    process::main("mewsd", run)
}

fn run(args: &Quickstart, bounds: &Bounds) -> Result<(), Trouble> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(bounds.worker_threads)
        .max_blocking_threads(bounds.blocking_threads)
        .enable_all()
        .build()
        .map_err(system)?;
    let result = runtime.block_on(serve(args, bounds));
    // Work on blocking threads that nobody waits for any more may be in the middle of a slow disk operation.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(args: &Quickstart, bounds: &Bounds) -> Result<(), Trouble> {
    let place = Place::open(&args.dir)?;
    let (listener, address) = listen("--s3-addr", args.s3_addr).await?;
    let config = quickstart::config();
    let region = config.region.clone();
    let (host, mut database) = start::host(&place, config, bounds)?;
    let key = args.access_key.clone().zip(args.secret_key.clone());
    let key = key.map(|(id, secret)| KeyPair { id, secret });
    let prepared = start::quickstart(&host, args.bucket.clone(), key).await?;
    if let Some(key) = &prepared.key {
        place.write_credentials(key)?;
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;

    let (stop, stopping) = watch::channel(false);
    let node = tokio::spawn(Arc::clone(&host).run_node());
    let (limits, connections) = (Limits::default(), bounds.connections);
    let server = Arc::new(serve::Server { host: Arc::clone(&host), limits, connections });
    let patience = Duration::from_secs(texts::STOP_SECONDS);
    let serving = tokio::spawn(server.run(listener, stopping, patience));
    let ready = Ready { dir: &args.dir, s3_addr: address, region: &region, prepared: &prepared };
    process::say_ready(&ready);

    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failed = &mut database => failed.ok().flatten(),
    };
    host.stopping.store(true, Ordering::Relaxed);
    node.abort();
    stop.send_replace(true);
    let left = serving.await.map_err(|error| Trouble::System { reason: error.to_string() })?;
    log::info!("{}", texts::stopped(left));
    match failed {
        None => Ok(()),
        Some(error) => Err(Trouble::Stopped { reason: error.to_string() }),
    }
}

async fn listen(
    option: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), Trouble> {
    let trouble = |error| Trouble::listen(option, &address.to_string(), &error);
    let listener = TcpListener::bind(address).await.map_err(trouble)?;
    let address = listener.local_addr().map_err(trouble)?;
    Ok((listener, address))
}
