//! Operations on buckets.

use super::{effects, put};
use crate::testing::{Ask, Host};

const PLACE: &str = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";

#[test]
fn a_bucket_is_created_in_one_commit() {
    let mut host = Host::new();
    let reply = host.ask(Ask::put("/new-bucket", ""));
    assert_eq!((reply.status, reply.header("location")), (200, Some("/new-bucket")));
    let effects = effects(&mut host);
    let commit = "Commit: alias, bucket, access_key if alias absent";
    assert!(effects.contains(commit), "{effects}");
    put(&mut host, "/new-bucket/k", "x");
}

#[test]
fn a_name_is_given_once() {
    let mut host = Host::new();
    assert_eq!(host.ask(Ask::put("/bucket", "")).outcome(), "409 BucketAlreadyOwnedByYou");
    host.add_key("other", "other secret", true);
    let other = Ask::put("/bucket", "").key("other", "other secret");
    assert_eq!(host.ask(other).outcome(), "409 BucketAlreadyExists");
}

#[test]
fn of_two_that_create_one_bucket_only_one_succeeds() {
    let mut host = Host::new();
    let mut first = host.begin(Ask::put("/new-bucket", ""));
    first.run_until(&mut host, "Commit");
    assert_eq!(host.ask(Ask::put("/new-bucket", "")).outcome(), "200");
    while first.step(&mut host) {}
    assert!(first.reply.outcome().starts_with("409 "), "{}", first.reply.outcome());
}

#[test]
fn a_bad_name_is_refused() {
    let mut host = Host::new();
    for name in ["ab", "Upper", "under_score", "192.168.0.1"] {
        let reply = host.ask(Ask::put(&format!("/{name}"), ""));
        assert_eq!(reply.outcome(), "400 InvalidBucketName", "{name}");
    }
}

#[test]
fn a_location_is_taken_unless_regions_are_strict() {
    let mut host = Host::new();
    assert_eq!(host.ask(Ask::put("/new-bucket", PLACE)).outcome(), "200");
    let mut view = (*host.view).clone();
    view.config.region_strict = true;
    host.view = view.into();
    let reply = host.ask(Ask::put("/newer-bucket", PLACE));
    assert_eq!(reply.outcome(), "400 InvalidLocationConstraint");
    let home = PLACE.replace("eu-west-1", "mews");
    assert_eq!(host.ask(Ask::put("/newer-bucket", home)).outcome(), "200");
    assert_eq!(host.ask(Ask::put("/newest-bucket", "<x/>")).outcome(), "400 MalformedXML");
}

#[test]
fn buckets_are_listed_by_name() {
    let mut host = Host::new();
    host.ask(Ask::put("/another", ""));
    let reply = host.ask(Ask::get("/"));
    let expected = include_str!("../../../../testdata/s3/list-buckets.xml");
    assert_eq!(reply.text(), expected.trim_end());
    host.add_key("other", "other secret", false);
    let others = host.ask(Ask::get("/").key("other", "other secret"));
    assert_eq!((others.status, others.elements("Name").len()), (200, 0));
}

#[test]
fn buckets_come_in_pages() {
    let mut host = Host::new();
    for name in ["b-1", "b-2", "b-3", "c-1"] {
        assert_eq!(host.ask(Ask::put(&format!("/{name}"), "")).status, 200);
    }
    let reply = host.ask(Ask::get("/?prefix=b-&max-buckets=2"));
    assert_eq!(reply.elements("Name"), ["b-1", "b-2"]);
    let token = reply.element("ContinuationToken").expect("more").to_owned();
    let target = format!("/?prefix=b-&max-buckets=2&continuation-token={token}");
    let reply = host.ask(Ask::get(&target));
    assert_eq!(reply.elements("Name"), ["b-3"]);
    assert_eq!(reply.element("ContinuationToken"), None);
    let elsewhere = host.ask(Ask::get("/?bucket-region=moon"));
    assert_eq!(elsewhere.elements("Name").len(), 0);
    assert_eq!(host.ask(Ask::get("/?max-buckets=0")).outcome(), "400 InvalidArgument");
}

#[test]
fn an_empty_bucket_can_be_deleted_and_its_name_taken_again() {
    let mut host = Host::new();
    put(&mut host, "/bucket/k", "x");
    let delete = || Ask::new("DELETE", "/bucket");
    assert_eq!(host.ask(delete()).outcome(), "409 BucketNotEmpty");
    assert_eq!(host.ask(Ask::new("DELETE", "/bucket/k")).status, 204);
    assert_eq!(host.ask(delete()).status, 204);
    assert_eq!(host.ask(delete()).outcome(), "404 NoSuchBucket");
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchBucket");
    assert_eq!(host.ask(Ask::get("/")).elements("Name").len(), 0);
    assert_eq!(host.ask(Ask::put("/bucket", "")).outcome(), "200");
    assert_eq!(host.ask(Ask::get("/bucket/k")).outcome(), "404 NoSuchKey");
}

#[test]
fn a_bucket_says_where_it_is() {
    let mut host = Host::new();
    let reply = host.ask(Ask::new("HEAD", "/bucket"));
    assert_eq!((reply.status, reply.header("x-amz-bucket-region")), (200, Some("mews")));
    assert_eq!(host.ask(Ask::new("HEAD", "/none")).status, 404);
    let reply = host.ask(Ask::get("/bucket?location"));
    let expected = include_str!("../../../../testdata/s3/location.xml");
    assert_eq!(reply.text(), expected.trim_end());
    let reply = host.ask(Ask::get("/bucket?versioning"));
    let expected = include_str!("../../../../testdata/s3/versioning.xml");
    assert_eq!(reply.text(), expected.trim_end());
}
