//! What a peer asks, done here.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{BlockHead, Reply, Request, decode_request, encode_reply};
use crate::{
    admin,
    block::{Payload, seal},
    effect::PeerError,
    id::NodeId,
    quorum,
    seed::Seed,
    store::{
        Answer, Batch, Read, Table,
        digest::{Findings, Question},
    },
    task::{Cx, Task},
    view::View,
    wire::Message,
};

/// Where a served request leaves its reply; set once its task is done. A task that ends without one has panicked.
pub type Slot = Arc<OnceLock<Message>>;

/// A peer's request as a task. It performs effects of the own node only, and has no client.
pub fn serve(view: Arc<View>, peer: NodeId, message: Message, seed: Seed) -> (Task, Slot) {
    let slot = Slot::default();
    let result = Arc::clone(&slot);
    let task = Task::new("peer's request", seed, |cx| async move {
        let answered = match decode_request(&message) {
            Ok(request) => logged(cx, &view, peer, request, message.payload).await,
            Err(error) => Err(error),
        };
        let (reply, payload) =
            answered.unwrap_or_else(|error| (Reply::Failed(error), Bytes::new()));
        slot.set(encode_reply(&reply, payload)).expect("a request is answered once");
    });
    (task, result)
}

/// What lines about the requests of other nodes are logged under.
pub const PEERS: &str = "peers";

/// Answers a request, and names the client's request that it is for in whatever is logged meanwhile.
async fn logged(
    cx: Cx,
    view: &View,
    peer: NodeId,
    request: Request,
    payload: Bytes,
) -> Result<(Reply, Bytes), PeerError> {
    let (name, began, serves) = (request.name(), cx.now().mono, request.request());
    if let Some(id) = serves {
        cx.serves(id);
    }
    let answered = answer(cx, view, request, payload).await;
    if serves.is_none() && matches!(answered, Ok((Reply::Block(_), _))) {
        view.metrics.sent.of(peer).increment();
    }
    let failure = answered.as_ref().err();
    log::debug!(
        target: PEERS,
        operation = name,
        millis = cx.now().mono.since(began).as_secs_f64() * 1000.0,
        peer = peer.to_string().as_str();
        "{name} for {peer}{}", failure.map(|error| format!(": {error}")).unwrap_or_default()
    );
    answered
}

/// What a batch queues here is due by this node's clock, and by it the batch is in time or late.
fn arrived(cx: Cx, batch: Batch) -> Batch {
    Batch { at: cx.now().wall, ..batch }
}

async fn answer(
    cx: Cx,
    view: &View,
    request: Request,
    payload: Bytes,
) -> Result<(Reply, Bytes), PeerError> {
    let at = view.node;
    let reply = match request {
        Request::Read { layout, vouched, read, .. } => {
            check_layout(view, layout)?;
            if !read.is_bounded() {
                return Err(PeerError::Malformed);
            }
            // What a node has it may show, so that two that have lost something do not wait for each other.
            if !view.vouches_for(vouched) && !matches!(read, Read::Compare(_)) {
                return Err(PeerError::Syncing);
            }
            let wanted = wanted_rows(&read);
            let answer = cx.read(at, read).await?;
            count_sent(view, wanted, &answer);
            Reply::Answer(answer)
        }
        Request::Commit { layout, batch, .. } => {
            check_layout(view, layout)?;
            Reply::Outcome(cx.commit(at, arrived(cx, batch)).await?)
        }
        Request::StoreBlock { layout, block, then, .. } => {
            check_layout(view, layout)?;
            let block = verified(block, payload)?;
            Reply::Outcome(cx.store_block(at, block, arrived(cx, then)).await?)
        }
        Request::LoadBlock { hash, .. } => {
            let loaded = cx.load_block(at, hash).await;
            if let Err(PeerError::Missing | PeerError::Corrupt | PeerError::Disk(_)) = loaded {
                // Whoever asked believes that it is here.
                quorum::look_at(cx, view, hash).await;
            }
            let (head, bytes) = BlockHead::of(&loaded?);
            return Ok((Reply::Block(head), bytes));
        }
        Request::Holds { blocks, .. } => Reply::Held(cx.holds(at, blocks).await?),
        Request::Admin(call) => Reply::Admin(Box::pin(admin::answer_peer(cx, view, &call)).await),
        // Answered by the node's machine, before a task is made of the request.
        Request::Gossip(_) => return Err(PeerError::Malformed),
    };
    Ok((reply, Bytes::new()))
}

/// The table whose rows another replica asks for, because they differ there.
fn wanted_rows(read: &Read) -> Option<Table> {
    if let Read::Compare(Question::Rows { table, .. }) = read { Some(*table) } else { None }
}

fn count_sent(view: &View, wanted: Option<Table>, answer: &Answer) {
    if let (Some(table), Answer::Compared(Findings::Rows(rows))) = (wanted, answer) {
        view.metrics.table(table).sent.add(rows.iter().flatten().count() as u64);
    }
}

/// A sender whose layout is older than all that are in force here knows nothing of replicas that its write must reach. One
/// that is newer is fine: what it asks of this node, this node does.
fn check_layout(view: &View, layout: u64) -> Result<(), PeerError> {
    if layout < view.ring.oldest() { Err(PeerError::Outdated) } else { Ok(()) }
}

fn verified(head: BlockHead, bytes: Bytes) -> Result<Payload, PeerError> {
    let BlockHead { hash, form } = head;
    seal::verify(hash, form, bytes, seal::BLOCK_MAX).map_err(|error| {
        log::error!("block {hash} came damaged from a peer: {error}");
        PeerError::Corrupt
    })
}
