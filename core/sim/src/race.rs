//! One race in every order: a block that nothing refers to any more is reaped while somebody writes it again.

use crate::{
    client::{Ask, Content},
    host::Options,
    sim::Sim,
};

const BLOCK: Content = Content { number: 2, len: 3000 };

/// How many events before the file's end the second write is begun at the earliest: longer than a write takes.
const EVENTS: u64 = 60;

fn ask(sim: &mut Sim, ask: &Ask) -> Result<Vec<u8>, String> {
    match sim.call(ask) {
        Some(received) if received.head.status / 100 == 2 && received.complete => Ok(received.body),
        other => Err(format!("{ask:?} was answered {:?}", other.map(|other| other.head.status))),
    }
}

/// A store whose one block has just lost its last reference.
fn dropped(seed: u64, options: &Options) -> Result<Sim, String> {
    let mut sim = Sim::new(seed, options.clone())?;
    ask(&mut sim, &Ask::Put("first".to_owned(), BLOCK))?;
    ask(&mut sim, &Ask::Delete("first".to_owned()))?;
    Ok(sim)
}

fn has_file(sim: &Sim) -> bool {
    sim.host().disk().mem.files().iter().any(|path| path.contains("/blocks/"))
}

/// Writes the block again at each of the last events before its file would go, a run each.
///
/// # Errors
/// What was wrong first.
pub fn reaped_and_written(seed: u64, options: &Options) -> Result<u64, String> {
    let mut sim = dropped(seed, options)?;
    let from = sim.handled();
    while has_file(&sim) {
        sim.cluster.step().ok_or("nothing happens any more")?;
    }
    let end = sim.handled();
    let begin = from.max(end.saturating_sub(EVENTS));
    for event in begin..=end {
        let mut sim = dropped(seed, options)?;
        while sim.handled() < event {
            sim.cluster.step().ok_or("nothing happens any more")?;
        }
        let mut written = || {
            ask(&mut sim, &Ask::Put("second".to_owned(), BLOCK))?;
            let body = ask(&mut sim, &Ask::Get("second".to_owned()))?;
            if body != BLOCK.bytes() {
                return Err("other bytes than were written".to_owned());
            }
            sim.rest()?;
            sim.check().into_iter().next().map_or(Ok(()), Err)
        };
        written().map_err(|error| format!("written again at event {event} of {end}: {error}"))?;
    }
    Ok(end - begin + 1)
}
