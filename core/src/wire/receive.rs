//! The receiving side's two parts: messages put together from frames, and the windows that bound them.

use bytes::{Bytes, BytesMut};

use super::{
    Message, Priority, WireError,
    frame::Kind,
    limits::{FIRST_ALLOCATION, MESSAGE_MAX, WINDOWS},
};

/// A message that is still arriving.
pub(super) struct Assembly {
    head: usize,
    left: usize,
    bytes: BytesMut,
}

impl Assembly {
    /// A message with these lengths, none of which has come.
    pub fn new(head: u32, payload: u32) -> Result<Self, WireError> {
        let (head, len) = (head as usize, head as usize + payload as usize);
        if len > MESSAGE_MAX {
            return Err(WireError::Protocol("a message is longer than any may be"));
        }
        let bytes = BytesMut::with_capacity(len.min(FIRST_ALLOCATION));
        Ok(Self { head, left: len, bytes })
    }

    /// Takes the next bytes; true when it is whole.
    pub fn push(&mut self, data: &[u8]) -> Result<bool, WireError> {
        self.left = self
            .left
            .checked_sub(data.len())
            .ok_or(WireError::Protocol("a message is longer than it said"))?;
        self.bytes.extend_from_slice(data);
        Ok(self.left == 0)
    }

    /// The memory it takes now.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The message, both parts in one allocation.
    pub fn finish(self) -> Message {
        let mut head = self.bytes.freeze();
        let payload = head.split_off(self.head.min(head.len()));
        // An empty slice would keep the head's memory for nothing.
        let payload = if payload.is_empty() { Bytes::new() } else { payload };
        Message { head, payload }
    }
}

/// The credit that a message takes: its length, or all of the window if that is less.
pub(super) fn charge(len: usize, window: u32) -> u32 {
    u32::try_from(len).map_or(window, |len| len.min(window))
}

/// What has been charged and not yet been given back, by kind and class.
pub(super) struct Windows {
    held: [[u32; 4]; 2],
    freed: [[u32; 4]; 2],
}

impl Windows {
    pub fn new() -> Self {
        Self { held: [[0; 4]; 2], freed: [[0; 4]; 2] }
    }

    /// Counts a message that begins, and gives what it is charged.
    pub fn take(&mut self, kind: Kind, priority: Priority, len: usize) -> Result<u32, WireError> {
        let (window, charge) =
            (WINDOWS[priority as usize], charge(len, WINDOWS[priority as usize]));
        let held = &mut self.held[kind as usize][priority as usize];
        // What is freed and not yet said is still charged, as the peer cannot know.
        let told = *held + self.freed[kind as usize][priority as usize];
        if told + charge > window {
            return Err(WireError::Protocol("more bytes than there was credit for"));
        }
        *held += charge;
        Ok(charge)
    }

    /// A message that was charged so much has left our memory.
    pub fn give_back(&mut self, kind: Kind, priority: Priority, charge: u32) {
        self.held[kind as usize][priority as usize] -= charge;
        self.freed[kind as usize][priority as usize] += charge;
    }

    /// Credit worth telling the peer of: a quarter of a window, so that small messages do not cost a frame each, or whatever
    /// there is when nothing else is under way, so that a message as long as the window can begin.
    pub fn credit(&mut self) -> Option<(Kind, Priority, u32)> {
        for kind in Kind::ALL {
            for priority in Priority::ALL {
                let held = self.held[kind as usize][priority as usize];
                let freed = &mut self.freed[kind as usize][priority as usize];
                let window = WINDOWS[priority as usize];
                if *freed >= window / 4 || (*freed > 0 && held == 0) {
                    return Some((kind, priority, std::mem::take(freed)));
                }
            }
        }
        None
    }

    /// Bytes charged in all.
    #[cfg(test)]
    pub fn held(&self) -> u32 {
        self.held.iter().flatten().sum()
    }
}
