//! The thread that writes the node's small files.

use std::{
    io,
    sync::mpsc::{self, Sender},
    thread,
};

use mews_core::{effect::EffectId, node::StateFile};

use crate::{abort::AbortOnPanic, place::State};

/// The way to the thread. Not bounded here: the node saves its layout only when the last save of that has come back, and its peers every
/// few seconds at most, which is a few KiB each even while a disk hangs.
#[derive(Debug)]
pub struct Saver(Sender<(EffectId, StateFile, Vec<u8>)>);

impl Saver {
    /// Starts the thread. It writes in the order in which it is told to, and says what became of it. It ends with the last
    /// word to it.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn start(
        state: State,
        saved: impl Fn(EffectId, Result<(), String>) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, saves) = mpsc::channel::<(EffectId, StateFile, Vec<u8>)>();
        thread::Builder::new().name("saver".to_owned()).spawn(move || {
            let _abort = AbortOnPanic::new("the thread that saves the node's state");
            for (id, file, bytes) in saves {
                saved(id, state.save(file, &bytes).map_err(|error| error.to_string()));
            }
        })?;
        Ok(Self(queue))
    }

    /// Replaces a file, durably, in its turn.
    pub fn save(&self, id: EffectId, file: StateFile, bytes: Vec<u8>) {
        self.0.send((id, file, bytes)).expect("the thread ends with the process");
    }
}
