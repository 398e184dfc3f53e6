//! Calls about nodes: here, at another node, at all of them.

use serde_json::{Map, Value, json};

use super::{block, call::Call, cluster, document::document, error::Error, stored, worker};
use crate::{id::NodeId, rpc::AdminCall, task::Cx, view::View};

/// The call at every node that `selector` names: `self` (also if there is none), `*`, or the beginning of one id. Answers
/// `{success: {node: answer}, error: {node: message}}`.
pub(super) async fn fan_out(
    cx: Cx,
    view: &View,
    call: Call,
    selector: Option<&str>,
    body: &[u8],
) -> Result<Value, Error> {
    let status = cluster::status(cx).await?;
    let nodes: Vec<NodeId> = match selector.unwrap_or("self") {
        "self" => vec![view.node],
        "*" => status.nodes.iter().map(|node| node.id).collect(),
        prefix => {
            let matching = |node: &NodeId| node.to_string().starts_with(prefix);
            let found = status.nodes.iter().map(|node| node.id).filter(matching);
            let found: Vec<NodeId> = found.collect();
            match found.len() {
                0 => {
                    let message = format!("no node's id begins with `{prefix}`");
                    return Err(Error::not_found("NoSuchNode", message));
                }
                1 => found,
                n => {
                    return Err(Error::bad(format!("the ids of {n} nodes begin with `{prefix}`")));
                }
            }
        }
    };
    let parameters = std::str::from_utf8(body).map_err(|_| Error::bad("the body is not UTF-8"))?;
    // All are asked at once; there are hundreds at most.
    let others: Vec<_> = nodes
        .iter()
        .filter(|node| **node != view.node)
        .map(|node| {
            let call = call.name().to_owned();
            (
                *node,
                cx.ask(*node, AdminCall { call, parameters: parameters.to_owned(), request: None }),
            )
        })
        .collect();
    let (mut success, mut failed) = (Map::new(), Map::new());
    if nodes.contains(&view.node) {
        match Box::pin(here(cx, view, call, body)).await {
            Ok(answer) => success.insert(view.node.to_string(), answer),
            // Asked of one node, a mistake is the request's.
            Err(error) if nodes.len() == 1 => return Err(error),
            Err(error) => failed.insert(view.node.to_string(), json!(error.message)),
        };
    }
    for (node, asked) in others {
        let answer = match asked.await {
            Ok(Ok(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Ok(Err(message)) => Err(message),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) => success.insert(node.to_string(), answer),
            Err(message) => failed.insert(node.to_string(), json!(message)),
        };
    }
    Ok(json!({ "success": success, "error": failed }))
}

/// The call about this node that a peer asks for.
pub async fn answer_peer(cx: Cx, view: &View, call: &AdminCall) -> Result<String, String> {
    let Some(known) = Call::from_name(&call.call).filter(|call| call.is_about_nodes()) else {
        return Err(format!("this node's release knows no call {}", call.call));
    };
    let answer = here(cx, view, known, call.parameters.as_bytes()).await;
    answer.map(|answer| answer.to_string()).map_err(|error| error.message)
}

/// The call about this node.
pub(super) async fn here(cx: Cx, view: &View, call: Call, body: &[u8]) -> Result<Value, Error> {
    match call {
        Call::GetNodeInfo => Ok(json!({
            "nodeId": view.node.to_string(),
            "garageVersion": env!("CARGO_PKG_VERSION"),
            "garageFeatures": [],
            "rustVersion": env!("CARGO_PKG_RUST_VERSION"),
            "dbEngine": "redb",
            "program": "mews",
            "metadataFsync": view.config.metadata_fsync,
        })),
        Call::GetNodeStatistics => stored::here(cx, view).await,
        Call::LaunchRepairOperation => worker::launch(cx, view, document(body)?).await,
        Call::ListWorkers => worker::list(cx, view, document(body)?).await,
        Call::GetWorkerInfo => worker::info(cx, view, document(body)?).await,
        Call::GetWorkerVariable => worker::variables(cx, view, document(body)?).await,
        Call::SetWorkerVariable => worker::set_variable(cx, view, document(body)?).await,
        Call::CreateMetadataSnapshot => worker::take_snapshot(cx, view).await,
        Call::ListBlockErrors => block::errors(cx, view).await,
        Call::GetBlockInfo => block::info(cx, view, document(body)?).await,
        Call::RetryBlockResync => block::retry(cx, view, document(body)?).await,
        Call::PurgeBlocks => block::purge(cx, view, document(body)?).await,
        Call::GetClusterStatus
        | Call::GetClusterHealth
        | Call::GetClusterStatistics
        | Call::ConnectClusterNodes
        | Call::GetClusterLayout
        | Call::UpdateClusterLayout
        | Call::PreviewClusterLayoutChanges
        | Call::ApplyClusterLayout
        | Call::RevertClusterLayout
        | Call::GetClusterLayoutHistory
        | Call::ClusterLayoutSkipDeadNodes
        | Call::DrainNode
        | Call::ReplaceNode
        | Call::ForgetNode
        | Call::ListAdminTokens
        | Call::GetAdminTokenInfo
        | Call::GetCurrentAdminTokenInfo
        | Call::CreateAdminToken
        | Call::UpdateAdminToken
        | Call::DeleteAdminToken
        | Call::ListKeys
        | Call::ListKeysInfo
        | Call::GetKeyInfo
        | Call::CreateKey
        | Call::ImportKey
        | Call::UpdateKey
        | Call::DeleteKey
        | Call::ListBuckets
        | Call::ListBucketsInfo
        | Call::GetBucketInfo
        | Call::CreateBucket
        | Call::UpdateBucket
        | Call::DeleteBucket
        | Call::CleanupIncompleteUploads
        | Call::AllowBucketKey
        | Call::DenyBucketKey
        | Call::AddBucketAlias
        | Call::RemoveBucketAlias
        | Call::InspectObject => Err(Error::internal("that call is about the cluster")),
    }
}
