//! What is found in the directories at a start, and what is made of it.

use std::{fs, path::PathBuf};

use mews_core::{
    daemon::{
        args::{self, Invocation},
        bounds, plan,
        setup::Setup,
        texts::Bound,
    },
    id::{ClusterId, NodeId},
    node::{Api, StateFile, layouts},
    placement::{history::History, layout::Parameters, trackers::Step},
    store::{Batch, Op, SYNCED_KEY, Table},
    time::Timestamp,
};

use crate::place::{Opened, Place};

/// A directory of quickstart's, removed in the end.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mews-place-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        Self(path)
    }

    fn meta(&self, name: &str) -> PathBuf {
        self.0.join(plan::META).join(name)
    }

    fn setup(&self) -> Setup {
        let line = ["quickstart", "--dir", self.0.to_str().expect("a plain name")];
        let Invocation::Quickstart(args) = args::parse("mewsd", &line.map(str::to_owned)) else {
            panic!("not understood");
        };
        Setup::from(args)
    }

    fn open(&self) -> Result<Opened, String> {
        let setup = self.setup();
        let place = Place::open(&setup).map_err(|trouble| trouble.to_string())?;
        let bounds = bounds::bounds(256, 1 << 30, 2);
        place.open_node(&setup, &bounds, 3901).map_err(|trouble| trouble.to_string())
    }

    fn started(&self) -> Opened {
        self.open().expect("it starts")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The database has all that the node is to have by the first version, as a sync says.
fn mark(opened: &Opened) {
    mark_as(opened, 1);
}

fn mark_as(opened: &Opened, version: u64) {
    let value = version.to_be_bytes().to_vec();
    let op = Op::Merge { table: Table::Meta, key: SYNCED_KEY.to_vec(), value, inline: None };
    opened.db.commit(&[Batch::new(Timestamp(0), vec![op])]).expect("committed");
}

/// The layout of a cluster of this node and another, which all go by.
fn of_two(me: NodeId) -> Vec<u8> {
    let other = NodeId([9; 32]);
    let alone = layouts::found(me, layouts::default_role(1 << 30), ClusterId([3; 16]));
    let mut history = History::decode(&alone).expect("it is one");
    let now = Timestamp(1000);
    history.stage(other, Some(layouts::default_role(1 << 30)), now).expect("staged");
    let two = Parameters { replication: 2, ..Parameters::default() };
    history.stage_parameters(two, now).expect("staged");
    let draft = history.draft().expect("there is one");
    history.apply(draft, ClusterId([3; 16]), now).expect("applied");
    for node in [me, other] {
        for step in [Step::Ack, Step::Sync, Step::Read] {
            history.reach(step, node, 1);
        }
    }
    history.encode()
}

#[test]
fn a_database_that_was_put_back_is_noticed() {
    let home = Home::new("put-back");
    let first = home.started();
    mark(&first);
    let boot = first.node.view().boot;
    drop(first);
    let database = home.meta(plan::DATABASE);
    let copy = fs::read(&database).expect("it is there");
    let second = home.started();
    assert_eq!(second.node.view().boot, boot + 1);
    let layout = of_two(second.id);
    drop(second);
    fs::write(&database, &copy).expect("written");
    let again = home.started();
    assert_eq!(again.node.view().boot, boot + 2, "the number of a start is never used again");
    assert!(!again.node.view().recovering, "there is nobody to fetch anything from");
    again.state.save(StateFile::Layout, &layout).expect("saved");
    drop(again);

    let member = home.started();
    assert!(!member.node.view().recovering, "nothing is wrong");
    drop(member);
    // All of the metadata is put back, and the blocks lie where they lay.
    fs::write(&database, &copy).expect("written");
    fs::remove_file(home.meta(plan::STARTS)).expect("removed");
    let member = home.started();
    assert!(member.node.view().recovering, "it lacks what was written since");
    assert_eq!(member.node.view().boot, boot + 4);
    drop(member);
    assert!(home.started().node.view().recovering, "until it has fetched that");
}

#[test]
fn where_the_admin_api_is_found_is_left_beside_the_database() {
    let home = Home::new("admin-url");
    let place = Place::open(&home.setup()).expect("it opens");
    let written = |admin: Option<&str>| {
        let admin = admin.map(|admin| (Api::Admin, admin.parse().expect("an address")));
        let rpc = "127.0.0.1:3901".parse().expect("an address");
        place.write_address(&Bound { rpc, apis: admin.into_iter().collect() }).expect("written");
        fs::read_to_string(home.meta(plan::ADMIN_URL)).ok()
    };
    assert_eq!(written(None), None);
    assert_eq!(written(Some("127.0.0.1:41233")).as_deref(), Some("http://127.0.0.1:41233\n"));
    assert_eq!(written(Some("0.0.0.0:3903")).as_deref(), Some("http://127.0.0.1:3903\n"));
    assert_eq!(written(None), None, "what an earlier start has said is no longer true");
}

#[test]
fn a_cluster_is_founded_once() {
    let home = Home::new("founded");
    let cluster = |opened: &Opened| opened.node.history().cluster();
    let first = home.started();
    let id = first.id;
    mark(&first);
    assert!(cluster(&first).is_some());
    drop(first);
    // Who is alone may begin again with what it has.
    let layout = home.meta(plan::LAYOUT);
    fs::remove_file(&layout).expect("removed");
    let again = home.started();
    assert_eq!((again.id, again.node.history().version()), (id, 1));
    drop(again);

    fs::write(&layout, "rubbish").expect("written");
    let error = home.open().err().expect("it is damaged");
    assert!(error.contains("If there are other nodes, move it away"), "{error}");
    fs::remove_file(&layout).expect("removed");
    // Who knows others does not.
    fs::write(home.meta(plan::PEERS), "\u{1}\u{80}").expect("written");
    let error = home.open().err().expect("it has been in a cluster");
    assert!(error.contains("would begin another"), "{error}");
    assert!(!layout.exists(), "nothing was founded");
    fs::remove_file(home.meta(plan::PEERS)).expect("removed");
    mark_as(&home.started(), 2);
    fs::remove_file(&layout).expect("removed");
    let error = home.open().err().expect("its layout has been changed before");
    assert!(error.contains("would begin another"), "{error}");
}
