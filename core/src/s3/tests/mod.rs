//! Handlers against a node in memory: requests in, responses and effects out.

mod access;
mod buckets;
mod copy;
mod cors;
mod delete;
mod get;
mod list;
mod multipart;
mod put;
mod quotas;
mod race;
mod size;
mod website;

use crate::{
    store::Table,
    testing::{Ask, Host},
};

/// Bytes that do not repeat from block to block.
fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// Stores an object and fails the test if that fails.
fn put(host: &mut Host, target: &str, body: impl Into<bytes::Bytes>) {
    let reply = host.ask(Ask::put(target, body));
    assert_eq!(reply.outcome(), "200", "{}", reply.text());
}

/// What an object holds.
fn get(host: &mut Host, target: &str) -> Vec<u8> {
    let reply = host.ask(Ask::get(target));
    assert_eq!(reply.outcome(), "200");
    assert_eq!(reply.body.len() as u64, reply.len);
    reply.body
}

/// The effects since the last call, a line each, without those that every request begins with.
fn effects(host: &mut Host) -> String {
    let mut lines = std::mem::take(&mut host.trace);
    lines.retain(|line| line != "Read access_key alias" && line != "Read bucket");
    lines.join("\n")
}

/// Nothing is left of data that was given up: no open intent, and each listed block either belongs to an object or is queued to
/// be dropped.
fn assert_no_open_intent(host: &Host) {
    use crate::table::{self, upload::IntentRow};
    for (_, value) in host.store.rows(Table::Intent) {
        let row: IntentRow = table::decode(Table::Intent, value).expect("an intent");
        assert_eq!(row, IntentRow::Done);
    }
}
