//! What `quickstart` makes sure of before it serves: a bucket, an access key, and what the key may do.
//!
//! What was asked for by name is ensured at every start; what was not is made at the first start alone, so that a start
//! never brings back what somebody deleted.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use crate::{
    daemon::{identity::KeyPair, trouble::Trouble},
    effect::PeerError,
    id::BucketId,
    quorum,
    rpc::Origin,
    seed::Seed,
    store::{Batch, Guard, Op, Outcome, Read, StoreError, Table},
    table::{
        self,
        access::{AccessKeyRow, AliasRow, BucketRow, Lww, Permissions},
    },
    task::{Cx, Task},
    time::Stamp,
    view::{Config, View, Web},
};

/// The name that quickstart gives to its access key, and finds it again by.
pub const KEY_NAME: &str = "quickstart";
/// The bucket of a first start that names none.
pub const BUCKET: &str = "default";

/// The name under which `BUCKET.localhost` reaches a bucket: browsers and resolvers take every name below it for this machine
/// (RFC 6761, section 6.3).
pub const ROOT_DOMAIN: &str = "localhost";

/// The same for `BUCKET.web.localhost` and its website.
pub const WEB_ROOT_DOMAIN: &str = "web.localhost";

/// The configuration of a store that nobody has configured.
pub fn config() -> Config {
    let web = Web { root_domain: Some(WEB_ROOT_DOMAIN.to_owned()), ..Web::default() };
    Config { root_domain: Some(ROOT_DOMAIN.to_owned()), web, ..Config::default() }
}

/// What should be there.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `--bucket`.
    pub bucket: Option<String>,
    /// `--access-key` and `--secret-key`.
    pub key: Option<KeyPair>,
    /// A new key from the operating system's randomness, for a first start that names none.
    pub fresh: KeyPair,
}

/// What is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The key to show; none if somebody deleted it.
    pub key: Option<KeyPair>,
    /// A bucket that the key may use, by name.
    pub bucket: Option<String>,
}

/// Why quickstart could not ensure what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuickstartError {
    /// The database did not answer.
    Peer(PeerError),
    /// `--access-key` names a key that has another secret.
    OtherSecret(String),
    /// `--access-key` names a key that was deleted; a deleted id never comes back.
    KeyDeleted(String),
    /// Something else changed the same rows meanwhile.
    Raced,
}

impl std::fmt::Display for QuickstartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer(error) => error.fmt(f),
            Self::OtherSecret(id) => write!(
                f,
                "the access key {id} exists with another secret. Start with the secret it has, with another --access-key, or without one"
            ),
            Self::KeyDeleted(id) => write!(
                f,
                "the access key {id} was deleted, and a deleted id never comes back. Choose another --access-key"
            ),
            Self::Raced => write!(f, "buckets or keys changed during the start. Start again"),
        }
    }
}

impl std::error::Error for QuickstartError {}

impl From<PeerError> for QuickstartError {
    fn from(error: PeerError) -> Self {
        Self::Peer(error)
    }
}

impl From<StoreError> for QuickstartError {
    fn from(error: StoreError) -> Self {
        Self::Peer(PeerError::Store(error))
    }
}

/// What a start makes of it. In a cluster, a promise that cannot be kept now is no reason not to serve: the nodes that it takes
/// may come up later.
///
/// # Errors
/// The start fails.
pub fn settle(
    view: &View,
    result: Result<Prepared, QuickstartError>,
) -> Result<Option<Prepared>, Trouble> {
    match result {
        Ok(prepared) => Ok(Some(prepared)),
        Err(QuickstartError::Peer(error)) if view.ring.everyone() != [view.node] => {
            log::warn!("cannot make sure of quickstart's key and bucket now: {error}");
            Ok(None)
        }
        Err(error) => Err(Trouble::Quickstart { reason: error.to_string() }),
    }
}

/// Where the task leaves its result; set once the task is done.
pub type Slot = Arc<OnceLock<Result<Prepared, QuickstartError>>>;

/// The flow as a task, and where it leaves its result.
pub fn task(view: Arc<View>, seed: Seed, wanted: Wanted) -> (Task, Slot) {
    let slot = Slot::default();
    let result = Arc::clone(&slot);
    let origin = Origin::of(&view.ring);
    let task = Task::new("quickstart", seed, |cx| async move {
        let prepared = prepare(cx, &view, wanted).await;
        slot.set(prepared).expect("the flow ends once");
    });
    (task.of(origin), result)
}

/// Ensures what is wanted, in one batch: after a crash all of it is there, or nothing.
pub async fn prepare(cx: Cx, view: &View, wanted: Wanted) -> Result<Prepared, QuickstartError> {
    let found = find_key(cx, view, &wanted).await?;
    let first = matches!(found, FoundKey::None);
    let (key, before) = match found {
        FoundKey::Deleted => return Ok(Prepared { key: None, bucket: wanted.bucket }),
        FoundKey::Live(key, row) => (key, Some(*row)),
        FoundKey::None => (wanted.key.clone().unwrap_or_else(|| wanted.fresh.clone()), None),
    };
    let mut change = Change::new(cx);
    let mut row = before.clone().unwrap_or_else(|| change.new_key(&key));
    let name = wanted.bucket.or_else(|| first.then(|| BUCKET.to_owned()));
    let bucket = match name {
        Some(name) => {
            let alias = bucket_named(cx, view, &name).await?;
            let id = match alias.bucket.value {
                Some(id) => id,
                None => {
                    // Later than the deletion of a bucket that had this name.
                    change.stamp = Stamp::past(change.batch.at, alias.bucket.at);
                    change.create_bucket(cx, view, &name)
                }
            };
            // An entry that is there already, even one that was taken back, is somebody's decision.
            row.buckets.entry(id).or_insert(Lww { at: change.stamp, value: Permissions::ALL });
            Some(name)
        }
        None => shown_bucket(cx, view, &row).await?,
    };
    if before.as_ref() != Some(&row) {
        change.merge(Table::AccessKey, key.id.clone().into_bytes(), table::encode(&row));
    }
    change.commit(cx, view).await?;
    Ok(Prepared { key: Some(key), bucket })
}

enum FoundKey {
    None,
    Deleted,
    Live(KeyPair, Box<AccessKeyRow>),
}

/// The key that was asked for; or else the one that an earlier quickstart made.
async fn find_key(cx: Cx, view: &View, wanted: &Wanted) -> Result<FoundKey, QuickstartError> {
    let Some(key) = &wanted.key else {
        return find_own_key(cx, view).await;
    };
    let keys = vec![(Table::AccessKey, key.id.clone().into_bytes())];
    let Some(bytes) = quorum::get_local(cx, view, keys).await?.into_iter().flatten().next() else {
        return Ok(FoundKey::None);
    };
    let row: AccessKeyRow = table::decode(Table::AccessKey, &bytes)?;
    if row.deleted {
        Err(QuickstartError::KeyDeleted(key.id.clone()))
    } else if row.secret != key.secret {
        Err(QuickstartError::OtherSecret(key.id.clone()))
    } else {
        Ok(FoundKey::Live(key.clone(), Box::new(row)))
    }
}

/// How many rows a page of the search has.
const PAGE: usize = 256;

async fn find_own_key(cx: Cx, view: &View) -> Result<FoundKey, QuickstartError> {
    let mut found = FoundKey::None;
    let mut from = Vec::new();
    loop {
        let scan = Read::Scan { table: Table::AccessKey, from, until: None, limit: PAGE };
        let rows = quorum::read_local(cx, view, scan).await?.into_rows();
        for (id, bytes) in &rows {
            let row: AccessKeyRow = table::decode(Table::AccessKey, bytes)?;
            if row.name.value != KEY_NAME {
                continue;
            }
            if !row.deleted {
                let id = String::from_utf8_lossy(id).into_owned();
                return Ok(FoundKey::Live(
                    KeyPair { id, secret: row.secret.clone() },
                    Box::new(row),
                ));
            }
            found = FoundKey::Deleted;
        }
        match rows.into_iter().nth(PAGE - 1) {
            Some((mut last, _)) => {
                last.push(0);
                from = last;
            }
            None => return Ok(found),
        }
    }
}

async fn bucket_named(cx: Cx, view: &View, name: &str) -> Result<AliasRow, QuickstartError> {
    let keys = vec![(Table::Alias, name.as_bytes().to_vec())];
    match quorum::get_local(cx, view, keys).await?.into_iter().flatten().next() {
        Some(bytes) => Ok(table::decode(Table::Alias, &bytes)?),
        None => Ok(AliasRow { bucket: Lww { at: Stamp::default(), value: None } }),
    }
}

/// A bucket to show beside the key: [`BUCKET`] if the key may use it, or the first by name.
async fn shown_bucket(
    cx: Cx,
    view: &View,
    row: &AccessKeyRow,
) -> Result<Option<String>, QuickstartError> {
    let usable = row.buckets.iter().filter(|(_, may)| may.value != Permissions::default());
    let keys = usable.take(PAGE).map(|(id, _)| (Table::Bucket, id.0.to_vec())).collect();
    let mut names = Vec::new();
    for bytes in quorum::get_local(cx, view, keys).await?.into_iter().flatten() {
        let bucket: BucketRow = table::decode(Table::Bucket, &bytes)?;
        if !bucket.deleted {
            names.extend(
                bucket.aliases.into_iter().filter(|(_, on)| on.value).map(|(name, _)| name),
            );
        }
    }
    names.sort_by_key(|name| (name != BUCKET, name.clone()));
    Ok(names.into_iter().next())
}

/// The batch in the making.
struct Change {
    stamp: Stamp,
    batch: Batch,
}

impl Change {
    fn new(cx: Cx) -> Self {
        let wall = cx.now().wall;
        Self { stamp: Stamp::from_wall(wall), batch: Batch::new(wall, Vec::new()) }
    }

    fn merge(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.batch.ops.push(Op::Merge { table, key, value, inline: None });
    }

    fn new_key(&mut self, key: &KeyPair) -> AccessKeyRow {
        self.batch
            .guards
            .push(Guard::Absent { table: Table::AccessKey, key: key.id.clone().into_bytes() });
        AccessKeyRow {
            created: self.batch.at,
            secret: key.secret.clone(),
            name: Lww { at: self.stamp, value: KEY_NAME.to_owned() },
            create_bucket: Lww { at: self.stamp, value: true },
            ..AccessKeyRow::default()
        }
    }

    fn create_bucket(&mut self, cx: Cx, view: &View, name: &str) -> BucketId {
        let id = BucketId(cx.random());
        let alias = AliasRow { bucket: Lww { at: self.stamp, value: Some(id) } };
        let bucket = BucketRow {
            created: self.batch.at,
            shards: view.config.index_shards,
            aliases: BTreeMap::from([(name.to_owned(), Lww { at: self.stamp, value: true })]),
            ..BucketRow::default()
        };
        let key = name.as_bytes().to_vec();
        self.batch.guards.push(Guard::Absent { table: Table::Alias, key: key.clone() });
        self.merge(Table::Alias, key, table::encode(&alias));
        self.merge(Table::Bucket, id.0.to_vec(), table::encode(&bucket));
        id
    }

    async fn commit(self, cx: Cx, view: &View) -> Result<(), QuickstartError> {
        if self.batch.ops.is_empty() {
            return Ok(());
        }
        match quorum::write_full_copy(cx, view, self.batch).await? {
            Outcome::Applied(_) => Ok(()),
            Outcome::Refused { .. } => Err(QuickstartError::Raced),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        effect::{Completion, Effect},
        id::NodeId,
        store::{
            apply::{self, Delays},
            map::MapStore,
            read,
        },
        time::{Instant, Now, Timestamp},
    };

    /// A database and a clock that goes on from start to start.
    #[derive(Default)]
    struct World {
        store: MapStore,
        starts: u64,
        commits: usize,
    }

    impl World {
        fn start(
            &mut self,
            bucket: Option<&str>,
            key: Option<(&str, &str)>,
        ) -> Result<Prepared, QuickstartError> {
            self.starts += 1;
            let pair =
                |id: &str, secret: &str| KeyPair { id: id.to_owned(), secret: secret.to_owned() };
            let wanted = Wanted {
                bucket: bucket.map(str::to_owned),
                key: key.map(|(id, secret)| pair(id, secret)),
                fresh: pair(&format!("GK{}", self.starts), "fresh"),
            };
            let view = View::single(NodeId::default(), self.starts, Config::default());
            let seed = Seed::new([u8::try_from(self.starts).expect("few"); 32]);
            let (mut task, slot) = task(Arc::new(view), seed, wanted);
            let now = Now { mono: Instant(self.starts), wall: Timestamp(self.starts * 1000) };
            task.start(now);
            while let Some((id, effect)) = task.poll_effect() {
                task.handle_event(now, id, self.perform(effect));
            }
            slot.get().expect("the task is done").clone()
        }

        fn perform(&mut self, effect: Effect) -> Completion {
            #[allow(clippy::wildcard_enum_match_arm)]
            match effect {
                Effect::Read { read, .. } => {
                    Completion::Read(read::read(&read, &self.store).map_err(PeerError::Store))
                }
                Effect::Commit { batch, .. } => {
                    self.commits += 1;
                    Completion::Committed(self.apply(&batch).map_err(PeerError::Store))
                }
                other => panic!("quickstart wants {other:?}"),
            }
        }

        fn apply(&mut self, batch: &Batch) -> Result<Outcome, StoreError> {
            let delays = Delays { block: Duration::ZERO, tombstone: Duration::ZERO };
            apply::apply(batch, &mut self.store, &delays)
        }

        /// Merges a change into the one row of a table.
        fn change<R: serde::Serialize + serde::de::DeserializeOwned>(
            &mut self,
            table: Table,
            change: impl FnOnce(&mut R, Stamp),
        ) {
            let (key, value) = self.store.rows(table).next().expect("a row");
            let (key, mut row) = (key.to_vec(), table::decode(table, value).expect("sound"));
            change(&mut row, Stamp::from_wall(Timestamp(self.starts * 1000 + 500)));
            let value = table::encode(&row);
            let merge = Op::Merge { table, key, value, inline: None };
            self.apply(&Batch::new(Timestamp(self.starts * 1000 + 500), vec![merge]))
                .expect("applied");
        }

        fn key(&self, id: &str) -> AccessKeyRow {
            let mut rows = self.store.rows(Table::AccessKey);
            let (_, value) = rows.find(|(key, _)| *key == id.as_bytes()).expect("the key");
            table::decode(Table::AccessKey, value).expect("sound")
        }
    }

    fn shown(prepared: &Prepared) -> (Option<&str>, Option<&str>) {
        (prepared.key.as_ref().map(|key| key.id.as_str()), prepared.bucket.as_deref())
    }

    #[test]
    fn a_first_start_makes_bucket_and_key_and_later_ones_change_nothing() {
        let mut world = World::default();
        let first = world.start(None, None).expect("prepared");
        assert_eq!(shown(&first), (Some("GK1"), Some("default")));
        let row = world.key("GK1");
        assert!(row.create_bucket.value);
        assert_eq!(
            row.buckets.values().map(|may| may.value).collect::<Vec<_>>(),
            [Permissions::ALL]
        );
        assert_eq!(world.commits, 1, "all of it or nothing");
        assert_eq!(world.start(None, None), Ok(first.clone()));
        assert_eq!(world.start(None, None), Ok(first));
        assert_eq!(world.commits, 1);
    }

    #[test]
    fn what_is_asked_for_by_name_is_ensured_at_every_start() {
        let mut world = World::default();
        let ask = |world: &mut World| world.start(Some("photos"), Some(("me", "my-secret")));
        let first = ask(&mut world).expect("prepared");
        assert_eq!(shown(&first), (Some("me"), Some("photos")));
        assert_eq!(ask(&mut world), Ok(first));
        assert_eq!(world.commits, 1);
        world.start(Some("films"), Some(("me", "my-secret"))).expect("prepared");
        assert_eq!(world.key("me").buckets.len(), 2);
    }

    #[test]
    fn a_deleted_bucket_comes_back_only_if_asked_for() {
        let mut world = World::default();
        world.start(None, None).expect("prepared");
        world.change(Table::Alias, |row: &mut AliasRow, at| {
            row.bucket = Lww { at, value: None };
        });
        world.change(Table::Bucket, |row: &mut BucketRow, _| row.deleted = true);
        let again = world.start(None, None).expect("prepared");
        assert_eq!(shown(&again), (Some("GK1"), None));
        assert_eq!(world.commits, 1);
        let asked = world.start(Some("default"), None).expect("prepared");
        assert_eq!(shown(&asked), (Some("GK1"), Some("default")));
        assert_eq!(world.commits, 2);
    }

    #[test]
    fn permissions_that_were_taken_back_stay_so() {
        let mut world = World::default();
        world.start(Some("photos"), None).expect("prepared");
        world.change(Table::AccessKey, |row: &mut AccessKeyRow, at| {
            row.buckets
                .values_mut()
                .for_each(|may| *may = Lww { at, value: Permissions::default() });
        });
        world.start(Some("photos"), None).expect("prepared");
        let may: Vec<_> = world.key("GK1").buckets.values().map(|may| may.value).collect();
        assert_eq!(may, [Permissions::default()]);
    }

    #[test]
    fn a_deleted_key_never_comes_back() {
        let mut world = World::default();
        world.start(None, Some(("me", "my-secret"))).expect("prepared");
        world.change(Table::AccessKey, |row: &mut AccessKeyRow, _| row.deleted = true);
        assert_eq!(shown(&world.start(None, None).expect("prepared")).0, None);
        let refused = world.start(None, Some(("me", "my-secret")));
        assert_eq!(refused, Err(QuickstartError::KeyDeleted("me".to_owned())));
    }

    #[test]
    fn another_secret_is_refused() {
        let mut world = World::default();
        world.start(None, Some(("me", "my-secret"))).expect("prepared");
        let refused = world.start(None, Some(("me", "not-my-secret")));
        assert_eq!(refused, Err(QuickstartError::OtherSecret("me".to_owned())));
        assert_eq!(world.commits, 1);
    }
}
