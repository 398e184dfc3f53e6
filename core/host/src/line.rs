//! A connection to a peer, as many hands use it: those who ask, those who answer, and the one loop that moves its bytes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use mews_core::{
    effect::PeerError,
    id::NodeId,
    time::{Instant, Now},
    wire::{Connection, Event, Message, Priority, StreamId, WireError},
};

/// Output beyond this waits in the connection, where what is more urgent can still overtake it.
const OUTPUT: usize = 64 << 10;

/// The connection. `W` is who waits for an answer; `S` is the serving of a request, which ends when that is dropped.
pub struct Line<W, S> {
    state: Mutex<State<W, S>>,
}

struct State<W, S> {
    connection: Connection,
    /// Bounded by the connection, which takes only so many requests.
    waiting: BTreeMap<StreamId, W>,
    /// Bounded by the connection, too. None until it is known what serves it.
    serving: BTreeMap<StreamId, Option<S>>,
    closing: bool,
    /// The round trip that was told last.
    rtt: Option<Duration>,
}

/// What the loop is to do about a connection.
pub enum News<W, S> {
    /// The peer is known, and requests may flow.
    Up(NodeId),
    /// The round trip, smoothed, has changed.
    Measured(Duration),
    /// The peer asks. To be answered by [`Line::respond`].
    Asked(StreamId, Message),
    /// Tell whoever waits.
    Answered(W, Result<Message, PeerError>),
    /// The peer no longer wants to know: drop it.
    Cancelled(S),
}

/// The news, and when to come again if nothing happens before.
type Turn<W, S> = (Vec<News<W, S>>, Option<Instant>);

impl<W, S> Line<W, S> {
    /// A line for a connection that begins.
    pub fn new(connection: Connection) -> Self {
        let (waiting, serving) = (BTreeMap::new(), BTreeMap::new());
        let (closing, rtt) = (false, None);
        Self { state: Mutex::new(State { connection, waiting, serving, closing, rtt }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<W, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the peer. Then wake the loop.
    ///
    /// # Errors
    /// [`Connection::request`]'s.
    pub fn ask(
        &self,
        now: Now,
        priority: Priority,
        message: Message,
        patience: Duration,
        waiter: W,
    ) -> Result<StreamId, PeerError> {
        let mut state = self.lock();
        let stream = state.connection.request(now, priority, message, patience)?;
        state.waiting.insert(stream, waiter);
        Ok(stream)
    }

    /// Nobody waits for this answer any more. False if it has come already; else wake the loop.
    pub fn give_up(&self, now: Now, stream: StreamId) -> bool {
        let mut state = self.lock();
        let waited = state.waiting.remove(&stream).is_some();
        if waited {
            state.connection.cancel(now, stream);
        }
        waited
    }

    /// What serves a request; given back if that is over already.
    pub fn serving(&self, stream: StreamId, serving: S) -> Option<S> {
        match self.lock().serving.get_mut(&stream) {
            Some(place) => place.replace(serving),
            None => Some(serving),
        }
    }

    /// Answers a request of the peer's. Then wake the loop. Gives back what served it.
    pub fn respond(&self, now: Now, stream: StreamId, message: Message) -> Option<S> {
        let mut state = self.lock();
        let serving = state.serving.remove(&stream)?;
        state.connection.respond(now, stream, message);
        serving
    }

    /// Hands in what has come.
    ///
    /// # Errors
    /// The connection is over; [`Line::close`] it.
    pub fn input(&self, now: Now, input: &mut BytesMut) -> Result<(), WireError> {
        self.lock().connection.handle_input(now, input)
    }

    /// Does what is due, tells what there is to do, and says what there is to send, and when to come again.
    ///
    /// # Errors
    /// The connection is over; [`Line::close`] it.
    pub fn work(
        &self,
        now: impl Fn() -> Now,
        output: &mut BytesMut,
        mut handle: impl FnMut(News<W, S>),
    ) -> Result<Option<Instant>, WireError> {
        let (news, timeout) = self.turn(now(), output)?;
        if news.is_empty() {
            return Ok(timeout);
        }
        news.into_iter().for_each(&mut handle);
        // What was answered at once is to go out at once.
        let (more, timeout) = self.turn(now(), output)?;
        more.into_iter().for_each(handle);
        Ok(timeout)
    }

    fn turn(&self, now: Now, output: &mut BytesMut) -> Result<Turn<W, S>, WireError> {
        let mut state = self.lock();
        if state.closing {
            return Err(WireError::Closed);
        }
        if state.connection.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
            state.connection.handle_timeout(now)?;
        }
        let news = state.news();
        if output.len() < OUTPUT {
            // It gives its best alone: what it does not give now is asked for again, once this is written.
            let _ = state.connection.poll_output(now, output);
        }
        let timeout = state.connection.poll_timeout().map(|(at, _reason)| at);
        Ok((news, timeout))
    }

    /// Has the loop close it. Then wake the loop.
    pub fn shut(&self) {
        self.lock().closing = true;
    }

    /// The end of it: why it ended if nothing else is known, and the last news.
    pub fn close(&self) -> (WireError, Vec<News<W, S>>) {
        let mut state = self.lock();
        let why = state.connection.close();
        let mut news = state.news();
        // Nobody can answer these any more.
        let serving = std::mem::take(&mut state.serving);
        news.extend(serving.into_values().flatten().map(News::Cancelled));
        (why, news)
    }
}

impl<W, S> State<W, S> {
    fn news(&mut self) -> Vec<News<W, S>> {
        let mut news = Vec::new();
        while let Some(event) = self.connection.poll_event() {
            news.extend(match event {
                Event::Established { peer } => Some(News::Up(peer)),
                Event::Request { stream, message, .. } => {
                    self.serving.insert(stream, None);
                    Some(News::Asked(stream, message))
                }
                Event::Response { stream, result } => {
                    let waiter = self.waiting.remove(&stream);
                    waiter.map(|waiter| News::Answered(waiter, result))
                }
                Event::Cancelled { stream } => {
                    self.serving.remove(&stream).flatten().map(News::Cancelled)
                }
            });
        }
        let rtt = self.connection.rtt();
        if rtt != std::mem::replace(&mut self.rtt, rtt) {
            news.extend(rtt.map(News::Measured));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mews_core::{seed::Seed, wire::Identity};

    use super::*;

    struct End {
        line: Line<&'static str, &'static str>,
        input: BytesMut,
        output: BytesMut,
        told: Vec<String>,
        asked: Vec<StreamId>,
    }

    impl End {
        fn new(connection: Connection) -> Self {
            let (input, output) = (BytesMut::new(), BytesMut::new());
            Self { line: Line::new(connection), input, output, told: vec![], asked: vec![] }
        }

        fn tell(told: &mut Vec<String>, asked: &mut Vec<StreamId>, news: News<&str, &str>) {
            told.push(match news {
                News::Up(_) => "up".to_owned(),
                News::Measured(rtt) => format!("{rtt:?} away"),
                News::Asked(stream, message) => {
                    asked.push(stream);
                    format!("asked {}", String::from_utf8_lossy(&message.head))
                }
                News::Answered(waiter, answer) => {
                    let answer = answer.map(|message| message.head);
                    format!("{waiter}: {answer:?}")
                }
                News::Cancelled(serving) => format!("{serving} is not wanted"),
            });
        }

        fn work(&mut self) -> Result<(), WireError> {
            let Self { line, output, told, asked, .. } = self;
            line.work(Now::default, output, |news| Self::tell(told, asked, news)).map(drop)
        }

        fn close(&mut self) -> WireError {
            let (why, news) = self.line.close();
            news.into_iter().for_each(|news| Self::tell(&mut self.told, &mut self.asked, news));
            why
        }
    }

    fn message(text: &'static str) -> Message {
        Message { head: Bytes::from_static(text.as_bytes()), payload: Bytes::new() }
    }

    /// Two ends that have met.
    fn pair() -> [End; 2] {
        let identity = |name| Identity::new([name; 32], [9; 32], true);
        let (seed, now) = (|name| Seed::new([name; 32]), Now::default());
        let mut ends = [
            End::new(Connection::dial(&identity(1), Some(identity(2).id), seed(1), now)),
            End::new(Connection::accept(&identity(2), seed(2), now)),
        ];
        settle(&mut ends);
        for end in &mut ends {
            assert_eq!(std::mem::take(&mut end.told), ["up", "0ns away"]);
        }
        ends
    }

    fn settle([a, b]: &mut [End; 2]) {
        loop {
            a.work().unwrap();
            b.work().unwrap();
            if a.output.is_empty() && b.output.is_empty() {
                return;
            }
            b.input.unsplit(a.output.split());
            a.input.unsplit(b.output.split());
            a.line.input(Now::default(), &mut a.input).unwrap();
            b.line.input(Now::default(), &mut b.input).unwrap();
        }
    }

    fn ask(end: &End) -> StreamId {
        let patience = Duration::from_secs(1);
        let asked =
            end.line.ask(Now::default(), Priority::Request, message("well?"), patience, "asker");
        asked.unwrap()
    }

    #[test]
    fn whoever_asks_is_told_the_answer_once() {
        let mut ends = pair();
        let question = ask(&ends[0]);
        settle(&mut ends);
        assert_eq!(ends[1].told, ["asked well?"]);
        let asked = ends[1].asked[0];
        assert_eq!(ends[1].line.serving(asked, "server"), None);
        let respond = |end: &End| end.line.respond(Now::default(), asked, message("so"));
        assert_eq!(respond(&ends[1]), Some("server"));
        assert_eq!(respond(&ends[1]), None, "it is answered");
        settle(&mut ends);
        assert_eq!(ends[0].told, ["asker: Ok(b\"so\")"]);
        assert!(!ends[0].line.give_up(Now::default(), question), "it has its answer");
    }

    #[test]
    fn what_serves_a_question_ends_when_nobody_wants_the_answer() {
        let mut ends = pair();
        let questions = [ask(&ends[0]), ask(&ends[0])];
        settle(&mut ends);
        let asked = ends[1].asked.clone();
        assert_eq!(ends[1].line.serving(asked[0], "server"), None);
        ends[1].told.clear();
        for question in questions {
            assert!(ends[0].line.give_up(Now::default(), question));
            assert!(!ends[0].line.give_up(Now::default(), question));
        }
        settle(&mut ends);
        assert_eq!(ends[1].told, ["server is not wanted"]);
        // The second one was cancelled before it was known what serves it: it is given back, to end.
        assert_eq!(ends[1].line.serving(asked[1], "late"), Some("late"));
        assert_eq!(ends[1].line.respond(Now::default(), asked[0], message("so")), None);
        settle(&mut ends);
        assert!(ends[0].told.is_empty());
    }

    #[test]
    fn the_end_of_a_connection_is_told_to_all_who_wait_and_ends_what_serves() {
        let mut ends = pair();
        ask(&ends[0]);
        settle(&mut ends);
        assert_eq!(ends[1].line.serving(ends[1].asked[0], "server"), None);
        ends[1].told.clear();
        ends[0].line.shut();
        assert_eq!(ends[0].work(), Err(WireError::Closed));
        for end in &mut ends {
            assert_eq!(end.close(), WireError::Closed);
        }
        assert_eq!(ends[0].told, ["asker: Err(Unreachable)"]);
        assert_eq!(ends[1].told, ["server is not wanted"]);
    }
}
