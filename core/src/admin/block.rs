//! Blocks: what is known of one, which could not be fetched, trying again.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use crate::{
    id::Hash,
    job::{blocks, purge},
    table::block::BlockErrorRow,
    task::Cx,
    view::View,
};

fn hash(text: &str) -> Result<Hash, Error> {
    let hash = Hash::from_hex(text);
    hash.ok_or_else(|| Error::bad(format!("`{text}` is not a block's hash: 64 hexadecimal digits")))
}

pub(super) async fn errors(cx: Cx, view: &View) -> Result<Value, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    // As many as a person would ever look at, and no more than fits into memory.
    while all.len() < 10 * blocks::ERRORS_MAX {
        let page = blocks::errors(cx, view, after).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (block, row) in page {
            let refs = blocks::info(cx, view, block).await?.refs;
            all.push(error_json(cx, block, refs, &row));
        }
    }
    Ok(Value::Array(all))
}

fn error_json(cx: Cx, block: Hash, refs: Option<u64>, row: &BlockErrorRow) -> Value {
    let now = cx.now().wall;
    json!({
        "blockHash": block.to_string(),
        "refcount": refs.unwrap_or(0),
        "errorCount": row.errors,
        "lastTrySecsAgo": now.0.saturating_sub(row.last.0) / 1000,
        "nextTryInSecs": row.next.0.saturating_sub(now.0) / 1000,
        "reason": row.reason,
    })
}

/// What [`info`] takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OneBlock {
    block_hash: String,
}

pub(super) async fn info(cx: Cx, view: &View, one: OneBlock) -> Result<Value, Error> {
    let info = blocks::info(cx, view, hash(&one.block_hash)?).await?;
    if info.refs.is_none() && info.referrers.is_empty() && !info.held {
        let message = format!("this node knows no block {}", info.block);
        return Err(Error::not_found("NoSuchBlock", message));
    }
    let versions = info.referrers.iter().map(|referrer| {
        json!({
            "versionId": referrer.data.to_string(),
            "refDeleted": !referrer.row.is_live(),
            // A reference dies with its version, and its row goes with it.
            "versionDeleted": !referrer.row.is_live(),
            "garbageCollected": false,
        })
    });
    Ok(json!({
        "blockHash": info.block.to_string(),
        "refcount": info.refs.unwrap_or(0),
        "held": info.held,
        "queued": info.queued,
        "error": info.error.as_ref().map(|row| error_json(cx, info.block, info.refs, row)),
        "versions": versions.collect::<Vec<_>>(),
    }))
}

/// What [`retry`] takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Retry {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    block_hashes: Vec<String>,
}

pub(super) async fn retry(cx: Cx, view: &View, what: Retry) -> Result<Value, Error> {
    if what.all != what.block_hashes.is_empty() {
        return Err(Error::bad("give either `all` or `blockHashes`"));
    }
    let count = if what.all {
        blocks::retry_all(cx, view).await?
    } else {
        let hashes: Vec<Hash> =
            what.block_hashes.iter().map(|text| hash(text)).collect::<Result<_, _>>()?;
        blocks::retry(cx, view, &hashes).await?;
        hashes.len() as u64
    };
    Ok(json!({ "count": count }))
}

/// Blocks that one call gives up: each costs a look at all rows of the shards that refer to it.
const PURGE_MAX: usize = 100;

pub(super) async fn purge(cx: Cx, view: &View, hashes: Vec<String>) -> Result<Value, Error> {
    if hashes.is_empty() || hashes.len() > PURGE_MAX {
        return Err(Error::bad(format!("give 1 to {PURGE_MAX} hashes of blocks")));
    }
    let blocks: Vec<Hash> = hashes.iter().map(|text| hash(text)).collect::<Result<_, _>>()?;
    let (mut objects, mut uploads, mut unknown, mut more) = (0, 0, 0, false);
    for block in &blocks {
        let purged = purge::purge(cx, view, *block).await?;
        objects += purged.objects;
        uploads += purged.uploads;
        unknown += purged.unknown;
        more |= purged.more;
    }
    Ok(json!({
        "blocksPurged": blocks.len(),
        "objectsDeleted": objects,
        "uploadsDeleted": uploads,
        // Each object has one version.
        "versionsDeleted": objects,
        // Ours: references that do not say whose they are, and whether to call again.
        "refsWithoutOwner": unknown,
        "more": more,
    }))
}
