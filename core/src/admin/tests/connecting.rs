//! Looking for nodes: what has failed is said at once, and silence after a while.

use std::{sync::OnceLock, time::Duration};

use super::*;
use crate::{
    admin::error::Error,
    effect::{Completion, Effect},
    task::Task,
};

const OTHER: NodeId = NodeId([9; 32]);

/// What an attempt comes to; nothing, of an address where nobody answers.
type Met = Option<Result<NodeId, &'static str>>;

/// A node that is told to look for others.
struct Asked {
    node: Node,
    now: Now,
    dials: Vec<String>,
}

impl Asked {
    fn new() -> Self {
        let (node, status) = node();
        Self { node, now: status.now, dials: Vec::new() }
    }

    /// What is answered for these places, and how long that takes.
    fn connect(&mut self, places: &[&str], meets: impl Fn(&str) -> Met) -> (Vec<String>, Duration) {
        let slot = Arc::new(OnceLock::<Result<serde_json::Value, Error>>::new());
        let (result, places) = (Arc::clone(&slot), places.iter().map(|it| (*it).to_owned()));
        let places: Vec<String> = places.collect();
        let mut task = Task::new("connect", Seed::new([2; 32]), |cx| async move {
            result.set(cluster::connect(cx, places).await).expect("it ends once");
        });
        let begun = self.now.mono;
        task.start(self.now);
        loop {
            while let Some((id, effect)) = task.poll_effect() {
                let Effect::Control(command) = effect else { panic!("{effect:?}") };
                let report = self.node.control(self.now, *command);
                self.dial(&meets);
                task.handle_event(self.now, id, Completion::Control(report));
            }
            let Some((at, _)) = task.poll_timeout() else { break };
            self.now.mono = at;
            task.handle_timeout(self.now);
        }
        let json = slot.get().expect("it has ended").as_ref().expect("an answer").clone();
        let text = |met: &serde_json::Value| match met["success"] == true {
            true => met["node"].as_str().expect("an id").to_owned(),
            false => met["error"].as_str().expect("a reason").to_owned(),
        };
        let said = json.as_array().expect("a list").iter().map(text).collect();
        (said, self.now.mono.since(begun))
    }

    fn dial(&mut self, meets: impl Fn(&str) -> Met) {
        self.node.handle_timeout(self.now);
        while let Some((_, effect)) = self.node.poll_effect() {
            let NodeEffect::Dial { link, address, .. } = effect else { continue };
            self.dials.push(address.clone());
            match meets(&address) {
                None => {}
                Some(Ok(peer)) => self.node.link_up(self.now, link, peer, address),
                Some(Err(reason)) => self.node.link_down(self.now, link, reason),
            }
        }
    }
}

fn refused(place: &str, reason: &str) -> String {
    format!("not connected to {place}: {reason}. This node goes on looking there")
}

const AT_ONCE: Duration = Duration::from_millis(100);
const FIVE: Duration = Duration::from_secs(5);

#[test]
fn what_is_refused_is_said_at_once_and_again_when_asked_again() {
    let mut asked = Asked::new();
    for reason in ["connection refused", "no route"] {
        let (said, took) = asked.connect(&["host:1"], |_| Some(Err(reason)));
        assert_eq!(said, [refused("host:1", reason)]);
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(asked.dials, ["host:1", "host:1"], "who asks again does not wait for the next try");
    let (said, took) = asked.connect(&["host:1"], |_| Some(Ok(OTHER)));
    assert!(said == [OTHER.to_string()] && took < AT_ONCE, "{said:?} {took:?}");
}

#[test]
fn a_certain_node_is_looked_for_at_the_address_that_is_named() {
    let mut asked = Asked::new();
    let places = [1, 2].map(|port| format!("{OTHER}@host:{port}"));
    let meets = |address: &str| match address {
        "host:1" => Some(Err("connection refused")),
        _ => Some(Err("the other node is not the expected one")),
    };
    for _ in 0..2 {
        for (place, reason) in
            places.iter().zip(["connection refused", "the other node is not the expected one"])
        {
            let (said, took) = asked.connect(&[place], meets);
            assert_eq!(said, [refused(place, reason)]);
            assert!(took < AT_ONCE, "{took:?}");
        }
    }
    assert_eq!(asked.dials, ["host:1", "host:2", "host:1", "host:2"]);
}

#[test]
fn a_place_that_does_not_answer_is_given_five_seconds() {
    let mut asked = Asked::new();
    let meets = |address: &str| (address == "host:1").then_some(Err("connection refused"));
    let (said, took) = asked.connect(&["host:1", "hole:1", "nonsense"], meets);
    let silent = refused("hole:1", "no answer so far");
    assert_eq!(said[..2], [refused("host:1", "connection refused"), silent]);
    assert_eq!(said[2], "it must end with a port: HOST:PORT");
    assert!((FIVE..FIVE + AT_ONCE).contains(&took), "{took:?}");
}

#[test]
fn the_own_address_is_no_place_to_wait_at() {
    let mut asked = Asked::new();
    let own = refused("127.0.0.1:3901", "the address is this node's own");
    let (said, took) = asked.connect(&["127.0.0.1:3901"], |_| None);
    assert!(said == [own] && took < AT_ONCE, "{said:?} {took:?}");
    assert_eq!(asked.dials, [""; 0]);
    // A name may stand for this node today, and for another one tomorrow.
    let (said, took) = asked.connect(&["all:1"], |_| Some(Ok(ME)));
    assert!(took < AT_ONCE && said[0].contains("this node's own"), "{said:?} {took:?}");
    let (said, took) = asked.connect(&["all:1"], |_| Some(Ok(OTHER)));
    assert!(said == [OTHER.to_string()] && took < AT_ONCE, "{said:?} {took:?}");
}
