use std::fmt::Debug;

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
};

use super::*;
use crate::{
    checksum::{Algorithm, ChecksumKind, Scope},
    id::{BucketId, Hash, NodeId, Position, VersionId},
    table::{
        access::{
            CorsMethod, CorsRule, Permissions, PublicRead, Quotas, RedirectAll, Replace,
            RoutingRule, Website,
        },
        object::{Content, Data, Meta, Parts},
        token,
        upload::ManifestPart,
    },
    time::{Stamp, Timestamp},
};

// Small domains, so that stamps, versions and keys meet often: ties are where a merge goes wrong.

fn version() -> impl Strategy<Value = VersionId> {
    (0..3_u64, 0..2_u8).prop_map(|(at, tail)| VersionId::new(Stamp(at), [tail; 8]))
}

fn lww<T: Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Lww<T>> {
    (0..3_u64, value).prop_map(|(at, value)| Lww { at: Stamp(at), value })
}

fn meta() -> impl Strategy<Value = Meta> {
    (0..3_u64, "[ab]?").prop_map(|(size, etag)| Meta { size, etag, ..Meta::default() })
}

fn object() -> impl Strategy<Value = ObjectRow> {
    let content = prop_oneof![
        Just(Content::Deleted),
        meta().prop_map(Content::Inline),
        (meta(), version(), 0..2_u32)
            .prop_map(|(meta, data, block_max)| Content::Blocks(meta, Data { data, block_max })),
        (meta(), version()).prop_map(|(meta, upload)| {
            Content::Parts(meta, Parts { upload, count: 1, pages: vec![0], completion: None })
        }),
    ];
    (version(), content).prop_map(|(version, content)| ObjectRow { version, content })
}

fn upload() -> impl Strategy<Value = UploadRow> {
    let kind = ChecksumKind { algorithm: Algorithm::Crc32, scope: Scope::Composite };
    prop_oneof![
        (option::of(Just(kind)), "[ab]?").prop_map(|(checksum, initiator)| UploadRow::Open {
            headers: Vec::new(),
            checksum,
            initiator
        }),
        option::of("[ab]?").prop_map(|etag| UploadRow::Closed { etag }),
    ]
}

fn part() -> impl Strategy<Value = PartRow> {
    let part = (version(), 0..2_u64, "[ab]?");
    part.prop_map(|(data, size, etag)| PartRow { data, size, block_max: 1, etag, checksum: None })
}

fn manifest() -> impl Strategy<Value = ManifestRow> {
    let part = (0..3_u16, part());
    let part = part.prop_map(|(number, part)| ManifestPart { number, offset: 0, part });
    let completion = prop_oneof![Just(None), (1..4_u8).prop_map(|at| Some(VersionId([at; 16])))];
    (vec(part, 0..2), completion).prop_map(|(parts, completion)| ManifestRow { parts, completion })
}

fn intent() -> impl Strategy<Value = IntentRow> {
    prop_oneof![
        (0..3_u64, 0..2_u8)
            .prop_map(|(boot, node)| IntentRow::Writing { boot, node: NodeId([node; 32]) }),
        Just(IntentRow::Abandoned),
        Just(IntentRow::Done),
        Just(IntentRow::Dropped),
    ]
}

fn block_list() -> impl Strategy<Value = BlockListRow> {
    (0..2_u8, 0..2_u32).prop_map(|(hash, len)| BlockListRow { block: Hash([hash; 32]), len })
}

fn block_ref() -> impl Strategy<Value = BlockRefRow> {
    prop_oneof![
        option::of((0..2_u16).prop_map(Position)).prop_map(|owner| BlockRefRow::Live { owner }),
        Just(BlockRefRow::Dropped),
    ]
}

fn bucket_id() -> impl Strategy<Value = BucketId> {
    (0..2_u8).prop_map(|id| BucketId([id; 16]))
}

fn alias() -> impl Strategy<Value = AliasRow> {
    lww(option::of(bucket_id())).prop_map(|bucket| AliasRow { bucket })
}

fn website() -> impl Strategy<Value = Website> {
    let host = option::of("[ab]".prop_map(|host| RedirectAll { host, protocol: None }));
    let replace = prop_oneof![
        Just(None),
        "[ab]?".prop_map(|text| Some(Replace::Prefix(text))),
        "[ab]?".prop_map(|text| Some(Replace::Key(text))),
    ];
    let rule = (option::of("[ab]?"), option::of(404..406_u16), replace);
    let rule = rule.prop_map(|(prefix, error, replace)| RoutingRule {
        prefix,
        error,
        replace,
        ..RoutingRule::default()
    });
    let website = ("[ab]", option::of("[ab]"), host, vec(rule, 0..3));
    website.prop_map(|(index, error, redirect_all, rules)| Website {
        index,
        error,
        redirect_all,
        rules,
    })
}

fn cors() -> impl Strategy<Value = Vec<CorsRule>> {
    let method = prop_oneof![Just(CorsMethod::Get), Just(CorsMethod::Put)];
    let rule = (option::of("[ab]"), vec("[ab]", 0..2), vec(method, 0..2), option::of(0..2_u32));
    let rule = rule.prop_map(|(id, origins, methods, max_age)| CorsRule {
        id,
        origins,
        methods,
        max_age,
        ..CorsRule::default()
    });
    vec(rule, 0..3)
}

fn bucket() -> impl Strategy<Value = BucketRow> {
    let aliases = btree_map("[ab]", lww(any::<bool>()), 0..3);
    let seals = btree_map("[ab]", (0..3_u64).prop_map(Stamp), 0..3);
    let quotas = (option::of(0..2_u64), option::of(0..2_u64));
    let quotas = lww(quotas.prop_map(|(max_size, max_objects)| Quotas { max_size, max_objects }));
    let website = lww(option::of(website()));
    let public = btree_set("[ab]", 0..3).prop_map(|prefixes| PublicRead { prefixes });
    let public = lww(option::of(public));
    let fixed = (0..3_u64, 1..3_u16, any::<bool>());
    let configured = (quotas, website, public, lww(cors()));
    let bucket = (fixed, aliases, seals, configured);
    bucket.prop_map(|((created, shards, deleted), aliases, seals, configured)| {
        let (created, (quotas, website, public_read, cors)) = (Timestamp(created), configured);
        BucketRow { created, shards, deleted, aliases, seals, quotas, website, public_read, cors }
    })
}

fn access_key() -> impl Strategy<Value = AccessKeyRow> {
    let permissions = any::<[bool; 3]>();
    let permissions =
        permissions.prop_map(|[read, write, owner]| Permissions { read, write, owner });
    let key = (
        0..3_u64,
        "[st]",
        lww("[ab]".prop_map(String::from)),
        any::<bool>(),
        lww(any::<bool>()),
        btree_map(bucket_id(), lww(permissions), 0..3),
        lww(option::of((0..3_u64).prop_map(Timestamp))),
        btree_map("[ab]", lww(option::of(bucket_id())), 0..3),
    );
    key.prop_map(|(created, secret, name, deleted, create_bucket, buckets, expiration, aliases)| {
        AccessKeyRow {
            created: Timestamp(created),
            secret,
            name,
            deleted,
            create_bucket,
            buckets,
            expiration,
            aliases,
        }
    })
}

fn admin_token() -> impl Strategy<Value = AdminTokenRow> {
    let scope =
        prop_oneof![Just(token::Scope::All), btree_set("[ab]", 0..3).prop_map(token::Scope::Calls)];
    let token = (
        0..3_u64,
        0..2_u8,
        any::<bool>(),
        lww("[ab]".prop_map(String::from)),
        lww(option::of((0..3_u64).prop_map(Timestamp))),
        lww(scope),
    );
    token.prop_map(|(created, hash, deleted, name, expires, scope)| AdminTokenRow {
        created: Timestamp(created),
        hash: [hash; 32],
        deleted,
        name,
        expires,
        scope,
    })
}

/// The laws on rows, and on bytes: whatever the order, every replica ends with the same bytes.
fn laws<R: Row + Debug>(a: R, b: R, c: R) {
    let merge = |x: &R, y: &R| x.clone().merge(y.clone());
    assert_eq!(merge(&a, &b), merge(&b, &a), "commutative");
    assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)), "associative");
    assert_eq!(merge(&a, &a), a, "idempotent");
    assert_eq!(merge(&merge(&a, &b), &b), merge(&a, &b), "absorbing");

    let [a, b, c] = [encode(&a), encode(&b), encode(&c)];
    let merge = |x: &[u8], y: &[u8]| {
        encoded(R::TABLE, x.to_vec(), y.to_vec()).expect("rows of this table decode")
    };
    assert_eq!(merge(&a, &b), merge(&b, &a), "commutative in bytes");
    assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)), "associative in bytes");
    assert_eq!(merge(&a, &a), a, "idempotent in bytes");
}

macro_rules! merge_laws {
    ($($row:ident),* $(,)?) => {
        mod merge_laws {
            use super::*;

            $(proptest! {
                #[test]
                fn $row(a in super::$row(), b in super::$row(), c in super::$row()) {
                    laws(a, b, c);
                }
            })*
        }
    };
}

merge_laws!(
    object,
    upload,
    part,
    manifest,
    intent,
    block_list,
    block_ref,
    alias,
    bucket,
    access_key,
    admin_token,
);

#[test]
fn a_completed_upload_absorbs_an_aborted_one() {
    let completed = UploadRow::Closed { etag: Some(String::new()) };
    let aborted = UploadRow::Closed { etag: None };
    assert_eq!(aborted.clone().merge(completed.clone()), completed);
    assert_eq!(completed.clone().merge(aborted), completed);
}

#[test]
fn a_merge_that_changes_nothing_writes_nothing() {
    let old = ObjectRow {
        version: VersionId::new(Stamp(2), [0; 8]),
        content: Content::Inline(Meta::default()),
    };
    let new = ObjectRow { version: VersionId::new(Stamp(1), [9; 8]), content: Content::Deleted };
    let merged = rows::<ObjectRow>(Some(&encode(&old)), &encode(&new)).expect("rows decode");
    assert_eq!((merged.write, &merged.after), (None, &old));
}

fn row(at: u64, content: Content) -> Vec<u8> {
    encode(&ObjectRow { version: VersionId::new(Stamp(at), [0; 8]), content })
}

#[test]
fn a_quorum_of_answers_gives_the_newest_row_with_its_own_payload() {
    let read = Read::Object { key: vec![0; 21], payload: true };
    let answer = |at, payload: &'static [u8]| {
        let row = row(at, Content::Inline(Meta::default()));
        Answer::Object(Some(Found { row, inline: Some(payload.into()), blocks: Vec::new() }))
    };
    for (a, b) in [(1, 2), (2, 1)] {
        let payload = |at| if at == 2 { &b"new"[..] } else { &b"old"[..] };
        let merged = answers(&read, answer(a, payload(a)), answer(b, payload(b)));
        assert_eq!(merged, Ok(answer(2, b"new")));
    }
    let merged = answers(&read, Answer::Object(None), answer(1, b"old"));
    assert_eq!(merged, Ok(answer(1, b"old")));
}

#[test]
fn a_quorum_of_listings_merges_rows_and_keeps_to_the_limit() {
    let list = crate::store::List {
        table: Table::Object,
        bucket: BucketId::default(),
        shards: vec![0],
        prefix: Vec::new(),
        delimiter: Vec::new(),
        from: crate::store::From::Start,
        limit: 2,
        merged: false,
    };
    let entry = |key: &str, at| Entry::Row {
        key: key.into(),
        upload: None,
        value: row(at, Content::Inline(Meta::default())),
    };
    let page = |entries, truncated| Answer::Listing(Listing { entries, truncated });
    let merged = answers(
        &Read::List(list),
        page(vec![entry("a", 1), entry("c", 1)], false),
        page(vec![entry("a", 2), entry("b", 1)], false),
    );
    assert_eq!(merged, Ok(page(vec![entry("a", 2), entry("b", 1)], true)));
}
