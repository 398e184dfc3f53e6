//! `mewsd-smol`: the Mews daemon on smol, for small boards. It performs what the core asks for, and decides nothing.

mod blocks;
mod codec;
mod disk;
mod drive;
mod host;
mod link;
mod logger;
mod pool;
mod pump;
mod serve;
mod start;
mod workers;
mod writer;

use std::{
    convert::Infallible,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    process::ExitCode,
    sync::Arc,
    thread,
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
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};
use smol::{Async, channel, future::FutureExt};

use host::EXECUTOR;

/// Ends the process if it is dropped by a panic: for what nothing can go on without.
struct AbortOnPanic {
    what: &'static str,
    /// A panic that was under way before is somebody else's.
    before: bool,
}

impl AbortOnPanic {
    fn new(what: &'static str) -> Self {
        Self { what, before: thread::panicking() }
    }
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() && !self.before {
            log::error!("{} has panicked (see above); the process ends", self.what);
            std::process::abort();
        }
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_else(|| "mewsd-smol".to_owned());
    let words: Vec<String> = words.collect();
    let level = match level(std::env::var("MEWS_LOG").ok().as_deref()) {
        Ok(level) => level,
        Err(text) => return say(&mut io::stderr(), &format!("{text}\n"), args::EXIT_USAGE),
    };
    logger::start(level);
    let quickstart = match args::parse(&program, &words) {
        Invocation::Quickstart(quickstart) => quickstart,
        Invocation::Say(text) => return say(&mut io::stdout(), &text, args::EXIT_DONE),
        Invocation::Misused(text) => return say(&mut io::stderr(), &text, args::EXIT_USAGE),
    };
    match run(&quickstart) {
        Ok(()) => ExitCode::from(args::EXIT_DONE),
        Err(trouble) => {
            say(&mut io::stderr(), &format!("mewsd-smol: {trouble}\n"), args::EXIT_FAILED)
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
    // This thread is the first.
    for _ in 1..bounds.worker_threads {
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(host::run_executor);
        thread.map_err(system)?;
    }
    smol::block_on(EXECUTOR.run(serve(args, &bounds)))
}

fn system(error: io::Error) -> Trouble {
    Trouble::System { reason: error.to_string() }
}

async fn serve(args: &Quickstart, bounds: &Bounds) -> Result<(), Trouble> {
    let place = start::Place::open(&args.dir)?;
    let (listener, address) = listen("--s3-addr", args.s3_addr)?;
    let config = Config::default();
    let region = config.region.clone();
    let (host, database) = start::host(&place, config, bounds)?;
    let key = args.access_key.clone().zip(args.secret_key.clone());
    let key = key.map(|(id, secret)| KeyPair { id, secret });
    let prepared = start::quickstart(&host, args.bucket.clone(), key).await?;
    if let Some(key) = &prepared.key {
        place.write_credentials(key)?;
    }
    let (terminate, interrupt) = (signal(SIGTERM)?, signal(SIGINT)?);

    let (stop, stopping) = channel::bounded::<Infallible>(1);
    let node = EXECUTOR.spawn(Arc::clone(&host).run_node());
    let (limits, connections) = (Limits::default(), bounds.connections);
    let server = Arc::new(serve::Server { host, limits, connections });
    let patience = Duration::from_secs(texts::STOP_SECONDS);
    let serving = EXECUTOR.spawn(server.run(listener, stopping, patience));
    let ready = Ready { dir: &args.dir, s3_addr: address, region: &region, prepared: &prepared };
    let text = texts::ready(&ready);
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        log::warn!("cannot print how to use the store: {error}");
    }

    let asked = async {
        terminate.readable().or(interrupt.readable()).await.map_err(system)?;
        Ok(None)
    };
    let failed = asked.or(async { Ok(database.recv().await.ok().flatten()) }).await?;
    node.cancel().await;
    drop(stop);
    let left = serving.await;
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

fn listen(
    option: &'static str,
    address: SocketAddr,
) -> Result<(Async<TcpListener>, SocketAddr), Trouble> {
    let trouble = |error| Trouble::listen(option, &address.to_string(), &error);
    let listener = Async::<TcpListener>::bind(address).map_err(trouble)?;
    // The standard library's queue of 128 is too short for a client that opens all its connections at once.
    rustix::net::listen(&listener, BACKLOG).map_err(|error| trouble(error.into()))?;
    let address = listener.get_ref().local_addr().map_err(trouble)?;
    Ok((listener, address))
}
