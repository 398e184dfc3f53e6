//! The start: from a directory to a host that can serve.

use std::sync::{Arc, Mutex, OnceLock, atomic::AtomicBool};

use mews_core::{
    daemon::{
        bounds::Bounds,
        identity::KeyPair,
        quickstart::{self, Prepared, Wanted},
        setup::{Promise, Setup},
        trouble::Trouble,
    },
    node::{NodeEvent, gossip::Space},
    seed::Seed,
    store::StoreError,
    wire::Identity,
};
use mews_host::{
    machine::{has_aes, random, system},
    peers::DETACHED,
    place::{Opened, Place},
    saver::Saver,
    space,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, oneshot},
};

use crate::{blocks::Blocks, drive, host::Host, peers::Links, writer::Writer};

/// The host, and where it says that its database has failed.
pub type Started = (Arc<Host>, oneshot::Receiver<Option<StoreError>>);

/// Opens what is in the directory and starts the threads.
pub fn host(place: &Place, setup: &Setup, bounds: &Bounds, port: u16) -> Result<Started, Trouble> {
    let Opened { clock, id, key, secret, node, db, files, state, reserve, snapshots } =
        place.open_node(setup, bounds, port)?;
    let (writer, ended) =
        Writer::start(Arc::clone(&db), Arc::clone(&files), reserve).map_err(system)?;
    let blocks = Blocks::start(files, bounds, &node.view().config).map_err(system)?;
    let host = Host {
        clock,
        id,
        db,
        writer,
        blocks,
        jobs: Mutex::default(),
        links: Links::default(),
        identity: Identity::new(key.to_bytes(), secret, has_aes()),
        saver: OnceLock::new(),
        detached: Arc::new(Semaphore::new(DETACHED)),
        scans: Arc::new(Semaphore::new(bounds.scans)),
        snapshots,
        node: Mutex::new(node),
        nudge: Notify::new(),
        stopping: AtomicBool::new(false),
    };
    let host = Arc::new(host);
    let (saved, runtime) = (Arc::clone(&host), Handle::current());
    let saver = Saver::start(state, move |id, done| {
        let _in = runtime.enter();
        saved.tell_node(id, NodeEvent::Saved(done));
    });
    let saver = saver.map_err(system)?;
    host.saver.get_or_init(|| saver);
    let metrics = host.with_node(|node| Arc::clone(&node.view().metrics));
    let (measured, runtime) = (Arc::clone(&host), Handle::current());
    let measured = move |room: Space| {
        let _in = runtime.enter();
        measured.with_node(|node| node.measured(room));
    };
    space::watch(setup, metrics, measured).map_err(system)?;
    Ok((host, ended))
}

/// Makes sure of the bucket and the key that quickstart promises.
pub async fn quickstart(host: &Arc<Host>, promise: &Promise) -> Result<Option<Prepared>, Trouble> {
    let Promise { bucket, key } = promise.clone();
    let wanted = Wanted { bucket, key, fresh: KeyPair::from_random(random()?) };
    let view = host.with_node(|node| Arc::clone(node.view()));
    let (task, result) = quickstart::task(Arc::clone(&view), Seed::new(random()?), wanted);
    drive::drive(host, task, None).await;
    let result = result.get().expect("the task is done").clone();
    quickstart::settle(&view, result)
}
