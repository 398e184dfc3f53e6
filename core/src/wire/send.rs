//! The sending side: messages that wait for their turn, in classes, and the peer's credit for them.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Message, Priority,
    frame::{BEGIN, HEADER, Hello, Kind, put_begin, put_more},
    limits::SMALL,
    receive::charge,
};

/// A piece of a message shorter than this is not worth a frame; the record ends instead.
const PIECE_MIN: usize = 256;

/// A message on its way out.
struct Out {
    kind: Kind,
    /// What we call it.
    stream: u64,
    /// What it is called on the wire: a request gets its number when it begins, so that numbers go up there.
    number: u64,
    begun: bool,
    head: Bytes,
    payload: Bytes,
    lengths: (u32, u32),
}

impl Out {
    fn left(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    /// Appends a frame with as much of it as `room` takes, header included.
    fn write(&mut self, priority: Priority, out: &mut BytesMut, room: usize) {
        let around = if self.begun { HEADER } else { HEADER + BEGIN };
        let data = self.left().min(room - around);
        if self.begun {
            put_more(out, self.kind, self.number, data);
        } else {
            put_begin(out, self.kind, self.number, priority, self.lengths, data);
            self.begun = true;
        }
        let of_head = data.min(self.head.len());
        for (part, len) in [(&mut self.head, of_head), (&mut self.payload, data - of_head)] {
            out.extend_from_slice(&part[..len]);
            part.advance(len);
        }
    }
}

/// One class: by [`Kind`], small messages and others that have not begun; and, in turn, those that have.
#[derive(Default)]
struct Class {
    small: [VecDeque<Out>; 2],
    large: [VecDeque<Out>; 2],
    begun: VecDeque<Out>,
    /// Bytes not yet written, by kind.
    unsent: [usize; 2],
    /// Whose turn it is to begin, when both kinds could.
    turn: usize,
}

/// What has just been written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub kind: Kind,
    pub stream: u64,
    /// Its number on the wire, if that was the first frame of a request.
    pub began: Option<u64>,
    /// Whether that was the message's last frame.
    pub ended: bool,
}

/// Everything that waits to be sent.
pub(super) struct Outbox {
    classes: [Class; 4],
    /// What the peer takes; nothing before its hello.
    peer: Option<Hello>,
    credit: [[u32; 4]; 2],
    /// Requests of ours that have begun and whose stream has not ended.
    open: [u16; 4],
    /// The number of the next request: odd from the dialer, even from the acceptor.
    next: u64,
}

impl Outbox {
    pub fn new(dialer: bool) -> Self {
        let classes = std::array::from_fn(|_| Class::default());
        let next = if dialer { 1 } else { 2 };
        Self { classes, peer: None, credit: [[0; 4]; 2], open: [0; 4], next }
    }

    /// The peer has said what it takes.
    pub fn open(&mut self, peer: Hello) {
        self.credit = peer.windows;
        self.peer = Some(peer);
    }

    /// The most plain bytes of a record, `around` being its length field and tag.
    pub fn record(&self, most: usize, around: usize) -> usize {
        self.peer.as_ref().map_or(0, |peer| most.min(usize::from(peer.record)) - around)
    }

    /// Puts a message at the end of its queue. Its parts must be shorter than 4 GiB, which the connection has checked.
    pub fn push(&mut self, kind: Kind, stream: u64, priority: Priority, message: Message) {
        let length = |part: &Bytes| u32::try_from(part.len()).expect("below MESSAGE_MAX");
        let lengths = (length(&message.head), length(&message.payload));
        let Message { head, payload } = message;
        let out = Out { kind, stream, number: stream, begun: false, head, payload, lengths };
        let class = &mut self.classes[priority as usize];
        class.unsent[kind as usize] += out.left();
        let small = out.left() <= SMALL;
        let queue = if small { &mut class.small } else { &mut class.large };
        queue[kind as usize].push_back(out);
    }

    /// Bytes of a kind and class that are not yet written.
    pub fn unsent(&self, kind: Kind, priority: Priority) -> usize {
        self.classes[priority as usize].unsent[kind as usize]
    }

    /// Drops what is not yet sent of a message.
    pub fn take_back(&mut self, kind: Kind, priority: Priority, stream: u64) {
        let class = &mut self.classes[priority as usize];
        let (small, large) = (&mut class.small[kind as usize], &mut class.large[kind as usize]);
        // Queues are short: two windows, and twice the open streams.
        for queue in [small, large, &mut class.begun] {
            let at = queue.iter().position(|out| out.kind == kind && out.stream == stream);
            if let Some(out) = at.and_then(|at| queue.remove(at)) {
                class.unsent[kind as usize] -= out.left();
                return;
            }
        }
    }

    /// Bytes held: what waits, and its places.
    pub fn footprint(&self) -> usize {
        let class = |class: &Class| {
            let queues = class.small.iter().chain(&class.large).chain([&class.begun]);
            let places = queues.map(VecDeque::capacity).sum::<usize>();
            places * size_of::<Out>() + class.unsent.iter().sum::<usize>()
        };
        self.classes.iter().map(class).sum()
    }

    /// A stream of ours that had begun has ended.
    pub fn end(&mut self, priority: Priority) {
        self.open[priority as usize] -= 1;
    }

    /// The peer has room again. False if it gives more than it ever took.
    #[must_use]
    pub fn give(&mut self, kind: Kind, priority: Priority, bytes: u32) -> bool {
        let window =
            self.peer.as_ref().map_or(0, |peer| peer.windows[kind as usize][priority as usize]);
        let credit = &mut self.credit[kind as usize][priority as usize];
        match credit.checked_add(bytes) {
            Some(sum) if sum <= window => {
                *credit = sum;
                true
            }
            _ => false,
        }
    }

    /// Appends the most urgent frame there is credit for, at most `room` bytes with its header. None if there is nothing, or if
    /// what there is goes better into the next record; `fresh` says that this record is still empty.
    pub fn write(&mut self, out: &mut BytesMut, room: usize, fresh: bool) -> Option<Written> {
        let peer = self.peer.as_ref()?;
        for priority in Priority::ALL {
            let class = &mut self.classes[priority as usize];
            let credit = [self.credit[0][priority as usize], self.credit[1][priority as usize]];
            let windows = [peer.windows[0][priority as usize], peer.windows[1][priority as usize]];
            let may_ask = self.open[priority as usize] < peer.streams[priority as usize];
            let next = class.next(credit, windows, may_ask);
            let Some((mut message, charged)) = next else { continue };
            let whole = HEADER + BEGIN + message.left();
            let enough =
                whole <= room || (message.left() > SMALL && room >= HEADER + BEGIN + PIECE_MIN);
            if !enough && !fresh {
                class.put_back(message);
                return None;
            }
            let mut began = None;
            if !message.begun {
                self.credit[message.kind as usize][priority as usize] -= charged;
                if message.kind == Kind::Request {
                    self.open[priority as usize] += 1;
                    message.number = self.next;
                    began = Some(self.next);
                    self.next += 2;
                }
            }
            let before = message.left();
            message.write(priority, out, room);
            class.unsent[message.kind as usize] -= before - message.left();
            let ended = message.left() == 0;
            let written = Written { kind: message.kind, stream: message.stream, began, ended };
            if !ended {
                class.begun.push_back(message);
            }
            return Some(written);
        }
        None
    }
}

impl Class {
    /// The message whose turn it is, taken from its queue, and what its beginning is charged: small ones first, then those that
    /// have begun and those that now can, in turn.
    fn next(&mut self, credit: [u32; 2], windows: [u32; 2], may_ask: bool) -> Option<(Out, u32)> {
        let fits = |queue: &VecDeque<Out>| {
            let first = queue.front()?;
            let charge = charge(first.left(), windows[first.kind as usize]);
            let open = first.kind == Kind::Response || may_ask;
            (open && charge <= credit[first.kind as usize]).then_some(charge)
        };
        for queues in [&mut self.small, &mut self.large] {
            for kind in [self.turn, 1 - self.turn] {
                if let Some(charge) = fits(&queues[kind]) {
                    self.turn = 1 - kind;
                    return queues[kind].pop_front().map(|out| (out, charge));
                }
            }
        }
        self.begun.pop_front().map(|out| (out, 0))
    }

    /// Undoes [`Class::next`].
    fn put_back(&mut self, out: Out) {
        let queue = if out.begun {
            &mut self.begun
        } else if out.left() <= SMALL {
            &mut self.small[out.kind as usize]
        } else {
            &mut self.large[out.kind as usize]
        };
        queue.push_front(out);
    }
}
