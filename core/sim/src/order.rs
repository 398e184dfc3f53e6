//! Whether there is one order of what was asked of a bucket's name in which every answer is right, and which agrees with time: what
//! had ended before something else began comes before it (Wing and Gong, 1993).
//!
//! What was not acknowledged may have happened once, between its request and its end, or not at all. A request to create may have
//! happened a second time before that: what it had proposed was brought to its end by another, who then deleted the bucket. Of two who
//! delete the same bucket at once, both may be told that it is done. Listings are not repaired: while an object is made or deleted, one
//! may show it and the next one not.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::Tick;

/// What a bucket's name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Nothing. If there was a bucket, its deletion may have been as late as this.
    Free(Tick),
    /// A bucket with these objects, by their keys.
    Taken(BTreeMap<String, u64>),
}

/// Something that was asked, and what it learned if it was a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bucket is created, where there was none.
    Create,
    /// The bucket is deleted, which has no objects; or it was there at first, and another request deleted it.
    Delete,
    /// An object is made.
    Put(String, u64),
    /// An object is deleted, or was not there. A bucket that is gone has no objects either: a node that has not heard of its deletion
    /// says so.
    Remove(String),
    /// A key was read, and this was there; of a bucket that is gone, as with [`Step::Remove`].
    Read(String, Option<u64>),
    /// These keys were listed.
    List(BTreeSet<String>),
    /// There was no bucket.
    Absent,
}

impl Step {
    fn changes(&self) -> bool {
        match self {
            Self::Create | Self::Delete | Self::Put(..) | Self::Remove(_) => true,
            Self::Read(..) | Self::List(_) | Self::Absent => false,
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What.
    pub step: Step,
    /// When it was sent.
    pub began: Tick,
    /// When it was over, if that is known.
    pub ended: Option<Tick>,
    /// Acknowledged: it has happened, and what it says was so.
    pub sure: bool,
}

/// The most requests that an order is looked for.
pub const MOST: usize = 64;

/// Looks for the order.
///
/// # Errors
/// The requests, where there is none.
pub fn find(name: &str, asked: &[Asked]) -> Result<(), String> {
    let again = asked.iter().filter(|asked| asked.step == Step::Create);
    let again = again.map(|asked| Asked { sure: false, ..asked.clone() });
    let told = asked
        .iter()
        .map(|each| Asked { sure: each.sure && !is_vague(each, asked), ..each.clone() });
    let all: Vec<Asked> = told.chain(again).collect();
    if all.len() > 2 * MOST {
        return Err(format!("{name}: {} requests are too many to look for an order", all.len()));
    }
    let mut search = Search { all: &all, seen: BTreeSet::new() };
    if search.goes_on(0, &State::Free(0)) {
        return Ok(());
    }
    let lines = asked.iter().map(|Asked { step, began, ended, sure }| {
        let ended = ended.map_or("?".to_owned(), |ended| ended.to_string());
        format!("{step:?} {began}..{ended}{}", if *sure { "" } else { " (not acknowledged)" })
    });
    let lines: Vec<String> = lines.collect();
    Err(format!("{name}: in no order can all this have happened: {}", lines.join("; ")))
}

/// Whether this is a listing beside which something was made or deleted.
fn is_vague(listing: &Asked, all: &[Asked]) -> bool {
    let Step::List(_) = listing.step else { return false };
    let is_beside = |other: &Asked| {
        listing.ended.is_none_or(|ended| other.began < ended)
            && other.ended.is_none_or(|ended| ended > listing.began)
    };
    let changes = |other: &&Asked| matches!(other.step, Step::Put(..) | Step::Remove(_));
    all.iter().filter(changes).any(is_beside)
}

struct Search<'a> {
    all: &'a [Asked],
    /// Where a search has already led nowhere: what had happened, and to what.
    seen: BTreeSet<(u128, State)>,
}

impl Search<'_> {
    /// Whether, once those in `done` have happened and led to `state`, the others can.
    fn goes_on(&mut self, done: u128, state: &State) -> bool {
        let open = || self.all.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
        if open().all(|(_, asked)| !asked.sure) {
            return true;
        }
        if !self.seen.insert((done, state.clone())) {
            return false;
        }
        let ends = open().filter(|(_, asked)| asked.sure).filter_map(|(_, asked)| asked.ended);
        let first_end = ends.min().unwrap_or(Tick::MAX);
        let begun = self.all.iter().enumerate().filter(|(at, _)| done & (1 << at) != 0);
        let last_begin = begun.map(|(_, asked)| asked.began).max().unwrap_or(0);
        let next: Vec<(usize, State)> = open()
            .filter(|(_, asked)| asked.began <= first_end)
            .filter(|(_, asked)| asked.ended.is_none_or(|ended| ended >= last_begin))
            .filter_map(|(at, asked)| Some((at, after(asked, state)?, asked.sure)))
            // What need not have happened and changes nothing need not be tried.
            .filter(|(at, next, sure)| *sure || (self.all[*at].step.changes() && next != state))
            .map(|(at, next, _)| (at, next))
            .collect();
        next.into_iter().any(|(at, next)| self.goes_on(done | 1 << at, &next))
    }
}

/// What comes of a request that happens now; `None` if it cannot.
fn after(asked: &Asked, state: &State) -> Option<State> {
    let end = asked.ended.unwrap_or(Tick::MAX);
    match state {
        State::Free(deleted) => {
            // What happens after the deletion and ended early was after an early deletion.
            let still = State::Free(end.min(*deleted));
            match &asked.step {
                Step::Create => Some(State::Taken(BTreeMap::new())),
                Step::Delete => (asked.sure && asked.began <= *deleted).then_some(still),
                Step::Remove(_) | Step::Read(_, None) | Step::Absent => Some(still),
                Step::List(keys) => keys.is_empty().then_some(still),
                Step::Put(..) | Step::Read(_, Some(_)) => None,
            }
        }
        State::Taken(objects) => {
            let mut objects = objects.clone();
            match &asked.step {
                Step::Delete => return objects.is_empty().then_some(State::Free(end)),
                Step::Put(key, number) => {
                    objects.insert(key.clone(), *number);
                }
                Step::Remove(key) => {
                    objects.remove(key);
                }
                Step::Read(key, found) if objects.get(key) == found.as_ref() => {}
                Step::List(keys) if objects.keys().eq(keys) => {}
                Step::Create | Step::Absent | Step::Read(..) | Step::List(_) => return None,
            }
            Some(State::Taken(objects))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sure(step: Step, began: Tick, ended: Tick) -> Asked {
        Asked { step, began, ended: Some(ended), sure: true }
    }

    fn doubtful(step: Step, began: Tick) -> Asked {
        Asked { step, began, ended: None, sure: false }
    }

    fn put(number: u64) -> Step {
        Step::Put("k".to_owned(), number)
    }

    fn read(number: Option<u64>) -> Step {
        Step::Read("k".to_owned(), number)
    }

    #[test]
    fn a_name_has_one_winner() {
        let two = [sure(Step::Create, 1, 4), sure(Step::Create, 2, 3)];
        assert!(find("n", &two).is_err());
        let freed = [two[0].clone(), two[1].clone(), doubtful(Step::Delete, 2)];
        assert_eq!(find("n", &freed), Ok(()));
        let late = [two[0].clone(), two[1].clone(), doubtful(Step::Delete, 5)];
        assert!(find("n", &late).is_err());
    }

    #[test]
    fn two_may_delete_one_bucket_at_once() {
        let made = sure(Step::Create, 1, 2);
        let two = [made.clone(), sure(Step::Delete, 3, 6), sure(Step::Delete, 4, 5)];
        assert_eq!(find("n", &two), Ok(()));
        let later = [made.clone(), sure(Step::Delete, 3, 4), sure(Step::Delete, 5, 6)];
        assert!(find("n", &later).is_err());
        // By then it had been seen that it was gone.
        let seen = [&two[..2], &[sure(Step::Absent, 3, 4), sure(Step::Delete, 5, 7)]].concat();
        assert!(find("n", &seen).is_err());
    }

    #[test]
    fn a_deleted_bucket_takes_nothing_acknowledged_with_it() {
        let all = [
            sure(Step::Create, 1, 2),
            sure(put(7), 3, 6),
            sure(Step::Delete, 4, 5),
            sure(Step::Absent, 7, 8),
        ];
        assert!(find("n", &all).is_err());
        assert_eq!(find("n", &[&all[..1], &all[2..]].concat()), Ok(()));
        let removed = [&all[..], &[doubtful(Step::Remove("k".to_owned()), 3)]].concat();
        assert_eq!(find("n", &removed), Ok(()));
        // Not acknowledged, it may be lost.
        let lost = [&all[..1], &[doubtful(put(7), 3)], &all[2..]].concat();
        assert_eq!(find("n", &lost), Ok(()));
    }

    #[test]
    fn reads_and_listings_agree_with_what_was_acknowledged() {
        let made = [sure(Step::Create, 1, 2), sure(put(7), 3, 4)];
        let and = |step| [&made[..], &[sure(step, 5, 6)]].concat();
        assert_eq!(find("n", &and(read(Some(7)))), Ok(()));
        assert_eq!(find("n", &and(Step::List(BTreeSet::from(["k".to_owned()])))), Ok(()));
        for wrong in [read(None), read(Some(8)), Step::List(BTreeSet::new()), Step::Absent] {
            assert!(find("n", &and(wrong.clone())).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_listing_may_miss_what_is_under_way() {
        let list = |keys: &[&str], began| {
            sure(Step::List(keys.iter().map(|key| (*key).to_owned()).collect()), began, began + 1)
        };
        let made = sure(Step::Create, 1, 2);
        let ends = |ended| Asked { ended: Some(ended), ..doubtful(put(7), 3) };
        let all = [made.clone(), ends(20), list(&["k"], 5), list(&[], 7)];
        assert_eq!(find("n", &all), Ok(()));
        let settled = [made, ends(4), list(&["k"], 5), list(&[], 7)];
        assert!(find("n", &settled).is_err());
    }

    #[test]
    fn a_bucket_created_anew_is_empty() {
        let all = [
            sure(Step::Create, 1, 2),
            doubtful(put(7), 3),
            sure(read(Some(7)), 4, 5),
            doubtful(Step::Remove("k".to_owned()), 6),
            sure(Step::Delete, 7, 8),
            sure(Step::Create, 9, 10),
        ];
        let and = |number| [&all[..], &[sure(read(number), 11, 12)]].concat();
        assert_eq!(find("n", &and(None)), Ok(()));
        assert!(find("n", &and(Some(7))).is_err());
    }

    #[test]
    fn what_was_begun_and_deleted_by_another_may_be_done_again() {
        let all = [
            sure(Step::Create, 1, 9),
            sure(put(7), 2, 3),
            sure(Step::Remove("k".to_owned()), 4, 5),
            sure(Step::Delete, 6, 7),
            sure(read(None), 10, 11),
            sure(put(8), 12, 13),
        ];
        assert_eq!(find("n", &all), Ok(()));
    }
}
