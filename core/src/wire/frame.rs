//! Frames: what records carry, one after the other, none across two records.
//!
//! A frame is a header (kind 1 byte, length of the body 2, stream 8; big-endian) and a body. A receiver skips kinds that it does
//! not know, so that a later release may say more to those that understand.

use bytes::{Buf, BufMut, BytesMut};

use super::{
    Priority, WireError,
    limits::{RECORD_MAX, RECORD_MIN, STREAMS, WINDOW_MIN, WINDOWS},
};

/// The bytes of a frame's header.
pub(super) const HEADER: usize = 1 + 2 + 8;

/// What a message's first frame says before its first bytes: class, length of the head, length of the payload.
pub(super) const BEGIN: usize = 1 + 4 + 4;

/// Whether a message asks or answers. Each has credit of its own: requests that wait for their answers must never keep answers
/// from coming, or two nodes could wait for each other for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Request, Self::Response];

    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// The class in a byte of a frame.
pub(super) fn priority(byte: u8) -> Option<Priority> {
    Priority::ALL.get(usize::from(byte)).copied()
}

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const REQUEST_MORE: u8 = 3;
const RESPONSE_MORE: u8 = 4;
const CANCEL: u8 = 5;
const FAILED: u8 = 6;
const CREDIT: u8 = 7;
const PING: u8 = 8;
const PONG: u8 = 9;

/// A frame as it is read; `data` borrows from the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A message begins, with its class and the lengths of its head and payload.
    Begin { kind: Kind, stream: u64, priority: Priority, head: u32, payload: u32, data: &'a [u8] },
    /// A message goes on.
    More { kind: Kind, stream: u64, data: &'a [u8] },
    /// The asker no longer waits.
    Cancel { stream: u64 },
    /// There will be no response; the code says why.
    Failed { stream: u64, code: u8 },
    /// Messages of so many bytes of this kind and class have left the receiver's memory.
    Credit { kind: Kind, priority: Priority, bytes: u32 },
    /// To be answered with a pong of the same token.
    Ping { token: u64 },
    /// The answer.
    Pong { token: u64 },
    /// A later release's.
    Unknown,
}

/// A response longer than any message may be; the only reason so far why there is no response.
pub(super) const FAILED_TOO_LONG: u8 = 1;

/// The next frame of a record's plain bytes, which it is taken from.
pub(super) fn next<'a>(record: &mut &'a [u8]) -> Result<Frame<'a>, WireError> {
    const CUT: WireError = WireError::Protocol("a frame is cut off");
    let mut header = record.get(..HEADER).ok_or(CUT)?;
    let (code, len, stream) = (header.get_u8(), usize::from(header.get_u16()), header.get_u64());
    let mut body = record.get(HEADER..HEADER + len).ok_or(CUT)?;
    *record = &record[HEADER + len..];
    let frame = match code {
        REQUEST | RESPONSE if len >= BEGIN => {
            let kind = if code == REQUEST { Kind::Request } else { Kind::Response };
            let class =
                priority(body.get_u8()).ok_or(WireError::Protocol("a class there is not"))?;
            let (head, payload) = (body.get_u32(), body.get_u32());
            Frame::Begin { kind, stream, priority: class, head, payload, data: body }
        }
        REQUEST_MORE => Frame::More { kind: Kind::Request, stream, data: body },
        RESPONSE_MORE => Frame::More { kind: Kind::Response, stream, data: body },
        CANCEL => Frame::Cancel { stream },
        FAILED if len >= 1 => Frame::Failed { stream, code: body.get_u8() },
        CREDIT if len >= 6 => {
            let (kind, class) = (Kind::from_byte(body.get_u8()), priority(body.get_u8()));
            let (Some(kind), Some(priority)) = (kind, class) else {
                return Err(WireError::Protocol("credit for a class there is not"));
            };
            Frame::Credit { kind, priority, bytes: body.get_u32() }
        }
        PING => Frame::Ping { token: stream },
        PONG => Frame::Pong { token: stream },
        REQUEST | RESPONSE | FAILED | CREDIT => return Err(CUT),
        _ => Frame::Unknown,
    };
    Ok(frame)
}

fn header(out: &mut BytesMut, code: u8, len: usize, stream: u64) {
    out.put_u8(code);
    out.put_u16(u16::try_from(len).expect("a frame fits into a record"));
    out.put_u64(stream);
}

/// Appends the header of a message's first frame, which carries `data` bytes of it.
pub(super) fn put_begin(
    out: &mut BytesMut,
    kind: Kind,
    stream: u64,
    priority: Priority,
    lengths: (u32, u32),
    data: usize,
) {
    let code = match kind {
        Kind::Request => REQUEST,
        Kind::Response => RESPONSE,
    };
    header(out, code, BEGIN + data, stream);
    out.put_u8(priority as u8);
    out.put_u32(lengths.0);
    out.put_u32(lengths.1);
}

/// Appends the header of a later frame, which carries `data` bytes.
pub(super) fn put_more(out: &mut BytesMut, kind: Kind, stream: u64, data: usize) {
    let code = match kind {
        Kind::Request => REQUEST_MORE,
        Kind::Response => RESPONSE_MORE,
    };
    header(out, code, data, stream);
}

pub(super) fn put_cancel(out: &mut BytesMut, stream: u64) {
    header(out, CANCEL, 0, stream);
}

pub(super) fn put_failed(out: &mut BytesMut, stream: u64, code: u8) {
    header(out, FAILED, 1, stream);
    out.put_u8(code);
}

pub(super) fn put_credit(out: &mut BytesMut, kind: Kind, priority: Priority, bytes: u32) {
    header(out, CREDIT, 6, 0);
    out.put_u8(kind as u8);
    out.put_u8(priority as u8);
    out.put_u32(bytes);
}

pub(super) fn put_ping(out: &mut BytesMut, token: u64) {
    header(out, PING, 0, token);
}

pub(super) fn put_pong(out: &mut BytesMut, token: u64) {
    header(out, PONG, 0, token);
}

/// What an end says of itself inside the handshake: how much may be on its way to it. Bytes behind what is known are a later
/// release's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The longest record it takes, its length included.
    pub record: u16,
    /// Requests of each class that may be open.
    pub streams: [u16; 4],
    /// Bytes under way, by [`Kind`] and class.
    pub windows: [[u32; 4]; 2],
}

impl Hello {
    /// This release's.
    pub fn ours() -> Self {
        let record = u16::try_from(RECORD_MAX).expect("a record's length has two bytes");
        Self { record, streams: STREAMS, windows: [WINDOWS; 2] }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.put_u16(self.record);
        self.streams.iter().for_each(|streams| out.put_u16(*streams));
        self.windows.iter().flatten().for_each(|window| out.put_u32(*window));
        out
    }

    pub fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let mut hello = Self { record: 0, streams: [0; 4], windows: [[0; 4]; 2] };
        if bytes.len() < 2 + 4 * 2 + 8 * 4 {
            return Err(WireError::Protocol("a hello is too short"));
        }
        hello.record = bytes.get_u16();
        hello.streams.iter_mut().for_each(|streams| *streams = bytes.get_u16());
        hello.windows.iter_mut().flatten().for_each(|window| *window = bytes.get_u32());
        let enough = usize::from(hello.record) >= RECORD_MIN
            && hello.streams.iter().all(|streams| *streams > 0)
            && hello.windows.iter().flatten().all(|window| *window >= WINDOW_MIN);
        if enough { Ok(hello) } else { Err(WireError::Protocol("a hello with too little room")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_later_releases_are_skipped() {
        let mut out = BytesMut::new();
        header(&mut out, 200, 3, 9);
        out.put_slice(b"new");
        put_ping(&mut out, 7);
        let mut record = &out[..];
        assert_eq!(next(&mut record), Ok(Frame::Unknown));
        assert_eq!(next(&mut record), Ok(Frame::Ping { token: 7 }));
        assert!(record.is_empty());
    }

    #[test]
    fn every_cut_of_a_frame_is_an_error() {
        let mut out = BytesMut::new();
        put_begin(&mut out, Kind::Request, 1, Priority::Bulk, (2, 3), 5);
        out.put_slice(b"hello");
        for cut in 0..out.len() {
            assert!(next(&mut &out[..cut]).is_err(), "{cut} bytes");
        }
        let (kind, priority, data) = (Kind::Request, Priority::Bulk, &b"hello"[..]);
        let whole = Frame::Begin { kind, stream: 1, priority, head: 2, payload: 3, data };
        assert_eq!(next(&mut &out[..]), Ok(whole));
    }

    #[test]
    fn a_longer_hello_is_read_and_a_stingy_one_is_refused() {
        let hello = Hello::ours();
        let mut bytes = hello.encode();
        assert!(Hello::decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.extend_from_slice(b"more");
        assert_eq!(Hello::decode(&bytes), Ok(hello.clone()));
        for stingy in [
            Hello { record: 1023, ..hello.clone() },
            Hello { streams: [1, 1, 0, 1], ..hello.clone() },
            Hello { windows: [[1 << 20; 4], [1 << 20, 1 << 20, 1 << 20, 1]], ..hello },
        ] {
            assert!(Hello::decode(&stingy.encode()).is_err(), "{stingy:?}");
        }
    }
}
