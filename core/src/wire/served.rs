//! The peer's requests, from their first byte until our response has been sent.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Message, Priority, StreamId, WireError,
    frame::Kind,
    limits::STREAMS,
    receive::{Assembly, Windows},
};

struct Serve {
    priority: Priority,
    charge: u32,
    phase: Phase,
}

enum Phase {
    /// Not all of it has come.
    Arriving(Assembly),
    /// It waits to be handed out.
    Waiting(Message),
    /// Somebody is at it. Its credit stays taken: what is being worked on is still in memory.
    Handed,
    /// Our response is on its way.
    Answering,
}

/// The table of the peer's requests.
pub(super) struct Served {
    /// The highest stream that the peer has opened; it counts up by twos from 1 if it dialled, else from 2.
    last: u64,
    open: BTreeMap<u64, Serve>,
    waiting: [VecDeque<u64>; 4],
    counts: [u16; 4],
}

/// What became of a request that the peer has taken back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// Nobody had seen it, or it is answered: nothing to do.
    Unseen,
    /// Somebody is at it.
    Handed,
    /// Its response is on its way.
    Answering(Priority),
}

impl Served {
    pub fn new() -> Self {
        let waiting = std::array::from_fn(|_| VecDeque::new());
        Self { last: 0, open: BTreeMap::new(), waiting, counts: [0; 4] }
    }

    /// A request begins. `dialer`: whether we dialled, so that the peer's streams are the even ones.
    pub fn request(
        &mut self,
        dialer: bool,
        stream: u64,
        priority: Priority,
        (head, payload): (u32, u32),
        data: &[u8],
        windows: &mut Windows,
    ) -> Result<(), WireError> {
        if stream <= self.last || stream % 2 != u64::from(!dialer) {
            return Err(WireError::Protocol("a stream that cannot begin"));
        }
        if self.counts[priority as usize] >= STREAMS[priority as usize] {
            return Err(WireError::Protocol("more streams than may be open"));
        }
        let charge = windows.take(Kind::Request, priority, head as usize + payload as usize)?;
        let assembly = Assembly::new(head, payload)?;
        self.last = stream;
        self.counts[priority as usize] += 1;
        self.open.insert(stream, Serve { priority, charge, phase: Phase::Arriving(assembly) });
        self.more(stream, data)
    }

    /// A request goes on.
    pub fn more(&mut self, stream: u64, data: &[u8]) -> Result<(), WireError> {
        const STRAY: WireError = WireError::Protocol("bytes for a request that is not arriving");
        let serve = self.open.get_mut(&stream).ok_or(STRAY)?;
        let Phase::Arriving(assembly) = &mut serve.phase else { return Err(STRAY) };
        if assembly.push(data)? {
            let whole = std::mem::replace(&mut serve.phase, Phase::Handed);
            if let Phase::Arriving(assembly) = whole {
                serve.phase = Phase::Waiting(assembly.finish());
                self.waiting[serve.priority as usize].push_back(stream);
            }
        }
        Ok(())
    }

    /// The most urgent request that has not been handed out, of the classes that `may` go on.
    pub fn next(
        &mut self,
        may: impl Fn(Priority) -> bool,
    ) -> Option<(StreamId, Priority, Message)> {
        for priority in Priority::ALL {
            let queue = &mut self.waiting[priority as usize];
            if queue.is_empty() || !may(priority) {
                continue;
            }
            let stream = queue.pop_front()?;
            let serve = self.open.get_mut(&stream).expect("what waits is open");
            if let Phase::Waiting(message) = std::mem::replace(&mut serve.phase, Phase::Handed) {
                return Some((StreamId(stream), priority, message));
            }
        }
        None
    }

    /// Our response begins its way; None if nobody waits for it.
    pub fn respond(&mut self, stream: u64, windows: &mut Windows) -> Option<Priority> {
        let serve = self.open.get_mut(&stream)?;
        if !matches!(serve.phase, Phase::Handed) {
            return None;
        }
        serve.phase = Phase::Answering;
        windows.give_back(Kind::Request, serve.priority, serve.charge);
        Some(serve.priority)
    }

    /// All of our response has been sent.
    pub fn answered(&mut self, stream: u64) {
        if let Some(serve) = self.open.remove(&stream) {
            self.counts[serve.priority as usize] -= 1;
        }
    }

    /// The peer no longer waits.
    pub fn cancel(
        &mut self,
        dialer: bool,
        stream: u64,
        windows: &mut Windows,
    ) -> Result<Cancelled, WireError> {
        if stream > self.last || stream % 2 != u64::from(!dialer) {
            return Err(WireError::Protocol("an end to what did not begin"));
        }
        let Some(serve) = self.open.remove(&stream) else { return Ok(Cancelled::Unseen) };
        let Serve { priority, charge, phase } = serve;
        self.counts[priority as usize] -= 1;
        match phase {
            Phase::Answering => return Ok(Cancelled::Answering(priority)),
            Phase::Waiting(_) => self.waiting[priority as usize].retain(|of| *of != stream),
            Phase::Arriving(_) | Phase::Handed => {}
        }
        windows.give_back(Kind::Request, priority, charge);
        Ok(if matches!(phase, Phase::Handed) { Cancelled::Handed } else { Cancelled::Unseen })
    }

    /// Those that somebody is at, for the connection's end.
    pub fn drain(&mut self) -> Vec<StreamId> {
        self.waiting.iter_mut().for_each(VecDeque::clear);
        self.counts = [0; 4];
        let handed = |(stream, serve): (u64, Serve)| {
            matches!(serve.phase, Phase::Handed).then_some(StreamId(stream))
        };
        std::mem::take(&mut self.open).into_iter().filter_map(handed).collect()
    }

    /// Bytes held, the requests' that have not been handed out included.
    pub fn footprint(&self) -> usize {
        let held = |serve: &Serve| match &serve.phase {
            Phase::Arriving(assembly) => assembly.capacity(),
            Phase::Waiting(message) => message.len(),
            Phase::Handed | Phase::Answering => 0,
        };
        let waiting = self.waiting.iter().map(VecDeque::capacity).sum::<usize>();
        self.open.len() * size_of::<(u64, Serve)>()
            + waiting * size_of::<u64>()
            + self.open.values().map(held).sum::<usize>()
    }
}
