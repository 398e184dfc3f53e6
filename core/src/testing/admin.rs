//! Calls of the Admin API.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{Host, Pump, Reply, Running, cluster::Cluster};
use crate::{
    admin::{self, auth::Tokens, call::Call},
    http::RequestHead,
    rpc,
    task::Task,
    view::View,
};

/// What a call was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The document.
    pub json: Value,
}

impl Answer {
    fn of(reply: &Reply) -> Self {
        assert_eq!(reply.responses, 1, "{}", reply.text());
        let json = serde_json::from_slice(&reply.body).expect("JSON");
        Self { status: reply.status, json }
    }

    /// The document of a call that was done.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.json);
        self.json
    }

    /// Status and code of an error, as in `404 NoSuchBucket`.
    pub fn error(&self) -> String {
        assert!(
            self.json["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{}",
            self.json
        );
        format!("{} {}", self.status, self.json["code"].as_str().expect("a code"))
    }
}

/// The request of a call such as `GetKeyInfo?id=GK1`.
fn request(call: &str, body: &Value) -> (RequestHead, Bytes) {
    let name = call.split('?').next().unwrap_or_default();
    let known = Call::from_name(name).unwrap_or_else(|| panic!("there is no call {name}"));
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let head = RequestHead {
        method: known.method().name().to_owned(),
        target: format!("/v2/{call}").into_bytes(),
        headers: vec![("authorization".to_owned(), Bytes::from_static(b"Bearer token"))],
        body_len: Some(body.len() as u64),
        peer: "192.0.2.1:4242".to_owned(),
    };
    (head, body)
}

fn task(seed: crate::seed::Seed, view: Arc<View>, head: RequestHead) -> Task {
    let tokens = Arc::new(Tokens::new(Some("token"), None));
    Task::new("admin", seed, |cx| admin::serve(cx, view, head, tokens))
}

impl Host {
    /// Makes a call of the Admin API, such as `GetKeyInfo?id=GK1`; `null` is no body.
    pub fn admin(&mut self, call: &str, body: &Value) -> Answer {
        let (head, body) = request(call, body);
        let task = task(self.seed.child(), Arc::clone(&self.view), head);
        let mut running = Running::start(self, task, Pump::new(body, None));
        while running.step(self) {}
        Answer::of(&running.reply)
    }
}

impl Cluster {
    /// Makes a call of the Admin API at a node, such as `GetKeyInfo?id=GK1`; `null` is no body.
    pub fn admin(&mut self, at: usize, call: &str, body: &Value) -> Answer {
        let (head, body) = request(call, body);
        let view = Arc::clone(&self.hosts[at].view);
        let origin = rpc::Origin::of(&view.ring);
        let task = task(self.seed.child(), view, head);
        let mut session = self.start(at, task, Pump::new(body, None), origin);
        session.run(self);
        Answer::of(&session.running.reply)
    }
}
