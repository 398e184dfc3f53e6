//! How often a request waits for other nodes, one wait after the other.

use super::{bytes, get, put, spread};
use crate::testing::{Ask, cluster::Cluster};

fn trips(cluster: &mut Cluster, at: usize, ask: Ask) -> u32 {
    let (outcome, trips) = cluster.timed(at, ask);
    assert!(outcome.starts_with('2'), "{outcome}");
    trips
}

#[test]
fn small_objects_take_one() {
    for (mut cluster, nodes) in [(Cluster::replicated(3), 3), (spread(), 7)] {
        for at in 0..nodes {
            let key = format!("/bucket/k{at}");
            assert_eq!(trips(&mut cluster, at, Ask::put(&key, "hello")), 1, "PUT at {at}");
            assert_eq!(trips(&mut cluster, at, Ask::put(&key, "again")), 1, "PUT at {at}");
            assert_eq!(trips(&mut cluster, at, Ask::get(&key)), 1, "GET at {at}");
            assert_eq!(trips(&mut cluster, at, Ask::new("HEAD", &key)), 1, "HEAD at {at}");
            let list = Ask::get("/bucket?list-type=2");
            assert_eq!(trips(&mut cluster, at, list), 1, "LIST at {at}");
            assert_eq!(trips(&mut cluster, at, Ask::new("DELETE", &key)), 1, "DELETE at {at}");
            assert_eq!(get(&mut cluster, at, &format!("k{at}")), Err("404 NoSuchKey".to_owned()));
        }
    }
}

#[test]
fn an_object_of_one_block_takes_two_at_most_to_write_and_one_to_read_where_it_is() {
    let mut cluster = Cluster::replicated(3);
    assert_eq!(trips(&mut cluster, 1, Ask::put("/bucket/k", bytes(1000))), 2);
    assert_eq!(trips(&mut cluster, 2, Ask::get("/bucket/k")), 1);
    let mut cluster = spread();
    for at in 0..7 {
        let key = format!("/bucket/k{at}");
        let wrote = trips(&mut cluster, at, Ask::put(&key, bytes(900 + at)));
        assert_eq!(wrote, 2, "at {at}");
        let read = trips(&mut cluster, at, Ask::get(&key));
        assert!((1..=2).contains(&read), "{read} at {at}");
        assert_eq!(get(&mut cluster, at, &format!("k{at}")), Ok(bytes(900 + at)));
    }
}

#[test]
fn blocks_of_a_long_object_go_out_side_by_side() {
    for (mut cluster, at) in [(Cluster::replicated(3), 0), (spread(), 6)] {
        // As many blocks as are in flight at a time.
        assert_eq!(trips(&mut cluster, at, Ask::put("/bucket/k", bytes(2500))), 2);
        assert_eq!(get(&mut cluster, at, "k"), Ok(bytes(2500)));
    }
}

#[test]
fn many_keys_on_many_nodes_are_deleted_in_one() {
    let mut cluster = spread();
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    keys.iter().for_each(|key| put(&mut cluster, 0, key, "x"));
    let lines = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>"));
    let body = format!("<Delete>{}</Delete>", lines.collect::<String>());
    let digest = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        use md5::{Digest, Md5};
        STANDARD.encode(Md5::digest(body.as_bytes()))
    };
    let ask = Ask::new("POST", "/bucket?delete").body(body).header("content-md5", digest);
    assert_eq!(trips(&mut cluster, 3, ask), 1);
    for key in keys {
        assert_eq!(get(&mut cluster, 5, &key), Err("404 NoSuchKey".to_owned()));
    }
}
