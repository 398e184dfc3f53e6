//! How much is stored: each node counts what it holds, and the sum says what a layout change moves.

use serde_json::{Value, json};

use super::{call::Call, error::Error};
use crate::{
    id::NodeId,
    node::status::Status,
    placement::{explain::Bytes, layout::Layout},
    quorum,
    rpc::AdminCall,
    store::{Read, Table},
    table::{self, CounterRow},
    task::Cx,
    view::View,
};

/// Buckets whose counters are read at a time: some 30 bytes each.
const PAGE: usize = 1000;

/// What this node holds copies of: objects and their bytes.
pub(super) async fn here(cx: Cx, view: &View) -> Result<Value, Error> {
    let sum = count(cx, view).await?;
    Ok(json!({
        "freeform": format!(
            "{} objects with {} have their row here; {} uploads are open.\n",
            sum.objects, Bytes(sum.bytes), sum.uploads
        ),
        "objects": sum.objects,
        "bytes": sum.bytes,
        "uploads": sum.uploads,
    }))
}

async fn count(cx: Cx, view: &View) -> Result<CounterRow, Error> {
    let (mut sum, mut from) = (CounterRow::default(), Vec::new());
    loop {
        let read = Read::Scan { table: Table::Counter, from, until: None, limit: PAGE };
        let rows = quorum::read_local(cx, view, read).await?.into_rows();
        for (_, value) in &rows {
            let row: CounterRow = table::decode(Table::Counter, value)
                .map_err(|error| Error::internal(error.to_string()))?;
            sum.objects = sum.objects.saturating_add(row.objects);
            sum.bytes = sum.bytes.saturating_add(row.bytes);
            sum.uploads = sum.uploads.saturating_add(row.uploads);
        }
        match rows.into_iter().next_back() {
            Some((last, _)) => from = [&last[..], &[0]].concat(),
            None => return Ok(sum),
        }
    }
}

/// Bytes that are stored in the cluster, each object counted once: from the counts of the nodes that answer, as if what they hold
/// were an even share. `None` if there is no layout, or none of its nodes answers.
pub(super) async fn in_all(cx: Cx, view: &View, status: &Status) -> Result<Option<u64>, Error> {
    let Some(layout) = status.history.current() else { return Ok(None) };
    let call = AdminCall {
        call: Call::GetNodeStatistics.name().to_owned(),
        parameters: String::new(),
        request: None,
    };
    let others = layout.storage.iter().filter(|node| **node != view.node && status.is_up(**node));
    let asked: Vec<_> = others.map(|node| (*node, cx.ask(*node, call.clone()))).collect();
    let mut counts = Vec::new();
    if layout.storage.contains(&view.node) {
        counts.push((view.node, count(cx, view).await?.bytes));
    }
    for (node, asked) in asked {
        let bytes = match asked.await {
            Ok(Ok(text)) => bytes_in(&text),
            Ok(Err(message)) => Err(message),
            Err(error) => Err(error.to_string()),
        };
        match bytes {
            Ok(bytes) => counts.push((node, bytes)),
            // An estimate without it is still one.
            Err(error) => log::debug!("{node} does not say what it stores: {error}"),
        }
    }
    Ok(estimate(layout, &counts))
}

fn bytes_in(text: &str) -> Result<u64, String> {
    let answer: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    answer["bytes"].as_u64().ok_or_else(|| format!("no bytes in {text}"))
}

pub(super) fn estimate(layout: &Layout, counts: &[(NodeId, u64)]) -> Option<u64> {
    let loads = layout.loads();
    let (mut bytes, mut copies) = (0_u128, 0_u128);
    for (node, counted) in counts {
        if let Ok(index) = layout.storage.binary_search(node) {
            bytes += u128::from(*counted);
            copies += u128::from(loads[index]);
        }
    }
    let all = (bytes * layout.partitions() as u128).checked_div(copies)?;
    Some(u64::try_from(all).unwrap_or(u64::MAX))
}
