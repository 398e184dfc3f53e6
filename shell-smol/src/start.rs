//! The start: from a directory to a host that can serve.

use std::sync::{Arc, Mutex, atomic::AtomicU64};

use mews_core::{
    daemon::{
        bounds::Bounds,
        identity::KeyPair,
        quickstart::{self, Prepared, Wanted},
        setup::{Promise, Setup},
        trouble::Trouble,
    },
    seed::Seed,
    store::StoreError,
};
use mews_host::{
    machine::{random, system},
    place::{Opened, Place},
};
use smol::{
    channel::{self, Receiver},
    lock::Semaphore,
};

use crate::{blocks::Blocks, drive, host::Host, workers::Workers, writer::Writer};

/// The host, and where it says that its database has failed.
pub type Started = (Arc<Host>, Receiver<Option<StoreError>>);

/// Opens what is in the directory and starts the threads.
pub fn host(place: &Place, setup: &Setup, bounds: &Bounds) -> Result<Started, Trouble> {
    let Opened { clock, id, node, db, files, state, reserve, .. } =
        place.open_node(setup, bounds, setup.rpc.address.port())?;
    let (writer, ended) =
        Writer::start(Arc::clone(&db), Arc::clone(&files), reserve).map_err(system)?;
    let workers = Workers::new(bounds.blocking_threads);
    let config = &node.view().config;
    let blocks = Blocks::start(files, workers.clone(), bounds, config).map_err(system)?;
    let host = Host {
        clock,
        id,
        db,
        writer,
        blocks,
        state,
        workers,
        scans: Semaphore::new(bounds.scans),
        panics: AtomicU64::new(0),
        node: Mutex::new(node),
        nudge: channel::bounded(1),
    };
    Ok((Arc::new(host), ended))
}

/// Makes sure of the bucket and the key that quickstart promises.
pub async fn quickstart(host: &Arc<Host>, promise: &Promise) -> Result<Prepared, Trouble> {
    let Promise { bucket, key } = promise.clone();
    let wanted = Wanted { bucket, key, fresh: KeyPair::from_random(random()?) };
    let view = host.with_node(|node| Arc::clone(node.view()));
    let (task, result) = quickstart::task(view, Seed::new(random()?), wanted);
    drive::drive(host, task, None).await;
    let result = result.get().expect("the task is done").clone();
    result.map_err(|error| Trouble::Quickstart { reason: error.to_string() })
}
