//! Multipart uploads that nobody completes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::testing::{
    Ask,
    cluster::{Cluster, layout},
};

fn begin(cluster: &mut Cluster, key: &str) -> String {
    let reply = cluster.ask(0, Ask::new("POST", &format!("/bucket/{key}?uploads")));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.element("UploadId").expect("an id").to_owned()
}

#[test]
fn those_that_are_old_enough_are_aborted() {
    for nodes in [1, 3] {
        let mut cluster = Cluster::new(nodes, &layout(1, nodes, |_| (0..nodes).collect()));
        let info = cluster.admin(0, "GetBucketInfo?search=bucket", &Value::Null).ok();
        let id = info["id"].as_str().expect("an id").to_owned();
        let old = begin(&mut cluster, "old");
        for (part, bytes) in [(1, "12345"), (2, "678")] {
            let target = format!("/bucket/old?uploadId={old}&partNumber={part}");
            assert_eq!(cluster.ask(0, Ask::put(&target, bytes)).outcome(), "200");
        }
        cluster.pass(Duration::from_secs(3600));
        begin(&mut cluster, "new");
        let unfinished = |cluster: &mut Cluster| {
            let info = cluster.admin(0, &format!("GetBucketInfo?id={id}"), &Value::Null).ok();
            let field = |name: &str| info[format!("unfinished{name}")].as_u64().expect("a number");
            let uploads = ["Uploads", "MultipartUploads"].map(field);
            (uploads, field("MultipartUploadParts"), field("MultipartUploadBytes"))
        };
        assert_eq!(unfinished(&mut cluster), ([2, 2], 2, 8));
        let cleanup = |seconds: u64| json!({ "bucketId": id, "olderThanSecs": seconds });
        let done = cluster.admin(0, "CleanupIncompleteUploads", &cleanup(7200)).ok();
        assert_eq!(done, json!({ "uploadsDeleted": 0 }));
        let done = cluster.admin(0, "CleanupIncompleteUploads", &cleanup(1800)).ok();
        assert_eq!(done, json!({ "uploadsDeleted": 1 }));
        let part = format!("/bucket/old?uploadId={old}&partNumber=1");
        assert_eq!(cluster.ask(0, Ask::put(&part, "x")).outcome(), "404 NoSuchUpload");
        assert_eq!(unfinished(&mut cluster), ([1, 1], 0, 0));
        let done = cluster.admin(0, "CleanupIncompleteUploads", &cleanup(0)).ok();
        assert_eq!(done, json!({ "uploadsDeleted": 1 }));
    }
}
