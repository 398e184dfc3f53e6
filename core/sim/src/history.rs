//! What each key may hold, given what was asked and answered: the model that every read is held against.
//!
//! A write that was answered with success has happened between its request and its answer. One that was not answered may
//! have happened, or may still, for as long as its process lives. A read may give what some write gave, if that write had
//! begun by the read's end, and no other write came wholly after it and wholly before the read.
//!
//! What a read has given has happened, and later reads must give it too. Only with two copies is that not promised: there a read
//! asks one of them, and what is not acknowledged yet may stand on one and not on the other.

use std::collections::BTreeMap;

use crate::client::Content;

/// A moment in the order of what clients did and learned.
pub type Tick = u64;

/// One write of one key.
#[derive(Clone, Debug)]
struct Write {
    /// What the key holds afterwards; `None` after a deletion.
    value: Option<Content>,
    began: Tick,
    /// The end of the time in which it may take effect, once that is known.
    ended: Option<Tick>,
    /// When it is sure to have taken effect: answered with success, or seen by a read.
    sure: Option<Tick>,
    /// Refused: it has no effect.
    void: bool,
    /// Since when something else is sure to stand in its place.
    over: Option<Tick>,
}

/// Names a write for its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(String, usize);

/// All writes of all keys.
#[derive(Debug, Default)]
pub struct History {
    keys: BTreeMap<String, Vec<Write>>,
    now: Tick,
    /// What a read has given may not be given again before it is acknowledged.
    pub flickers: bool,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> Tick {
        self.now += 1;
        self.now
    }

    fn writes(&mut self, key: &str) -> &mut Vec<Write> {
        // At first there is nothing, and that is as if it had been written before everything.
        let nothing =
            Write { value: None, began: 0, ended: Some(0), sure: Some(0), void: false, over: None };
        self.keys.entry(key.to_owned()).or_insert_with(|| vec![nothing])
    }

    /// A write begins.
    pub fn begin(&mut self, key: &str, value: Option<Content>) -> WriteId {
        let began = self.tick();
        let writes = self.writes(key);
        writes.push(Write { value, began, ended: None, sure: None, void: false, over: None });
        WriteId(key.to_owned(), writes.len() - 1)
    }

    /// It was answered with success.
    pub fn succeeded(&mut self, WriteId(key, at): &WriteId) {
        let now = self.tick();
        let write = &mut self.writes(key)[*at];
        write.ended = Some(now);
        write.sure = write.sure.or(Some(now));
    }

    /// It was refused, and has changed nothing.
    pub fn refused(&mut self, WriteId(key, at): &WriteId) {
        self.writes(key)[*at].void = true;
    }

    /// Every process has ended, or all that is under way has come to its end: what was not done by now never will be.
    pub fn crashed(&mut self) {
        let now = self.tick();
        for write in self.keys.values_mut().flatten() {
            write.ended = write.ended.or(Some(now));
        }
    }

    /// A read that began at `began` and ends now gave `value`. Gives what is wrong with that.
    ///
    /// # Errors
    /// A text that says what the key may have held.
    pub fn read(&mut self, key: &str, began: Tick, value: Option<Content>) -> Result<(), String> {
        let now = self.tick();
        let flickers = self.flickers;
        let writes = self.writes(key);
        let allowed = allowed(writes, began);
        let matching: Vec<usize> =
            allowed.iter().copied().filter(|at| writes[*at].value == value).collect();
        if let [only] = matching[..]
            && (!flickers || writes[only].sure.is_some())
        {
            // It has been seen, so no older one may be seen after this.
            let write = &mut writes[only];
            write.sure = write.sure.or(Some(now));
            // What had ended before this read began is older than what the read gave, and does not come back.
            for (at, other) in writes.iter_mut().enumerate() {
                let passed = other.ended.is_some_and(|ended| ended < began)
                    && other.sure.is_some_and(|sure| sure < began);
                if at != only && passed {
                    other.over = other.over.or(Some(now));
                }
            }
        }
        if matching.is_empty() {
            let may: Vec<_> = allowed.iter().map(|at| &writes[*at].value).collect();
            return Err(format!("{key} was read as {value:?}, and may hold {may:?}"));
        }
        Ok(())
    }

    /// A listing that began at `began` and ends now shows the key with this length, or does not show it.
    ///
    /// # Errors
    /// A text that says what the key may have held.
    pub fn listed(&mut self, key: &str, began: Tick, len: Option<usize>) -> Result<(), String> {
        let writes = self.writes(key);
        let allowed = allowed(writes, began);
        let lens: Vec<_> =
            allowed.iter().map(|at| writes[*at].value.map(|value| value.len)).collect();
        if lens.contains(&len) {
            Ok(())
        } else {
            Err(format!("{key} was listed with length {len:?}, and may have {lens:?}"))
        }
    }

    /// Every key that was ever written.
    pub fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }
}

/// The writes that a read which began at `began` may see.
fn allowed(writes: &[Write], began: Tick) -> Vec<usize> {
    // Every write that had ended before this began is older than one that was sure when the read began.
    let later = writes.iter().filter(|later| !later.void);
    let later = later.filter(|later| later.sure.is_some_and(|sure| sure < began));
    let newest = later.map(|later| later.began).max().unwrap_or(0);
    let passed = |write: &Write| {
        write.ended.is_some_and(|ended| ended < newest)
            || write.over.is_some_and(|over| over < began)
    };
    let open = writes.iter().enumerate().filter(|(_, write)| !write.void && !passed(write));
    open.map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Content = Content { number: 1, len: 1 };
    const B: Content = Content { number: 2, len: 2 };

    #[test]
    fn what_was_acknowledged_must_be_read() {
        let mut history = History::default();
        let began = history.tick();
        assert_eq!(history.read("k", began, None), Ok(()));
        let write = history.begin("k", Some(A));
        let during = history.tick();
        assert_eq!(history.read("k", during, None), Ok(()));
        assert_eq!(history.read("k", during, Some(A)), Ok(()));
        history.succeeded(&write);
        let after = history.tick();
        assert!(history.read("k", after, None).is_err());
        assert!(history.listed("k", after, None).is_err());
        assert_eq!(history.listed("k", after, Some(1)), Ok(()));
        assert!(history.read("k", after, Some(B)).is_err(), "nobody wrote that");
    }

    #[test]
    fn what_was_seen_once_does_not_go_away_by_itself() {
        let mut history = History::default();
        history.begin("k", Some(A));
        history.crashed();
        let began = history.tick();
        assert_eq!(history.read("k", began, Some(A)), Ok(()));
        let began = history.tick();
        assert!(history.read("k", began, None).is_err());
    }

    #[test]
    fn what_was_seen_to_be_replaced_does_not_come_back() {
        let mut history = History::default();
        // Two at once, so that the order is not known from them.
        let (a, b) = (history.begin("k", Some(A)), history.begin("k", Some(B)));
        history.succeeded(&a);
        history.succeeded(&b);
        let began = history.tick();
        assert_eq!(history.read("k", began, Some(A)), Ok(()));
        let began = history.tick();
        assert!(history.read("k", began, Some(B)).is_err(), "B was there before A");
    }

    #[test]
    fn what_one_of_two_copies_shows_may_go_away_until_it_is_acknowledged() {
        let mut history = History { flickers: true, ..History::default() };
        let (a, b) = (history.begin("k", Some(A)), history.begin("k", Some(B)));
        history.succeeded(&a);
        for seen in [A, B, A, B] {
            let began = history.tick();
            assert_eq!(history.read("k", began, Some(seen)), Ok(()));
        }
        let began = history.tick();
        assert!(history.read("k", began, None).is_err(), "A is acknowledged");
        history.succeeded(&b);
        let began = history.tick();
        assert_eq!(history.read("k", began, Some(B)), Ok(()));
        let began = history.tick();
        assert!(history.read("k", began, Some(A)).is_err(), "B was there after A");
    }

    #[test]
    fn an_unanswered_write_ends_with_its_process() {
        let mut history = History::default();
        history.begin("k", Some(A));
        let second = history.begin("k", Some(B));
        history.succeeded(&second);
        let began = history.tick();
        assert_eq!(history.read("k", began, Some(A)), Ok(()), "it may come late");
        let mut history = History::default();
        history.begin("k", Some(A));
        history.crashed();
        let second = history.begin("k", Some(B));
        history.succeeded(&second);
        let began = history.tick();
        assert!(history.read("k", began, Some(A)).is_err());
    }
}
