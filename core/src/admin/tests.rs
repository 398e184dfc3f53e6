mod aliases;
mod buckets;
mod connecting;
mod deletion;
mod inspection;
mod keys;
mod listings;
mod openapi;
mod permissions;
mod uploads;
mod websites;

use std::sync::Arc;

use serde_json::json;

use super::{
    admit::admit,
    auth::Tokens,
    call::Call,
    cluster,
    document::document,
    layout,
    query::Query,
    serve::{call, nothing, response},
    stored::estimate,
    token, worker,
};
use crate::{
    id::{ClusterId, NodeId},
    node::{
        Contact, Node, NodeEffect, Setup,
        layouts::default_role,
        status::{JobError, NodeStatus, Status},
    },
    placement::{history::History, layout::Parameters},
    seed::Seed,
    testing::cluster::Cluster,
    time::{Instant, Now, Timestamp},
    view::{Config, Consistency},
};

const ME: NodeId = NodeId([0x11; 32]);

fn node() -> (Node, Status) {
    let now = Now { mono: Instant(0), wall: Timestamp(1_700_000_000_000) };
    let setup = Setup::alone(ME, 1, Config::default(), Seed::new([1; 32]));
    let mut node = Node::new(setup, now).expect("nothing is saved");
    node.listens_at("127.0.0.1:3901".to_owned());
    let status = node.status(now);
    (node, status)
}

#[test]
fn a_call_is_found_by_its_name_and_method_alone() {
    for known in Call::ALL {
        let path = format!("/v2/{}", known.name());
        assert_eq!(call(known.method().name(), &path).ok(), Some(*known), "{path}");
        let other = if known.method().name() == "GET" { "POST" } else { "GET" };
        assert_eq!(call(other, &path).map_err(|error| error.status), Err(405), "{path}");
    }
    for path in ["/", "/v2/", "/v2/getclusterstatus", "/v1/status", "/v2/GetClusterStatus/"] {
        assert_eq!(call("GET", path).map_err(|error| error.status), Err(404), "{path}");
    }
}

#[test]
fn what_would_be_ignored_is_refused() {
    let revert = |body: &[u8]| nothing(Call::RevertClusterLayout, body).is_ok();
    assert!([&b""[..], b"null", b"{}"].into_iter().all(revert));
    assert!(![&b"{\"version\": 3}"[..], b"[1]", b"3", b"not JSON"].into_iter().any(revert));

    let role = |mut fields: serde_json::Value| {
        fields["id"] = json!(ME.to_string());
        document::<layout::RoleChange>(fields.to_string().as_bytes())?.parse()
    };
    assert!(role(json!({ "remove": true })).is_ok_and(|(_, role)| role.is_none()));
    assert!(role(json!({ "remove": true, "zone": null, "tags": [] })).is_ok());
    for more in [json!({ "zone": "a" }), json!({ "capacity": 1 }), json!({ "tags": ["ssd"] })] {
        let mut fields = more;
        fields["remove"] = json!(true);
        assert!(role(fields.clone()).is_err_and(|error| error.status == 400), "{fields}");
    }
}

#[test]
fn a_browser_is_told_what_it_may_send() {
    let names = |method| {
        let head = response(method, 200, 0);
        let names = head.headers.into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with("access-control-")).collect::<Vec<_>>()
    };
    assert_eq!(names("GET"), ["access-control-allow-origin"]);
    let all = ["allow-origin", "allow-methods", "allow-headers"];
    assert_eq!(names("OPTIONS"), all.map(|name| format!("access-control-{name}")));
}

#[test]
fn the_status_of_a_node_alone_has_this_shape() {
    let (node, status) = node();
    let mut json = cluster::get_status(node.view(), &status);
    json["jobs"] = json!([]);
    json["clusterId"] = json!(null);
    json["nodes"][0]["garageVersion"] = json!("x");
    let capacity = json["nodes"][0]["role"]["capacity"].take();
    assert!(capacity.is_u64());
    let id = ME.to_string();
    let expected = json!({
        "layoutVersion": 1,
        "clusterId": null,
        "node": id,
        "waitingFor": [],
        "consistencyMode": "consistent",
        "nodes": [{
            "id": id, "garageVersion": "x", "addr": "127.0.0.1:3901", "hostname": "", "isUp": true,
            "lastSeenSecsAgo": null,
            "role": { "zone": "default", "capacity": null, "tags": [] },
            "draining": false, "dataPartition": null, "metadataPartition": null, "rttMillis": null,
            "clockSkewMillis": null, "recovering": false,
        }],
        "jobs": [],
    });
    assert_eq!(json, expected);
}

#[test]
fn the_health_and_the_history_of_a_node_alone_have_this_shape() {
    let (_, status) = node();
    let health = json!({
        "status": "healthy", "knownNodes": 1, "connectedNodes": 1, "storageNodes": 1,
        "storageNodesUp": 1, "storageNodesOk": 1, "partitions": 256, "partitionsQuorum": 256,
        "partitionsAllOk": 256,
    });
    assert_eq!(cluster::get_health(&status, Consistency::Consistent), health);
    let history = layout::history(&status);
    assert_eq!(history["currentVersion"], 1);
    assert_eq!(history["waitingFor"], json!([]));
    let versions =
        json!([{ "version": 1, "status": "Current", "storageNodes": 1, "gatewayNodes": 0 }]);
    assert_eq!(history["versions"], versions);
}

#[test]
fn the_health_is_that_of_the_requests_by_the_mode() {
    let (_, mut status) = node();
    let mut history = History::clone(&status.history);
    let now = Timestamp(1_700_000_000_000);
    for node in [NodeId([8; 32]), NodeId([9; 32])] {
        history.stage(node, Some(default_role(1 << 30)), now).expect("staged");
    }
    history.stage_parameters(Parameters::default(), now).expect("staged");
    let draft = history.draft().expect("three copies on three nodes");
    history.apply(draft, ClusterId([1; 16]), now).expect("applied");
    status.history = Arc::new(history);
    // The other two are down.
    for (mode, state, quorum) in [
        (Consistency::Consistent, "unavailable", 0),
        (Consistency::Degraded, "unavailable", 0),
        (Consistency::Dangerous, "degraded", 256),
    ] {
        let health = cluster::get_health(&status, mode);
        assert_eq!(health["status"], state, "{mode:?}");
        assert_eq!(health["partitionsQuorum"], quorum, "{mode:?}");
        assert_eq!(cluster::health_line(&status, mode).0, quorum > 0, "{mode:?}");
    }
}

#[test]
fn the_last_error_of_a_job_is_told_as_garage_tells_it() {
    let error = JobError { at: Instant(1_000_000_000), reason: "no space".to_owned() };
    let json = worker::last_error(&error, Instant(8_500_000_000));
    assert_eq!(json, json!({ "message": "no space", "secsAgo": 7 }));
}

#[test]
fn whether_a_node_was_met_is_told() {
    let (mut node, _) = node();
    let now = |seconds: u64| Now { mono: Instant(seconds * 1_000_000_000), ..Now::default() };
    let contact = Contact { id: None, address: "host:3901".to_owned() };
    let meeting = |node: &Node, now| cluster::meeting(&Ok(contact.clone()), &node.status(now));
    let dial = |node: &mut Node, now| loop {
        node.handle_timeout(now);
        match node.poll_effect() {
            Some((_, NodeEffect::Dial { link, .. })) => break link,
            Some(_) => {}
            None => panic!("nobody is dialled"),
        }
    };
    node.connect(now(1), contact.clone());
    let first = dial(&mut node, now(1));
    assert!(meeting(&node, now(1)).is_err_and(|error| error.contains("no answer so far")));
    node.link_down(now(2), first, "connection refused");
    let refused = meeting(&node, now(2)).expect_err("nobody is there");
    assert!(refused.contains("host:3901: connection refused"), "{refused}");
    let second = dial(&mut node, now(9));
    node.link_up(now(9), second, NodeId([9; 32]), contact.address.clone());
    assert_eq!(meeting(&node, now(9)), Ok(NodeId([9; 32])));
    let own = "127.0.0.1:3901".parse::<Contact>().expect("it is an address");
    node.connect(now(9), own.clone());
    let own = cluster::meeting(&Ok(own), &node.status(now(9)));
    assert!(own.is_err_and(|error| error.contains("own")));
    assert_eq!(
        cluster::meeting(&Err("why".to_owned()), &node.status(now(9))),
        Err("why".to_owned())
    );
}

#[test]
fn what_is_stored_is_told_from_the_nodes_that_answer() {
    let (_, status) = node();
    let layout = status.history.current().expect("it has one");
    assert_eq!(estimate(layout, &[]), None);
    assert_eq!(estimate(layout, &[(ME, 4096)]), Some(4096));
    // A node without a share says nothing of the whole.
    assert_eq!(estimate(layout, &[(NodeId([9; 32]), 77)]), None);
    assert_eq!(estimate(layout, &[(ME, u64::MAX), (NodeId([9; 32]), 77)]), Some(u64::MAX));
}

#[test]
fn a_plan_names_the_nodes_that_are_not_there() {
    let (_, mut status) = node();
    let mut history = History::clone(&status.history);
    let now = Timestamp(1_700_000_000_000);
    let (down, slip) = (NodeId([8; 32]), NodeId([9; 32]));
    for node in [down, slip] {
        history.stage(node, Some(default_role(1 << 30)), now).expect("staged");
    }
    let version = Some("1".to_owned());
    status.nodes.push(NodeStatus { id: down, version, ..NodeStatus::default() });
    let draft = history.draft().expect("a plan");
    let lines = layout::lines(&draft.plan, &status);
    let told = lines.iter().filter(|line| line.starts_with("Node ")).collect::<Vec<_>>();
    assert_eq!(told.len(), 2, "{lines:?}");
    assert!(told[0].contains(&format!("{down} is down")), "{told:?}");
    assert!(told[1].contains(&format!("{slip} was never met")), "{told:?}");
}

#[test]
fn a_token_is_known_everywhere_from_its_creation_to_its_deletion() {
    let mut cluster = Cluster::replicated(3);
    cluster.down(&[2]);
    let made = cluster.flow(0, |cx, view| async move {
        let scope = document(br#"{"name": "t", "scope": ["ListKeys"]}"#)?;
        token::create(cx, &view, scope).await
    });
    let made = made.expect("two of three are up");
    let (id, secret) = (made["id"].clone(), made["secretToken"].clone());
    let header = format!("Bearer {}", secret.as_str().expect("it is told once"));
    let admitted = |cluster: &mut Cluster, at, name: &'static str| {
        let header = header.clone();
        cluster.flow(at, move |cx, view| async move {
            let tokens = Tokens::default();
            let holder = admit(cx, &view, &tokens, Some(header.as_bytes()), name).await;
            holder.map(|holder| token::current(cx, &holder)).map_err(|error| error.status)
        })
    };
    assert_eq!(admitted(&mut cluster, 2, "ListKeys"), Err(503), "it can ask nobody");
    cluster.down(&[]);
    let told = json!({
        "id": id, "name": "t", "scope": ["ListKeys"], "expiration": null, "expired": false,
        "created": made["created"],
    });
    for node in [2, 0, 1, 2] {
        assert_eq!(admitted(&mut cluster, node, "ListKeys"), Ok(told.clone()), "node {node}");
        assert_eq!(admitted(&mut cluster, node, "GetKeyInfo"), Err(403), "node {node}");
    }
    let query = Query::parse(
        Call::DeleteAdminToken,
        format!("id={}", id.as_str().expect("text")).as_bytes(),
    );
    let query = query.expect("it takes an id");
    let deleted = query.clone();
    let done = cluster.flow(1, |cx, view| async move { token::delete(cx, &view, &deleted).await });
    assert_eq!(done.expect("all are up"), json!(null));
    for node in 0..3 {
        assert_eq!(admitted(&mut cluster, node, "ListKeys"), Err(403), "node {node}");
    }
    let update = |cx, view: Arc<crate::view::View>| async move {
        let change = document(br#"{"neverExpires": true}"#)?;
        token::update(cx, &view, query.need("id")?, change).await
    };
    let error = cluster.flow(0, update).expect_err("it stays dead");
    assert_eq!((error.status, error.code), (404, "NoSuchAdminToken"));
}
