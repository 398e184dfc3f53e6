//! A request to one of the APIs, from its head to the end of its answer: its id, its line in the log, its place in the metrics.

use super::RequestHead;
use crate::{metrics::Api, task::Cx, time::Instant};

/// What the lines are logged under.
pub const ACCESS: &str = "access";

/// A request under way.
#[derive(Debug)]
pub struct Visit {
    /// Its id, which its answer and its lines in the log carry.
    pub id: String,
    /// The method, as sent.
    pub method: String,
    /// The path, as sent. The query stays out of it: a presigned URL has its signature there.
    pub path: String,
    /// The host that was asked for, where that says more than the path.
    host: String,
    peer: String,
    began: Instant,
}

impl Visit {
    /// A request has come. Whatever the task logs from now on names it.
    pub fn begin(cx: Cx, head: &RequestHead) -> Self {
        Self {
            id: cx.request().to_text(),
            method: head.method.clone(),
            path: String::from_utf8_lossy(head.path_and_query().0).into_owned(),
            host: String::new(),
            peer: head.peer.clone(),
            began: cx.now().mono,
        }
    }

    /// The host is part of what was asked for.
    #[must_use]
    pub fn at_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// It has been answered with this status, to the end of the answer's body; or `broken` off in the middle of that.
    pub fn end(self, cx: Cx, api: &Api, operation: &'static str, status: u16, broken: bool) {
        let took = cx.now().mono.since(self.began);
        let moved = cx.moved();
        api.answered(operation, status, took);
        api.received.add(moved.received);
        api.sent.add(moved.sent);
        log::debug!(
            target: ACCESS,
            operation = operation,
            status = status,
            millis = took.as_secs_f64() * 1000.0,
            received = moved.received,
            sent = moved.sent,
            peer = self.peer.as_str();
            "{} {}{} {status}{}", self.method, self.host, self.path, if broken { ", broken off" } else { "" }
        );
    }
}
