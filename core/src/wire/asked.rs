//! Our own requests: each ends in exactly one result, unless we take it back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Message, Priority, StreamId, WireError,
    frame::{FAILED_TOO_LONG, Kind},
    receive::{Assembly, Windows},
};
use crate::{
    effect::PeerError,
    time::{Instant, Now},
};

struct Ask {
    priority: Priority,
    deadline: Instant,
    /// Its number on the wire, once it has begun.
    number: Option<u64>,
    /// Whether all of it has been sent; a response before that breaks the protocol.
    sent: bool,
    /// The response, as far as it has come, and what it is charged.
    answer: Option<(Assembly, u32)>,
}

/// The table of our requests.
pub(super) struct Asked {
    /// What the next request is called: odd if we dialled, else even, so that no two streams of a connection are called alike.
    next: u64,
    open: BTreeMap<u64, Ask>,
    /// By their numbers on the wire, those that have begun.
    begun: BTreeMap<u64, u64>,
    /// The number that began last.
    last: u64,
    deadlines: BTreeSet<(Instant, u64)>,
    counts: [usize; 4],
}

/// A response that has come as a whole.
#[derive(Debug)]
pub(super) struct Answered {
    pub stream: StreamId,
    pub priority: Priority,
    pub result: Result<Message, PeerError>,
    /// To be given back when the response is taken.
    pub charge: u32,
}

const UNASKED: WireError = WireError::Protocol("a response to what was not asked");

impl Asked {
    pub fn new(dialer: bool) -> Self {
        Self {
            next: if dialer { 1 } else { 2 },
            open: BTreeMap::new(),
            begun: BTreeMap::new(),
            last: 0,
            deadlines: BTreeSet::new(),
            counts: [0; 4],
        }
    }

    /// How many of a class have no result yet.
    pub fn count(&self, priority: Priority) -> usize {
        self.counts[priority as usize]
    }

    /// A new request.
    pub fn begin(&mut self, now: Now, priority: Priority, patience: Duration) -> u64 {
        let (stream, deadline) = (self.next, now.mono.after(patience));
        self.next += 2;
        self.open
            .insert(stream, Ask { priority, deadline, number: None, sent: false, answer: None });
        self.deadlines.insert((deadline, stream));
        self.counts[priority as usize] += 1;
        stream
    }

    /// A request has begun its way, under this number.
    pub fn began(&mut self, stream: u64, number: u64) {
        if let Some(ask) = self.open.get_mut(&stream) {
            ask.number = Some(number);
            self.begun.insert(number, stream);
            self.last = number;
        }
    }

    /// All of a request has been sent.
    pub fn sent(&mut self, stream: u64) {
        if let Some(ask) = self.open.get_mut(&stream) {
            ask.sent = true;
        }
    }

    /// No longer waits for a request; gives back what its response was charged. Gives its class and, if it has begun, its number;
    /// None if there is no such request.
    pub fn end(&mut self, stream: u64, windows: &mut Windows) -> Option<(Priority, Option<u64>)> {
        let ask = self.remove(stream)?;
        if let Some((_, charge)) = ask.answer {
            windows.give_back(Kind::Response, ask.priority, charge);
        }
        Some((ask.priority, ask.number))
    }

    fn remove(&mut self, stream: u64) -> Option<Ask> {
        let ask = self.open.remove(&stream)?;
        self.deadlines.remove(&(ask.deadline, stream));
        ask.number.map(|number| self.begun.remove(&number));
        self.counts[ask.priority as usize] -= 1;
        Some(ask)
    }

    /// The request whose patience ends first.
    pub fn first_deadline(&self) -> Option<(Instant, u64)> {
        self.deadlines.first().copied()
    }

    /// All that have no result yet, for the connection's end.
    pub fn drain(&mut self) -> impl Iterator<Item = u64> + use<> {
        self.deadlines.clear();
        self.begun.clear();
        self.counts = [0; 4];
        std::mem::take(&mut self.open).into_keys()
    }

    /// The request that the peer means by a number. None if we wait for it no longer: what crosses on the way is no offence.
    fn find(&self, number: u64) -> Result<Option<u64>, WireError> {
        match self.begun.get(&number) {
            Some(stream) => Ok(Some(*stream)),
            None if number % 2 == self.next % 2 && number <= self.last => Ok(None),
            None => Err(UNASKED),
        }
    }

    /// A response begins.
    pub fn response(
        &mut self,
        number: u64,
        priority: Priority,
        (head, payload): (u32, u32),
        data: &[u8],
        windows: &mut Windows,
    ) -> Result<Option<Answered>, WireError> {
        let stream = self.find(number)?;
        let len = head as usize + payload as usize;
        let charge = windows.take(Kind::Response, priority, len)?;
        let Some(ask) = stream.and_then(|stream| self.open.get_mut(&stream)) else {
            windows.give_back(Kind::Response, priority, charge);
            return Ok(None);
        };
        if !ask.sent || ask.answer.is_some() || ask.priority != priority {
            return Err(UNASKED);
        }
        ask.answer = Some((Assembly::new(head, payload)?, charge));
        self.more(number, data)
    }

    /// A response goes on.
    pub fn more(&mut self, number: u64, data: &[u8]) -> Result<Option<Answered>, WireError> {
        let Some(stream) = self.find(number)? else { return Ok(None) };
        let answer = self.open.get_mut(&stream).and_then(|ask| ask.answer.as_mut());
        let (assembly, _) = answer.ok_or(UNASKED)?;
        if !assembly.push(data)? {
            return Ok(None);
        }
        let whole = self.remove(stream).and_then(|ask| ask.answer.map(|a| (ask.priority, a)));
        Ok(whole.map(|(priority, (assembly, charge))| Answered {
            stream: StreamId(stream),
            priority,
            result: Ok(assembly.finish()),
            charge,
        }))
    }

    /// There will be no response.
    pub fn failed(&mut self, number: u64, code: u8) -> Result<Option<Answered>, WireError> {
        let Some(stream) = self.find(number)? else { return Ok(None) };
        if !self.open.get(&stream).is_some_and(|ask| ask.sent && ask.answer.is_none()) {
            return Err(UNASKED);
        }
        // A later release's reasons all mean that it had no response for us.
        let error = if code == FAILED_TOO_LONG { PeerError::Malformed } else { PeerError::Busy };
        Ok(self.remove(stream).map(|ask| Answered {
            stream: StreamId(stream),
            priority: ask.priority,
            result: Err(error),
            charge: 0,
        }))
    }

    /// Bytes held, the arriving responses' included.
    pub fn footprint(&self) -> usize {
        let arriving = self.open.values().filter_map(|ask| ask.answer.as_ref());
        let each = size_of::<(u64, Ask)>() + size_of::<(u64, u64)>() + size_of::<(Instant, u64)>();
        self.open.len() * each + arriving.map(|(bytes, _)| bytes.capacity()).sum::<usize>()
    }
}
