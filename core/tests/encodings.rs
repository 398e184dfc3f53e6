//! A sample of every row and job encoding ever released is kept in `testdata/encodings` and must decode for ever; what this
//! program writes is compared with the newest of them.
#![allow(clippy::disallowed_methods)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::Path,
};

use mews_core::{
    checksum::{Algorithm, Checksum, ChecksumKind, Scope},
    id::{BucketId, Hash, NodeId, Position, VersionId},
    store::Table,
    table::{
        CounterRow,
        access::{
            AccessKeyRow, AliasRow, BucketRow, CorsMethod, CorsRule, Lww, Permissions, Protocol,
            PublicRead, Quotas, RedirectAll, Replace, RoutingRule, Website,
        },
        block::{BlockCountRow, BlockErrorRow, BlockListRow, BlockRefRow, FetchRow},
        decode, encode,
        object::{Content, Data, Meta, ObjectRow, Parts},
        queue::Job,
        token::{self, AdminTokenRow},
        upload::{IntentRow, ManifestPart, ManifestRow, PartRow, UploadRow},
    },
    time::{Stamp, Timestamp},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

const HASH: Hash = Hash([0x11; 32]);
const BUCKET: BucketId = BucketId([0x22; 16]);

fn version(n: u64) -> VersionId {
    VersionId::new(Stamp(n << 16), [0x33; 8])
}

/// The samples on file: `name: hex`, a line each. `#` begins a comment.
struct Samples {
    stored: BTreeMap<String, String>,
    missing: Vec<String>,
}

impl Samples {
    fn load() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/encodings/rows-1.txt");
        let text = std::fs::read_to_string(&path).expect("the samples are in the repository");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let stored = lines.map(|line| {
            let (name, hex) = line.split_once(": ").expect("name: hex");
            (name.to_owned(), hex.to_owned())
        });
        Self { stored: stored.collect(), missing: Vec::new() }
    }

    fn check<R: Serialize + DeserializeOwned + PartialEq + Debug>(
        &mut self,
        table: Table,
        name: &str,
        row: &R,
    ) {
        let ours = hex::encode(encode(row));
        let Some(stored) = self.stored.remove(name) else {
            self.missing.push(format!("{name}: {ours}"));
            return;
        };
        let bytes = hex::decode(&stored).expect("hexadecimal");
        let decoded: R = decode(table, &bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&decoded, row, "{name} has changed its meaning");
        assert_eq!(ours, stored, "{name} is written in another way now: that is a new format");
    }

    fn finish(self) {
        let missing = self.missing.join("\n");
        assert!(self.missing.is_empty(), "not in the file of samples yet:\n{missing}");
        let left: Vec<_> = self.stored.keys().collect();
        assert!(left.is_empty(), "samples that nothing reads any more: {left:?}");
    }
}

fn meta() -> Meta {
    Meta {
        size: 1 << 40,
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        headers: vec![
            ("content-type".to_owned(), ByteBuf::from(*b"text/plain")),
            ("x-amz-meta-raw".to_owned(), ByteBuf::from([0xff, 0x00])),
        ],
        checksum: Some(checksum(Algorithm::Crc64Nvme, Scope::FullObject, 8)),
    }
}

fn checksum(algorithm: Algorithm, scope: Scope, len: usize) -> Checksum {
    Checksum { algorithm, scope, value: vec![0x44; len] }
}

fn part(checksum: Option<Checksum>) -> PartRow {
    PartRow { data: version(4), size: 5 << 20, block_max: 1 << 20, etag: "ab".repeat(16), checksum }
}

#[test]
fn every_row_kind_reads_and_writes_as_it_always_did() {
    let mut samples = Samples::load();
    objects(&mut samples);
    uploads(&mut samples);
    access(&mut samples);
    blocks(&mut samples);
    jobs(&mut samples);
    samples.finish();
}

fn objects(samples: &mut Samples) {
    let row = |content| ObjectRow { version: version(1), content };
    let object = Table::Object;
    samples.check(object, "object.deleted", &row(Content::Deleted));
    samples.check(object, "object.inline.plain", &row(Content::Inline(Meta::default())));
    samples.check(object, "object.inline", &row(Content::Inline(meta())));
    let data = Data { data: version(2), block_max: 1 << 20 };
    samples.check(object, "object.blocks", &row(Content::Blocks(meta(), data)));
    let parts =
        Parts { upload: version(3), count: 600, pages: vec![0, 500 * (5 << 20)], completion: None };
    samples.check(object, "object.parts", &row(Content::Parts(meta(), parts.clone())));
    let parts = Parts { completion: Some(version(4)), ..parts };
    samples.check(object, "object.parts.completion", &row(Content::Parts(meta(), parts)));
    let counter = CounterRow { objects: 1, bytes: 1 << 40, uploads: 2 };
    samples.check(Table::Counter, "counter", &counter);
}

fn uploads(samples: &mut Samples) {
    let open = UploadRow::Open {
        headers: meta().headers,
        checksum: Some(ChecksumKind { algorithm: Algorithm::Sha256, scope: Scope::Composite }),
        initiator: "MK123".to_owned(),
    };
    samples.check(Table::Upload, "upload.open", &open);
    let open = UploadRow::Open { headers: vec![], checksum: None, initiator: String::new() };
    samples.check(Table::Upload, "upload.open.plain", &open);
    let completed = UploadRow::Closed { etag: Some("ab-2".to_owned()) };
    samples.check(Table::Upload, "upload.completed", &completed);
    samples.check(Table::Upload, "upload.aborted", &UploadRow::Closed { etag: None });
    samples.check(Table::Part, "part.plain", &part(None));
    let kinds = [
        ("part.crc32", Algorithm::Crc32, 4),
        ("part.crc32c", Algorithm::Crc32c, 4),
        ("part.sha1", Algorithm::Sha1, 20),
        ("part.sha256", Algorithm::Sha256, 32),
    ];
    for (name, algorithm, len) in kinds {
        let row = part(Some(checksum(algorithm, Scope::Composite, len)));
        samples.check(Table::Part, name, &row);
    }
    let parts = [1, 7].map(|number| ManifestPart {
        number,
        offset: u64::from(number - 1) << 20,
        part: part(None),
    });
    samples.check(
        Table::Manifest,
        "manifest",
        &ManifestRow { parts: parts.clone().into(), completion: None },
    );
    let row = ManifestRow { parts: parts.into(), completion: Some(version(4)) };
    samples.check(Table::Manifest, "manifest.completion", &row);
    let old = IntentRow::Writing { boot: 300, node: NodeId::default() };
    samples.check(Table::Intent, "intent.writing", &old);
    let writing = IntentRow::Writing { boot: 300, node: NodeId([0x55; 32]) };
    samples.check(Table::Intent, "intent.writing.node", &writing);
    samples.check(Table::Intent, "intent.abandoned", &IntentRow::Abandoned);
    samples.check(Table::Intent, "intent.done", &IntentRow::Done);
    samples.check(Table::Intent, "intent.dropped", &IntentRow::Dropped);
}

fn lww<T>(value: T) -> Lww<T> {
    Lww { at: Stamp(1 << 33), value }
}

fn website(error: Option<&str>) -> Website {
    let error = error.map(str::to_owned);
    Website { index: "index.html".to_owned(), error, ..Website::default() }
}

/// A website with a rule that says everything that one can say, and others that say less.
fn routed() -> Website {
    let whole = RoutingRule {
        prefix: Some("old/".to_owned()),
        error: Some(404),
        host: Some("www.example.org".to_owned()),
        protocol: Some(Protocol::Https),
        status: Some(302),
        replace: Some(Replace::Prefix("new/".to_owned())),
    };
    let key = Some(Replace::Key("app.html".to_owned()));
    let some = RoutingRule { status: Some(200), replace: key, ..RoutingRule::default() };
    let plain = RoutingRule { protocol: Some(Protocol::Http), ..RoutingRule::default() };
    Website { rules: vec![whole, some, plain], ..website(None) }
}

/// A rule that says everything that one can say, and one that says as little as it may.
fn cors() -> Vec<CorsRule> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    use CorsMethod::{Delete, Get, Head, Post, Put};
    let whole = CorsRule {
        id: Some("uploads".to_owned()),
        origins: texts(&["https://*.example.org", "https://example.org"]),
        methods: vec![Get, Put, Post, Delete, Head],
        headers: texts(&["x-amz-*"]),
        expose: texts(&["ETag"]),
        max_age: Some(3600),
    };
    let bare = CorsRule { origins: texts(&["*"]), methods: vec![Get], ..CorsRule::default() };
    vec![whole, bare]
}

fn access(samples: &mut Samples) {
    samples.check(Table::Alias, "alias.taken", &AliasRow { bucket: lww(Some(BUCKET)) });
    samples.check(Table::Alias, "alias.free", &AliasRow { bucket: lww(None) });
    let bucket = BucketRow {
        created: Timestamp(1_700_000_000_000),
        shards: 16,
        deleted: false,
        aliases: BTreeMap::from([("photos".to_owned(), lww(true))]),
        ..BucketRow::default()
    };
    samples.check(Table::Bucket, "bucket", &bucket);
    let seals = BTreeMap::from([("photos".to_owned(), Stamp(1 << 33))]);
    samples.check(Table::Bucket, "bucket.sealed", &BucketRow { seals, ..bucket.clone() });
    let quotas = Quotas { max_size: Some(1 << 40), max_objects: Some(1000) };
    let configured = BucketRow {
        quotas: lww(quotas),
        website: lww(Some(website(Some("404.html")))),
        ..bucket.clone()
    };
    samples.check(Table::Bucket, "bucket.configured", &configured);
    let some = Quotas { max_size: Some(1 << 40), max_objects: None };
    let part = BucketRow { quotas: lww(some), website: lww(Some(website(None))), ..bucket.clone() };
    samples.check(Table::Bucket, "bucket.configured.part", &part);
    let routed = BucketRow { website: lww(Some(routed())), ..bucket.clone() };
    samples.check(Table::Bucket, "bucket.website.rules", &routed);
    let all = RedirectAll { host: "www.example.org".to_owned(), protocol: None };
    let all = Website { redirect_all: Some(all), ..Website::default() };
    let moved = BucketRow { website: lww(Some(all)), ..bucket.clone() };
    samples.check(Table::Bucket, "bucket.website.moved", &moved);
    let public = |prefixes| lww(Some(PublicRead { prefixes }));
    let whole = BucketRow { public_read: public(BTreeSet::new()), ..bucket.clone() };
    samples.check(Table::Bucket, "bucket.public", &whole);
    let prefixes = BTreeSet::from(["img/".to_owned()]);
    let part = BucketRow { public_read: public(prefixes), ..bucket.clone() };
    samples.check(Table::Bucket, "bucket.public.part", &part);
    samples.check(Table::Bucket, "bucket.cors", &BucketRow { cors: lww(cors()), ..bucket });
    let permissions = Permissions { read: true, write: false, owner: true };
    let key = AccessKeyRow {
        created: Timestamp(1_700_000_000_000),
        secret: "sekrit".to_owned(),
        name: lww("laptop".to_owned()),
        deleted: false,
        create_bucket: lww(true),
        buckets: BTreeMap::from([(BUCKET, lww(permissions))]),
        ..AccessKeyRow::default()
    };
    samples.check(Table::AccessKey, "access_key", &key);
    let aliases = [("mine".to_owned(), lww(Some(BUCKET))), ("gone".to_owned(), lww(None))];
    let key = AccessKeyRow {
        expiration: lww(Some(Timestamp(1_800_000_000_000))),
        aliases: BTreeMap::from(aliases),
        ..key
    };
    samples.check(Table::AccessKey, "access_key.local", &key);
    let token = AdminTokenRow {
        created: Timestamp(1_700_000_000_000),
        hash: [0x66; 32],
        deleted: false,
        name: lww("dashboard".to_owned()),
        expires: lww(Some(Timestamp(1_800_000_000_000))),
        scope: lww(token::Scope::Calls(
            ["GetClusterHealth".to_owned(), "Metrics".to_owned()].into(),
        )),
    };
    samples.check(Table::AdminToken, "admin_token", &token);
    let token =
        AdminTokenRow { deleted: true, expires: lww(None), scope: lww(token::Scope::All), ..token };
    samples.check(Table::AdminToken, "admin_token.deleted", &token);
}

fn blocks(samples: &mut Samples) {
    let list = BlockListRow { block: HASH, len: 1 << 20 };
    samples.check(Table::BlockList, "block_list", &list);
    samples.check(Table::BlockRef, "block_ref.live", &BlockRefRow::Live { owner: None });
    let owned = BlockRefRow::Live { owner: Some(Position(0x1234)) };
    samples.check(Table::BlockRef, "block_ref.live.owner", &owned);
    samples.check(Table::BlockRef, "block_ref.dropped", &BlockRefRow::Dropped);
    let counted = BlockCountRow { refs: 3, dropped: None };
    samples.check(Table::BlockCount, "block_count", &counted);
    let dropped = BlockCountRow { refs: 0, dropped: Some(Timestamp(1_700_000_000_000)) };
    samples.check(Table::BlockCount, "block_count.dropped", &dropped);
    samples.check(Table::Fetch, "fetch", &FetchRow { queued: Timestamp(5) });
    let error = BlockErrorRow {
        errors: 3,
        first: Timestamp(1),
        last: Timestamp(2),
        next: Timestamp(3),
        reason: "node unreachable".to_owned(),
    };
    samples.check(Table::BlockError, "block_error", &error);
}

fn jobs(samples: &mut Samples) {
    let position = Position(0x1234);
    let key = Some(vec![1, 2]);
    let jobs = [
        ("job.drop_data", Job::DropData { position, data: version(1), unless: None }),
        ("job.drop_data.unless", Job::DropData { position, data: version(1), unless: key.clone() }),
        ("job.drop_upload", Job::DropUpload { position, upload: version(1), unless: None }),
        ("job.drop_upload.unless", Job::DropUpload { position, upload: version(1), unless: key }),
        (
            "job.drop_part",
            Job::DropPart { position, upload: version(1), data: version(2), since: None },
        ),
        ("job.tidy_upload", Job::TidyUpload { position, upload: version(1) }),
        ("job.collect", Job::Collect { table: 5, key: vec![1, 2], value: vec![3, 4], since: None }),
        ("job.reap", Job::Reap { block: HASH }),
    ];
    for (name, job) in jobs {
        samples.check(Table::Queue, name, &job);
    }
}

#[test]
fn row_keys_are_made_as_they_always_were() {
    use mews_core::table::key;
    let position = Position(0x1234);
    let keys = [
        (key::object(BUCKET, 3, b"a//b"), "2b98222222222222222222222222222222220003612f2f62"),
        (
            key::upload(BUCKET, 3, b"a\0b", version(1)),
            "2b9822222222222222222222222222222222000361 00ff 62 0000 00000000000100003333333333333333",
        ),
        (key::inline(position, version(1)), "123400000000000100003333333333333333"),
        (key::part(position, version(1), 7), "1234000000000001000033333333333333330007"),
        (key::manifest(position, version(1), 2), "1234000000000001000033333333333333330002"),
        (key::intent(position, version(1)), "123400000000000100003333333333333333"),
        (
            key::block_list(position, version(1), 1 << 20),
            "1234000000000001000033333333333333330000000000100000",
        ),
        (
            key::block_ref(HASH, version(1)),
            "1111111111111111111111111111111111111111111111111111111111111111 00000000000100003333333333333333",
        ),
    ];
    for (key, expected) in keys {
        assert_eq!(hex::encode(key), expected.replace(' ', ""));
    }
    assert_eq!(key::shard_of(b"a//b", 16), 8);
}

#[test]
fn table_numbers_in_queued_jobs_stay() {
    let names = Table::ALL.map(Table::name);
    let then = [
        "meta",
        "alias",
        "bucket",
        "access_key",
        "admin_token",
        "object",
        "inline",
        "upload",
        "part",
        "manifest",
        "intent",
        "block_list",
        "block_ref",
        "block_count",
        "counter",
        "queue",
    ];
    assert_eq!(names[..then.len()], then);
}
