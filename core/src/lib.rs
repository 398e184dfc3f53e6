//! The pure core of Mews, a lightweight, geo-distributed, S3-compatible object store.
//!
//! Everything Mews decides is decided here, and nothing here touches the world: no clock, no randomness, no thread, socket,
//! file or runtime. What the core wants done is an [`Effect`](effect::Effect); what it learns is a [`Completion`](effect::Completion);
//! time and randomness come in as arguments.
//!
//! # The run loop
//!
//! **After every call that changes a machine, drain its effects before the next such call.**
//!
//! 1. `start(now)` once.
//! 2. `poll_effect()` until it gives `None`; perform what it gives, in any order and side by side.
//! 3. `poll_timeout()` says when to come back at the latest, and why.
//! 4. Wait for the first of: an effect done, that time, the client going away.
//! 5. `handle_event`, `handle_timeout` or `handle_disconnect` accordingly, with fresh clocks.
//! 6. Back to 2, until `is_done()` and the last effects are drained.
//!
//! A shell in one page, with a flow that asks for its own database and sleeps:
//!
//! ```
//! use std::time::Duration;
//! use mews_core::{
//!     effect::{Completion, Effect},
//!     id::NodeId,
//!     seed::Seed,
//!     store::{Answer, Read},
//!     task::{Reason, Task},
//!     time::{Instant, Now},
//! };
//!
//! let me = NodeId([7; 32]);
//! let mut task = Task::new("example", Seed::new([0; 32]), |cx| async move {
//!     let rows = cx.read(me, Read::Get(vec![])).await;
//!     assert_eq!(rows, Ok(Answer::Values(vec![])));
//!     cx.sleep(Duration::from_secs(1), Reason("show how")).await;
//! });
//!
//! let mut now = Now::default();
//! task.start(now);
//! while !task.is_done() {
//!     while let Some((id, effect)) = task.poll_effect() {
//!         match effect {
//!             Effect::Read { at, read: Read::Get(keys) } if at == me && keys.is_empty() => {
//!                 task.handle_event(now, id, Completion::Read(Ok(Answer::Values(vec![]))));
//!             }
//!             other => panic!("not in this example: {other:?}"),
//!         }
//!     }
//!     if let Some((at, _reason)) = task.poll_timeout() {
//!         now.mono = at; // a real shell sleeps until then
//!         task.handle_timeout(now);
//!     }
//! }
//! assert_eq!(now.mono, Instant(1_000_000_000));
//! ```

#![forbid(unsafe_code)]
// A test that names one variant means every other one, those to come included.
#![cfg_attr(test, allow(clippy::wildcard_enum_match_arm))]

pub mod admin;
pub mod block;
pub mod checksum;
pub mod daemon;
pub mod effect;
pub mod flow;
pub mod http;
pub mod id;
pub mod job;
pub mod metrics;
pub mod node;
pub mod placement;
pub mod quorum;
pub mod rpc;
pub mod s3;
pub mod seed;
pub mod size;
pub mod span;
pub mod spelling;
pub mod store;
pub mod table;
pub mod task;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod view;
pub mod web;
pub mod wire;
