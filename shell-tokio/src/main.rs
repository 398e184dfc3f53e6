//! `mewsd`: the Mews daemon on tokio, for servers. It performs what the core asks for, and decides nothing.

mod blocks;
mod disk;
mod drive;
mod host;
mod io;
mod logger;
mod pump;
mod request;
mod serve;
mod start;
mod writer;

use std::{
    io::Write,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mews_core::{
    daemon::{
        args::{self, Invocation, Quickstart},
        bounds::{Bounds, bounds},
        identity::KeyPair,
        log::level,
        texts::{self, Ready},
        trouble::Trouble,
    },
    http::limits::Limits,
    view::Config,
};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Ends the process if it is dropped by a panic that began after it was made: for what nothing can go on without.
struct AbortOnPanic {
    what: &'static str,
    already: bool,
}

impl AbortOnPanic {
    fn new(what: &'static str) -> Self {
        Self { what, already: std::thread::panicking() }
    }
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.already {
            log::error!("{} has panicked (see above); the process ends", self.what);
            std::process::abort();
        }
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "mewsd".to_owned());
    let words: Vec<String> = words.collect();
    let level = match level(std::env::var("MEWS_LOG").ok().as_deref()) {
        Ok(level) => level,
        Err(text) => return say(&mut std::io::stderr(), &format!("{text}\n"), args::EXIT_USAGE),
    };
    logger::start(level);
    let quickstart = match args::parse(&program, &words) {
        Invocation::Quickstart(quickstart) => quickstart,
        Invocation::Say(text) => return say(&mut std::io::stdout(), &text, args::EXIT_DONE),
        Invocation::Misused(text) => return say(&mut std::io::stderr(), &text, args::EXIT_USAGE),
    };
    match run(&quickstart) {
        Ok(()) => ExitCode::from(args::EXIT_DONE),
        Err(trouble) => {
            say(&mut std::io::stderr(), &format!("mewsd: {trouble}\n"), args::EXIT_FAILED)
        }
    }
}

/// Writes a text and gives the exit code: 1 if it could not be written.
fn say(to: &mut impl Write, text: &str, code: u8) -> ExitCode {
    let written = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    ExitCode::from(if written.is_ok() { code } else { args::EXIT_FAILED })
}

fn run(args: &Quickstart) -> Result<(), Trouble> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bounds = bounds(start::raise_open_files(), start::memory(), cores);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(bounds.worker_threads)
        .max_blocking_threads(bounds.blocking_threads)
        .enable_all()
        .build()
        .map_err(|error| Trouble::System { reason: error.to_string() })?;
    let result = runtime.block_on(serve(args, &bounds));
    // Work on blocking threads that nobody waits for any more may be in the middle of a slow disk operation.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(args: &Quickstart, bounds: &Bounds) -> Result<(), Trouble> {
    let place = start::Place::open(&args.dir)?;
    let (listener, address) = listen("--s3-addr", args.s3_addr).await?;
    let config = Config::default();
    let region = config.region.clone();
    let (host, mut database) = start::host(&place, config, bounds)?;
    let key = args.access_key.clone().zip(args.secret_key.clone());
    let key = key.map(|(id, secret)| KeyPair { id, secret });
    let prepared = start::quickstart(&host, args.bucket.clone(), key).await?;
    if let Some(key) = &prepared.key {
        place.write_credentials(key)?;
    }
    let system = |error: std::io::Error| Trouble::System { reason: error.to_string() };
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;

    let (stop, stopping) = watch::channel(false);
    let node = tokio::spawn(Arc::clone(&host).run_node());
    let (limits, connections) = (Limits::default(), bounds.connections);
    let server = Arc::new(serve::Server { host: Arc::clone(&host), limits, connections });
    let patience = Duration::from_secs(texts::STOP_SECONDS);
    let serving = tokio::spawn(server.run(listener, stopping, patience));
    let ready = Ready { dir: &args.dir, s3_addr: address, region: &region, prepared: &prepared };
    let text = texts::ready(&ready);
    if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
        log::warn!("cannot print how to use the store: {error}");
    }

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
