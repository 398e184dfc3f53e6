//! Asking several nodes for enough answers: the nearest first, others when these fail or are slow.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use super::graver;
use crate::{
    effect::PeerError,
    flow::{Either, either},
    id::NodeId,
    task::{Cx, Reason},
    view::{Replicas, View},
};

/// The shortest time after which another node is asked beside a slow one: what a local disk may take, or a timer be late.
const HEDGE_MIN: Duration = Duration::from_millis(20);

/// The longest such time: a line worse than that is as good as down.
const HEDGE_MAX: Duration = Duration::from_secs(2);

/// The round trip that is assumed where none has been measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(50);

/// `nodes` in the order in which to ask them: this one, then those that are up, nearest first, then the others. A node that is
/// still fetching what it has lost does not ask itself.
pub(super) fn order(view: &View, nodes: &[NodeId]) -> Vec<NodeId> {
    let mut order: Vec<NodeId> =
        nodes.iter().copied().filter(|node| *node != view.node || !view.recovering).collect();
    order.sort_by_key(|node| {
        if *node == view.node {
            0
        } else if view.peers.get(node).is_some_and(|peer| peer.up) {
            1
        } else {
            2
        }
    });
    order
}

/// How long to wait for these before another is asked too: three round trips to the farthest.
pub(super) fn hedge(view: &View, asked: impl Iterator<Item = NodeId>) -> Duration {
    let rtt = |node: NodeId| match view.peers.get(&node) {
        _ if node == view.node => Duration::ZERO,
        Some(peer) => peer.rtt.unwrap_or(RTT_UNKNOWN),
        None => RTT_UNKNOWN,
    };
    let farthest = asked.map(rtt).max().unwrap_or_default();
    farthest.saturating_mul(3).clamp(HEDGE_MIN, HEDGE_MAX)
}

/// What [`gather`] is to get.
pub(super) struct Plan {
    /// Whom to ask, in this order.
    pub order: Vec<NodeId>,
    /// How many must answer.
    pub need: usize,
    /// At most so many are asked at a time.
    pub most: usize,
    /// Time that an answer takes beside its round trips.
    pub extra: Duration,
}

/// Calls that are under way, each with what it is for.
pub(super) struct Open<K, F> {
    calls: Vec<(K, F)>,
}

impl<K, T, F> Open<K, F>
where
    F: Future<Output = Result<T, PeerError>> + Unpin,
{
    pub(super) fn new() -> Self {
        Self { calls: Vec::new() }
    }

    pub(super) fn push(&mut self, what: K, call: F) {
        self.calls.push((what, call));
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.calls.iter().map(|(what, _)| what)
    }

    /// The calls that nobody has waited for to the end.
    pub(super) fn into_calls(self) -> impl Iterator<Item = F> {
        self.calls.into_iter().map(|(_, call)| call)
    }

    /// The next answer to come. Only while there are calls.
    pub(super) async fn next(&mut self) -> (K, Result<T, PeerError>) {
        poll_fn(|cx| {
            for at in 0..self.calls.len() {
                if let Poll::Ready(answer) = Pin::new(&mut self.calls[at].1).poll(cx) {
                    let (what, _) = self.calls.remove(at);
                    return Poll::Ready((what, answer));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Enough answers, in the order in which they came, or the error that made them impossible. Calls still open are dropped,
/// which cancels them. `failed` is told of each failure.
pub(super) async fn gather<T, F>(
    cx: Cx,
    view: &View,
    plan: Plan,
    call: impl Fn(NodeId) -> F,
    mut failed: impl FnMut(NodeId, &PeerError),
) -> Result<Vec<(NodeId, T)>, PeerError>
where
    F: Future<Output = Result<T, PeerError>> + Unpin,
{
    let Plan { order, need, most, extra } = plan;
    if need == 0 || order.len() < need {
        return Err(if view.recovering { PeerError::Syncing } else { PeerError::Unreachable });
    }
    let mut others = order.into_iter();
    let mut open = Open::new();
    for node in others.by_ref().take(need) {
        open.push(node, call(node));
    }
    let (mut answers, mut failure) = (Vec::with_capacity(need), None);
    while answers.len() < need {
        let left = others.len();
        let event = if left > 0 && open.len() < most {
            let patience = hedge(view, open.keys().copied()).saturating_add(extra);
            let slow = cx.sleep(patience, Reason("asking another replica beside a slow one"));
            either(open.next(), slow).await
        } else {
            Either::Left(open.next().await)
        };
        match event {
            Either::Left((node, Ok(answer))) => answers.push((node, answer)),
            Either::Left((node, Err(error))) => {
                failed(node, &error);
                let error = graver(failure.take(), error);
                if left == 0 && open.len() + answers.len() < need {
                    return Err(error);
                }
                failure = Some(error);
                if open.len() + answers.len() < need
                    && let Some(node) = others.next()
                {
                    open.push(node, call(node));
                }
            }
            Either::Right(()) => {
                if let Some(node) = others.next() {
                    open.push(node, call(node));
                }
            }
        }
    }
    Ok(answers)
}

/// Some of the nodes that a [`survey`] asks, so many of which it wants to hear.
struct Group {
    order: Vec<NodeId>,
    /// How many of these have been asked or passed over.
    tried: usize,
    want: usize,
}

/// A [`survey`] under way.
struct Asking<C, T, F> {
    call: C,
    groups: Vec<Group>,
    open: Open<NodeId, F>,
    asked: Vec<NodeId>,
    answers: Vec<(NodeId, T)>,
}

impl<C, T, F> Asking<C, T, F>
where
    C: Fn(NodeId) -> F,
    F: Future<Output = Result<T, PeerError>> + Unpin,
{
    fn answered(&self, group: &Group) -> usize {
        self.answers.iter().filter(|(node, _)| group.order.contains(node)).count()
    }

    fn open(&self, group: &Group) -> usize {
        self.open.keys().filter(|node| group.order.contains(node)).count()
    }

    /// Asks one more of a group. False if all have been asked.
    fn ask(&mut self, group: usize) -> bool {
        let group = &mut self.groups[group];
        while let Some(node) = group.order.get(group.tried).copied() {
            group.tried += 1;
            if !self.asked.contains(&node) {
                self.asked.push(node);
                self.open.push(node, (self.call)(node));
                return true;
            }
        }
        false
    }

    /// Asks as many as it takes to hear what is wanted of each group, if they answer.
    fn top_up(&mut self) {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let lacking = group.want.saturating_sub(self.answered(group) + self.open(group));
            let _enough = (0..lacking).all(|_| self.ask(at));
        }
    }

    fn is_complete(&self) -> bool {
        self.groups.iter().all(|group| self.answered(group) >= group.want || self.open(group) == 0)
    }
}

/// The answers of as many of `replicas` as needed; and of so many members of each of `beside` that what they agree on is on a write quorum
/// of it. For the latter it waits no longer than until another replica would be asked beside a slow one.
///
/// # Errors
/// [`PeerError`] if fewer answer than needed.
pub(super) async fn survey<T, F>(
    cx: Cx,
    view: &View,
    (replicas, need): (Replicas<'_>, usize),
    beside: &[Replicas<'_>],
    call: impl Fn(NodeId) -> F,
) -> Result<Vec<(NodeId, T)>, PeerError>
where
    F: Future<Output = Result<T, PeerError>> + Unpin,
{
    let group = |set: &Replicas<'_>, want| Group { order: order(view, set.nodes), tried: 0, want };
    let groups = std::iter::once(group(&replicas, need))
        .chain(beside.iter().map(|set| group(set, set.sure_quorum())));
    let groups: Vec<Group> = groups.collect();
    if need == 0 || groups[0].order.len() < need {
        return Err(if view.recovering { PeerError::Syncing } else { PeerError::Unreachable });
    }
    let (open, asked, answers) = (Open::new(), Vec::new(), Vec::new());
    let mut asking = Asking { call, groups, open, asked, answers };
    asking.top_up();
    let (mut failure, mut until) = (None, None);
    loop {
        let first = &asking.groups[0];
        let (answered, open) = (asking.answered(first), asking.open(first));
        if answered + open < need {
            return Err(failure.unwrap_or(PeerError::Unreachable));
        }
        if answered >= need && asking.is_complete() {
            return Ok(asking.answers);
        }
        let others = first.order.iter().any(|node| !asking.asked.contains(node));
        let patience = hedge(view, asking.open.keys().copied());
        let patience = if answered >= need {
            let now = cx.now().mono;
            Some(until.get_or_insert(now.after(patience)).since(now))
        } else {
            others.then_some(patience)
        };
        let event = match patience {
            Some(patience) => {
                let slow = cx.sleep(patience, Reason("asking another replica beside a slow one"));
                either(asking.open.next(), slow).await
            }
            None => Either::Left(asking.open.next().await),
        };
        match event {
            Either::Left((node, Ok(answer))) => asking.answers.push((node, answer)),
            Either::Left((_, Err(error))) => {
                failure = Some(graver(failure.take(), error));
                asking.top_up();
            }
            Either::Right(()) if answered >= need => return Ok(asking.answers),
            Either::Right(()) => {
                asking.ask(0);
            }
        }
    }
}
