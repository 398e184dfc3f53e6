use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    id::{ClusterId, Position, RequestId},
    node::gossip::{Card, Digest, Known, Space},
    seed::Seed,
    store::{
        Applied, Guard, Op, StoreError, Table,
        digest::{Question, RowKey},
        recount::Recount,
    },
    task::Task,
    time::{Now, Stamp, Timestamp},
    view::{Config, Consistency, Ring, View},
};

const HERE: NodeId = NodeId([1; 32]);
const HASH: Hash = Hash([2; 32]);

fn batch() -> Batch {
    let merge = Op::Merge {
        table: Table::Object,
        key: vec![1, 2],
        value: vec![3, 4],
        inline: Some(Bytes::from_static(b"small")),
    };
    let remove = Op::Remove { table: Table::Part, key: vec![5] };
    let guard = Guard::Absent { table: Table::Alias, key: b"name".to_vec() };
    Batch::new(Timestamp(7), vec![merge, remove]).guarded(guard)
}

fn gossip() -> Gossip {
    Gossip {
        card: Card {
            boot: 3,
            hostname: "garage".to_owned(),
            version: "0.1.0".to_owned(),
            address: Some("garage.example:3901".to_owned()),
            port: Some(3901),
            disk: Some(Space { total: 9, available: 4 }),
            recovering: true,
        },
        clock: Timestamp(1_750_000_000_000),
        cluster: Some(ClusterId([8; 16])),
        peers: vec![Known { id: HERE, addresses: vec!["10.0.0.1:3901".to_owned()] }],
        missed: true,
        layout: Some(Digest([9; 16])),
        layouts: None,
    }
}

fn requests() -> BTreeMap<&'static str, Request> {
    let get = Read::Get(vec![(Table::Bucket, vec![1; 16])]);
    let head = BlockHead { hash: HASH, form: Form::Zstd };
    BTreeMap::from([
        ("request read", Request::Read { layout: 4, vouched: 3, read: get, request: None }),
        ("request commit", Request::Commit { layout: 4, batch: batch(), request: None }),
        (
            "request store",
            Request::StoreBlock { layout: 4, block: head, then: batch(), request: None },
        ),
        ("request load", Request::LoadBlock { hash: HASH, request: None }),
        ("request holds", Request::Holds { blocks: vec![HASH], request: None }),
        ("request gossip", Request::Gossip(Box::new(gossip()))),
    ])
}

fn replies() -> BTreeMap<&'static str, Reply> {
    let applied = Applied { superseded_by: Some(Stamp(6)), ..Applied::default() };
    let damaged = StoreError::Damaged { table: Table::Upload, reason: "cut".to_owned() };
    BTreeMap::from([
        ("reply values", Reply::Answer(Answer::Values(vec![None, Some(vec![1, 2])]))),
        ("reply rows", Reply::Answer(Answer::Rows(vec![(vec![1], vec![2])]))),
        ("reply applied", Reply::Outcome(Outcome::Applied(applied))),
        ("reply refused", Reply::Outcome(Outcome::Refused { guard: 1 })),
        ("reply block", Reply::Block(BlockHead { hash: HASH, form: Form::Plain })),
        ("reply held", Reply::Held(vec![true, false])),
        ("reply gossip", Reply::Gossip(Box::new(gossip()))),
        ("reply outdated", Reply::Failed(PeerError::Outdated)),
        ("reply damaged", Reply::Failed(PeerError::Store(damaged))),
    ])
}

/// Nodes of neighbouring releases talk to each other: what is on file must decode to the same for ever.
#[test]
fn messages_are_encoded_as_they_are_on_file() {
    let text = include_str!("../../../testdata/encodings/messages-1.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut stored: BTreeMap<&str, &str> =
        lines.map(|line| line.split_once(": ").expect("name: hex")).collect();
    let mut missing = Vec::new();
    let mut check = |name: &str, head: Bytes, decodes: &dyn Fn(&Message) -> bool| {
        let ours = hex::encode(&head);
        let Some(theirs) = stored.remove(name) else {
            missing.push(format!("{name}: {ours}"));
            return;
        };
        let head = hex::decode(theirs).expect("hexadecimal").into();
        assert!(
            decodes(&Message { head, payload: Bytes::new() }),
            "{name} has changed its meaning"
        );
        assert_eq!(ours, theirs, "{name} is written in another way now: that is a new format");
    };
    for (name, request) in requests() {
        let head = encode_request(&request, Bytes::new()).head;
        check(name, head, &|message| decode_request(message).as_ref() == Ok(&request));
    }
    for (name, reply) in replies() {
        let head = encode_reply(&reply, Bytes::new()).head;
        check(name, head, &|message| decode_reply(message).as_ref() == Ok(&reply));
    }
    assert!(missing.is_empty(), "not on file yet:\n{}", missing.join("\n"));
    assert!(stored.is_empty(), "samples that nothing reads any more: {stored:?}");
}

/// An older release reads over it, and asks without it.
#[test]
fn a_request_carries_the_id_of_the_client_s_for_sixteen_bytes_at_most() {
    let id = RequestId([0xab; 8]);
    let effect = || Effect::LoadBlock { at: HERE, hash: HASH };
    let sent = |request| call(effect(), Origin { request, ..Origin::default() }).unwrap().message;
    let (without, with) = (sent(None), sent(Some(id)));
    let block = seal::seal(Bytes::from_static(b"plain"), None);
    let ask = AdminCall { call: String::new(), parameters: String::new(), request: None };
    let effects = || {
        [
            effect(),
            Effect::Read { at: HERE, read: Read::Get(Vec::new()) },
            Effect::Commit { at: HERE, batch: batch() },
            Effect::StoreBlock { at: HERE, block: block.clone(), then: batch() },
            Effect::Holds { at: HERE, blocks: vec![HASH] },
            Effect::Ask { at: HERE, call: ask.clone() },
        ]
    };
    for (plain, marked) in effects().into_iter().zip(effects()) {
        let name = plain.name();
        let plain = call(plain, Origin::default()).unwrap().message;
        let marked = call(marked, Origin { request: Some(id), ..Origin::default() }).unwrap();
        assert!(marked.message.head.len() <= plain.head.len() + 16, "{name}");
        assert_eq!(decode_request(&marked.message).unwrap().request(), Some(id), "{name}");
        assert_eq!(decode_request(&plain).unwrap().request(), None, "{name}");
    }
    let old = |message: &Message| {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        enum Old {
            #[serde(rename = "g")]
            LoadBlock {
                #[serde(rename = "h")]
                hash: Hash,
            },
        }
        ciborium::from_reader::<Old, _>(&message.head[1..]).unwrap()
    };
    assert_eq!(old(&with), old(&without));
    for (message, request) in [(&without, None), (&with, Some(id))] {
        let decoded = decode_request(message).unwrap();
        assert_eq!(decoded.request(), request);
        let (view, seed) = (Arc::new(view()), Seed::new([0; 32]));
        let (mut task, _slot) = serve(view, HERE, message.clone(), seed);
        task.start(Now::default());
        assert_eq!(task.request(), request, "what it logs names it");
    }
}

#[test]
fn only_gossip_is_taken_for_gossip() {
    for (name, request) in requests() {
        let message = encode_request(&request, Bytes::new());
        assert_eq!(is_gossip(&message), name == "request gossip", "{name}");
    }
}

/// Runs a peer's request up to its first effect, and gives that or the reply.
fn serve_one(view: View, request: &Request, payload: Bytes) -> Result<Effect, Reply> {
    let message = encode_request(request, payload);
    let (mut task, slot): (Task, Slot) = serve(Arc::new(view), HERE, message, Seed::new([0; 32]));
    task.start(Now::default());
    match task.poll_effect() {
        Some((_, effect)) => Ok(effect),
        None => Err(decode_reply(slot.get().expect("it is done")).unwrap()),
    }
}

fn view() -> View {
    View::single(HERE, 1, Config::default())
}

#[test]
fn a_sender_that_knows_no_layout_in_force_is_refused() {
    let commit = |layout| Request::Commit { layout, batch: batch(), request: None };
    let refused = serve_one(view(), &commit(0), Bytes::new());
    assert!(matches!(refused, Err(Reply::Failed(PeerError::Outdated))));
    for layout in [1, 2] {
        let served = serve_one(view(), &commit(layout), Bytes::new());
        assert!(matches!(served, Ok(Effect::Commit { at: HERE, .. })), "newer is fine");
    }
}

#[test]
fn a_node_that_has_lost_rows_answers_no_reads_and_takes_writes() {
    let view = || View { recovering: true, ..view() };
    let read = Request::Read {
        layout: 1,
        vouched: 1,
        read: Read::Get(vec![(Table::Object, vec![1, 2, 3])]),
        request: None,
    };
    let answer = serve_one(view(), &read, Bytes::new());
    assert!(matches!(answer, Err(Reply::Failed(PeerError::Syncing))));
    let commit = Request::Commit { layout: 1, batch: batch(), request: None };
    assert!(serve_one(view(), &commit, Bytes::new()).is_ok());
}

/// Two nodes, of which the second is new in the second layout.
fn changing() -> Ring {
    let near = |node: NodeId| (0, node);
    let [first, second] = [(1, 1), (2, 2)].map(|(version, holders)| {
        let all = || (0..holders).collect();
        crate::testing::cluster::layout(version, holders, |_| all())
    });
    Ring::new(&[&first, &second], 1, &[], Consistency::Consistent, &near)
}

#[test]
fn what_a_node_does_not_find_counts_only_if_it_has_all_that_others_count_on() {
    let (first, second) = (crate::testing::cluster::node(0), crate::testing::cluster::node(1));
    let none = Ring::empty();
    for (node, ring, complete, vouched, answers) in [
        (first, none.clone(), 0, 0, false),
        (first, none, 0, 1, false),
        // The first layout of a cluster: there has been nothing to lose.
        (first, changing(), 0, 0, true),
        (first, changing(), 0, 1, false),
        (first, changing(), 1, 1, true),
        // Of the second it knows nothing more than that there is one; the asker knows that it had everything.
        (second, changing(), 1, 2, false),
        (second, changing(), 2, 2, true),
        // Nobody counts on it for what the first layout gives to others.
        (second, changing(), 0, 1, true),
        // A layout that it has never heard of.
        (second, changing(), 2, 3, false),
    ] {
        let view = View { node, ring, complete, ..view() };
        let read = Read::Get(vec![(Table::Object, vec![1, 2, 3])]);
        let served = serve_one(
            view,
            &Request::Read { layout: 3, vouched, read, request: None },
            Bytes::new(),
        );
        let refused = matches!(served, Err(Reply::Failed(PeerError::Syncing)));
        assert_eq!(!refused, answers, "{node} complete for {complete}, asked by {vouched}");
    }
}

#[test]
fn a_peer_gets_no_more_than_a_page() {
    let scan = |limit| {
        let (table, from) = (Table::Object, vec![]);
        Read::Scan { table, from, until: None, limit }
    };
    let hashes = |limit| {
        let range = (RowKey::from(vec![]), None);
        Read::Compare(Question::Hashes { table: Table::Object, range, limit })
    };
    let rows = |bytes| Read::Compare(Question::Rows { table: Table::Object, keys: vec![], bytes });
    let cut = Question::Cut { table: Table::Object, range: (RowKey::from(vec![]), None), rows: 1 };
    let served = |read| {
        serve_one(
            view(),
            &Request::Read { layout: 1, vouched: 1, read, request: None },
            Bytes::new(),
        )
    };
    for read in [scan(10_000), hashes(256), rows(1 << 20), Read::Count(vec![Table::Object])] {
        assert!(matches!(served(read.clone()), Ok(Effect::Read { .. })), "{read:?}");
    }
    let keys = Read::Get(vec![(Table::Object, vec![1]); 10_001]);
    let counts = Read::Recount(Recount::Position(Position(1)));
    let many = [scan(usize::MAX), hashes(usize::MAX), rows(usize::MAX), keys, counts];
    for read in many.into_iter().chain([Read::Compare(cut)]) {
        let answer = served(read.clone());
        assert!(matches!(answer, Err(Reply::Failed(PeerError::Malformed))), "{read:?}");
    }
}

#[test]
fn a_block_is_verified_where_it_arrives_and_keeps_its_form() {
    let plain = Bytes::from(vec![7; 10_000]);
    let block = seal::seal(plain.clone(), Some(1));
    let effect = Effect::StoreBlock { at: HERE, block: block.clone(), then: batch() };
    let sent = call(effect, Origin { layout: 1, ..Origin::default() }).unwrap();
    assert_eq!((sent.to, sent.priority, sent.expect), (HERE, Priority::Bulk, Expect::Committed));
    let request = decode_request(&sent.message).unwrap();
    match serve_one(view(), &request, sent.message.payload.clone()) {
        Ok(Effect::StoreBlock { block: arrived, .. }) => assert_eq!(arrived, block),
        other => panic!("{other:?}"),
    }
    let mut damaged = sent.message.payload.to_vec();
    damaged[12] ^= 1;
    let answer = serve_one(view(), &request, damaged.into());
    assert!(matches!(answer, Err(Reply::Failed(PeerError::Corrupt))), "{answer:?}");
    // And the other way round.
    let (head, bytes) = BlockHead::of(&block);
    let reply = encode_reply(&Reply::Block(head), bytes);
    match completion(Expect::Loaded(block.hash()), Ok(reply.clone())) {
        Completion::Loaded(Ok(loaded)) => assert_eq!(loaded.plain(), Some(plain)),
        other => panic!("{other:?}"),
    }
    let other = completion(Expect::Loaded(HASH), Ok(reply));
    assert!(matches!(other, Completion::Loaded(Err(PeerError::Malformed))), "another block");
}

#[test]
fn an_answer_to_another_question_is_no_answer() {
    let reply = |reply: &Reply| Ok(encode_reply(reply, Bytes::new()));
    let held = Reply::Held(vec![true]);
    let answer = completion(Expect::Read, reply(&held));
    assert!(matches!(answer, Completion::Read(Err(PeerError::Malformed))));
    let answer = completion(Expect::Held(2), reply(&held));
    assert!(matches!(answer, Completion::Held(Err(PeerError::Malformed))));
    let answer = completion(Expect::Held(1), reply(&held));
    assert!(matches!(answer, Completion::Held(Ok(held)) if held == [true]));
    let lost = completion(Expect::Committed, Err(PeerError::TimedOut));
    assert!(matches!(lost, Completion::Committed(Err(PeerError::TimedOut))));
    let origin = Origin { background: true, ..Origin::default() };
    let load = call(Effect::LoadBlock { at: HERE, hash: HASH }, origin).unwrap();
    assert_eq!((load.priority, load.patience), (Priority::Background, Duration::from_secs(60)));
    assert!(call(Effect::Send(Bytes::new()), origin).is_none(), "not another node's business");
}

proptest! {
    #[test]
    fn no_bytes_upset_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let message = Message { head: bytes.into(), payload: Bytes::new() };
        let _ = decode_request(&message);
        let _ = decode_reply(&message);
    }

    #[test]
    fn damage_decodes_to_an_error_or_to_something(
        which in 0usize..6,
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let request = requests().into_values().nth(which).unwrap();
        let mut head = encode_request(&request, Bytes::new()).head.to_vec();
        let at = at.index(head.len());
        if cut { head.truncate(at) } else { head[at] = byte }
        let message = Message { head: head.into(), payload: Bytes::new() };
        let decoded = decode_request(&message);
        prop_assert!(!cut || decoded.is_err());
    }
}
