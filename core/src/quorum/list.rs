//! Listings: every index shard from a read quorum of its replicas, each node asked once.

use std::collections::BTreeMap;

use super::{
    ask::{Open, hedge, order},
    graver, pages,
    read::fitting,
};
use crate::{
    effect::PeerError,
    flow::{Either, Window, either},
    id::{BucketId, NodeId, Position},
    store::{Answer, Entry, List, Listing, Read},
    task::{Cx, Reason, Wait},
    view::{Replicas, View},
};

/// Doubtful prefixes that are looked into side by side.
const WINDOW: usize = 8;

/// The fewest entries that a replica is asked for: where many keys have just been deleted, a page is mostly tombstones.
const PAGE_MIN: usize = 100;

/// One page of a bucket's listing, over the shards that `list` names: live rows and common prefixes, as a read quorum of each
/// shard has them.
///
/// # Errors
/// [`PeerError`] if too few replicas of a shard answer.
pub async fn list(cx: Cx, view: &View, list: List) -> Result<Listing, PeerError> {
    let mut shards = list.shards.iter().map(|shard| Position::of_shard(list.bucket, *shard));
    let first = shards.next().map(|position| view.ring.replicas(position).nodes);
    if let Some([node]) = first
        && shards.all(|position| view.ring.replicas(position).nodes == [*node])
    {
        let read = Read::List(List { merged: false, ..list });
        return Ok(fitting(&read, cx.read(*node, read.clone()).await?)?.into_listing());
    }
    Box::pin(several(cx, view, list, None)).await
}

/// The same as seen by `nodes`, so many of them that each write of one of the shards, by whatever layout in force, needs one.
///
/// # Errors
/// [`PeerError`] if these are too few, or too few of them answer.
pub async fn list_among(
    cx: Cx,
    view: &View,
    list: List,
    nodes: &[NodeId],
) -> Result<Listing, PeerError> {
    Box::pin(several(cx, view, list, Some(nodes))).await
}

/// The listing, page by page: replicas' pages shrink when they are merged, as deletions that one of them knows of take away what
/// others still have.
async fn several(
    cx: Cx,
    view: &View,
    list: List,
    among: Option<&[NodeId]>,
) -> Result<Listing, PeerError> {
    let limit = list.limit;
    let mut entries: Vec<Entry> = Vec::new();
    // One more than asked for tells whether there are more.
    let page = limit.saturating_add(1).max(PAGE_MIN);
    let mut asked = List { merged: true, limit: page, ..list };
    loop {
        let mut cover = Cover::new(cx, view, &asked, among)?;
        let answered = cover.run().await?;
        let need = |shard: u16| cover.need(shard);
        let merged = pages::merge(&asked, answered, need).map_err(PeerError::Store)?;
        let wanted = limit + 1 - entries.len();
        // Lines beyond these are looked at only if some of these turn out not to be there.
        let mut lines = merged.entries.into_iter();
        while entries.len() <= limit {
            let some: Vec<pages::Line> = lines.by_ref().take(wanted).collect();
            if some.is_empty() {
                break;
            }
            entries.extend(verified(cx, view, &asked, among, some).await?);
        }
        let more = entries.len() > limit;
        match merged.next {
            Some(next) if !more => asked.from = next,
            Some(_) | None => {
                entries.truncate(limit);
                return Ok(Listing { entries, truncated: more });
            }
        }
    }
}

/// Those lines that are there: a prefix on which the replicas disagree is there if any live key under it is.
async fn verified(
    cx: Cx,
    view: &View,
    list: &List,
    among: Option<&[NodeId]>,
    lines: Vec<pages::Line>,
) -> Result<Vec<Entry>, PeerError> {
    let mut entries = Vec::with_capacity(lines.len());
    let mut window = Window::new(WINDOW);
    for line in lines {
        if window.is_full() {
            entries.extend(window.next().await.transpose()?.flatten());
        }
        window.push(Box::pin(async move {
            let prefix = match &line.entry {
                Entry::CommonPrefix { prefix, .. } if !line.certain => prefix.clone(),
                Entry::CommonPrefix { .. } | Entry::Row { .. } => return Ok(Some(line.entry)),
            };
            let under = List {
                prefix,
                delimiter: Vec::new(),
                limit: 1,
                shards: list.shards.clone(),
                from: list.from.clone(),
                ..*list
            };
            let found = several(cx, view, under, among).await?;
            Ok::<_, PeerError>((!found.entries.is_empty()).then_some(line.entry))
        }));
    }
    while let Some(entry) = window.next().await {
        entries.extend(entry?);
    }
    Ok(entries)
}

/// A shard that is to be covered by a read quorum of its replicas.
struct Shard {
    number: u16,
    /// Whom to ask, in this order.
    order: Vec<NodeId>,
    need: usize,
    /// How many of them have been asked.
    asked: usize,
    /// How many of those have not answered yet.
    open: usize,
    answered: usize,
}

impl Shard {
    fn new(
        view: &View,
        number: u16,
        bucket: BucketId,
        among: Option<&[NodeId]>,
    ) -> Result<Self, PeerError> {
        let position = Position::of_shard(bucket, number);
        let (order, need) = match among {
            None => {
                let replicas = view.ring.replicas(position);
                // An empty ring has no quorum; nobody can be asked for it either.
                (order(view, replicas.nodes), replicas.read_quorum().max(1))
            }
            Some(nodes) => writers(view, position, nodes)?,
        };
        Ok(Self { number, order, need, asked: 0, open: 0, answered: 0 })
    }

    fn is_covered(&self) -> bool {
        self.answered >= self.need
    }

    fn next(&mut self) -> Option<NodeId> {
        let node = self.order.get(self.asked).copied()?;
        self.asked += 1;
        self.open += 1;
        Some(node)
    }
}

/// Those of `nodes` that hold `position`, and how many of them every write of it meets.
fn writers(
    view: &View,
    position: Position,
    nodes: &[NodeId],
) -> Result<(Vec<NodeId>, usize), PeerError> {
    let order = order(view, nodes);
    let sets = view.ring.write_sets(position);
    let present = |set: &Replicas<'_>| order.iter().filter(|node| set.nodes.contains(node)).count();
    if sets.iter().any(|set| present(set) < set.write_quorum().max(1)) {
        return Err(if view.recovering { PeerError::Syncing } else { PeerError::Unreachable });
    }
    let holders: Vec<NodeId> =
        order.iter().filter(|node| view.ring.holds(**node, position)).copied().collect();
    // Of several sets, all: which of them make a quorum of each is not worth finding out.
    let need = if let [set] = &sets[..] { set.write_quorum() } else { holders.len() };
    Ok((holders, need))
}

/// A call for a page of a listing.
type Page = Wait<Result<Answer, PeerError>>;

/// Gets pages until every shard is covered.
struct Cover<'a> {
    cx: Cx,
    view: &'a View,
    list: &'a List,
    shards: Vec<Shard>,
    /// Calls under way: whom, and for which of `shards`.
    open: Open<(NodeId, Vec<usize>), Page>,
}

impl<'a> Cover<'a> {
    fn new(
        cx: Cx,
        view: &'a View,
        list: &'a List,
        among: Option<&[NodeId]>,
    ) -> Result<Self, PeerError> {
        let numbers = list.shards.iter();
        let shards = numbers.map(|number| Shard::new(view, *number, list.bucket, among));
        Ok(Self { cx, view, list, shards: shards.collect::<Result<_, _>>()?, open: Open::new() })
    }

    fn need(&self, number: u16) -> usize {
        let shard = self.shards.iter().find(|shard| shard.number == number);
        // A replica that names a shard that it was not asked for convinces nobody.
        shard.map_or(usize::MAX, |shard| shard.need)
    }

    async fn run(&mut self) -> Result<Vec<Listing>, PeerError> {
        let mut pages = Vec::new();
        let mut failure = None;
        self.ask(|shard| shard.need);
        while self.shards.iter().any(|shard| !shard.is_covered()) {
            if self.shards.iter().any(|shard| shard.answered + shard.open < shard.need) {
                return Err(failure.unwrap_or(PeerError::Unreachable));
            }
            let Some(event) = self.next().await else {
                // Slow: whatever is not covered is asked of one more replica.
                self.ask(|shard| if shard.is_covered() { 0 } else { 1 });
                continue;
            };
            let ((_, covered), answer) = event;
            let page = answer.and_then(|answer| fitting(&self.question(&covered), answer));
            for at in covered {
                self.shards[at].open -= 1;
                self.shards[at].answered += usize::from(page.is_ok());
            }
            match page.map(Answer::into_listing) {
                Ok(page) if page.truncated && page.entries.is_empty() => {
                    return Err(PeerError::Malformed);
                }
                Ok(page) => pages.push(page),
                Err(error) => {
                    failure = Some(graver(failure.take(), error));
                    self.ask(|shard| shard.need.saturating_sub(shard.answered + shard.open));
                }
            }
        }
        Ok(pages)
    }

    fn question(&self, shards: &[usize]) -> Read {
        let shards = shards.iter().map(|at| self.shards[*at].number).collect();
        Read::List(List { shards, ..self.list.clone() })
    }

    /// Asks as many more replicas of each shard as `more` says, each node once.
    fn ask(&mut self, more: impl Fn(&Shard) -> usize) {
        let mut calls: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for (at, shard) in self.shards.iter_mut().enumerate() {
            for _ in 0..more(shard) {
                if let Some(node) = shard.next() {
                    calls.entry(node).or_default().push(at);
                }
            }
        }
        for (node, shards) in calls {
            let question = self.question(&shards);
            self.open.push((node, shards), self.cx.read(node, question));
        }
    }

    /// The next answer; `None` if it takes too long and there are others to ask.
    #[allow(clippy::type_complexity, reason = "an answer with what it was asked for")]
    async fn next(&mut self) -> Option<((NodeId, Vec<usize>), Result<Answer, PeerError>)> {
        let others =
            self.shards.iter().any(|each| !each.is_covered() && each.asked < each.order.len());
        if !others || self.open.is_empty() {
            return Some(self.open.next().await);
        }
        let patience = hedge(self.view, self.open.keys().map(|(node, _)| *node));
        let slow = self.cx.sleep(patience, Reason("asking another replica beside a slow one"));
        match either(self.open.next(), slow).await {
            Either::Left(answer) => Some(answer),
            Either::Right(()) => None,
        }
    }
}
