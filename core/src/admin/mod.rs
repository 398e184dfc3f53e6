//! The Admin API: `/v2/<Call>` with the names, methods and JSON fields of Garage's, so that tools made for that work here, and
//! a few calls of our own beside them. See [`call::Call`] for all of them.
//!
//! A call about the cluster is answered by the node that is asked, of what it knows. A call about nodes goes to those that its
//! parameter `node` names: `self`, `*`, or the beginning of an id; see `each`.

mod admit;
mod alias;
pub mod auth;
mod block;
mod bucket;
pub mod call;
mod check;
mod cluster;
mod document;
mod each;
mod error;
mod inspect;
mod key;
mod layout;
mod metrics;
mod openapi;
mod permission;
mod query;
mod row;
mod serve;
mod stored;
#[cfg(test)]
mod tests;
mod token;
mod upload;
mod website;
mod worker;

pub use each::answer_peer;
pub use serve::serve;
