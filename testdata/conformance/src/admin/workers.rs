//! Background work, and what can be set of it.

use std::path::Path;

use serde_json::{Value, json};

use super::{call, done, here, root};
use crate::daemon::Daemon;

pub(super) fn run(binary: &Path) {
    let mut daemon = Daemon::start(binary);
    every_worker_is_told_by_its_number(&daemon);
    the_scrub_is_told_what_to_do(&daemon);
    assert_eq!(variable(&daemon, "pace"), "normal");
    set(&daemon, "pace", "fast");
    set(&daemon, "scrub-interval", "10 days");
    what_makes_no_sense_is_refused(&daemon);
    daemon.kill_and_restart();
    assert_eq!(variable(&daemon, "pace"), "fast", "it outlives the process");
    assert_eq!(variable(&daemon, "scrub-interval"), "10d");
}

fn variable(daemon: &Daemon, name: &str) -> String {
    let values =
        done(daemon, "POST GetWorkerVariable?node=self", Some(json!({ "variable": name })));
    here(&values)[name].as_str().expect("a text").to_owned()
}

fn set(daemon: &Daemon, variable: &str, value: &str) {
    let body = json!({ "variable": variable, "value": value });
    let answer = done(daemon, "POST SetWorkerVariable?node=self", Some(body.clone()));
    assert_eq!(here(&answer), body);
}

fn every_worker_is_told_by_its_number(daemon: &Daemon) {
    let workers = here(&done(daemon, "POST ListWorkers?node=self", Some(json!({}))));
    let workers = workers.as_array().expect("a list");
    let names: Vec<&str> = workers.iter().filter_map(|worker| worker["name"].as_str()).collect();
    for name in ["queue", "uploads", "orphans", "scrub", "fetch", "sync"] {
        assert!(names.contains(&name), "no {name} among {names:?}");
    }
    for worker in workers {
        let body = json!({ "id": worker["id"] });
        let one = here(&done(daemon, "POST GetWorkerInfo?node=self", Some(body)));
        assert_eq!(one["name"], worker["name"]);
        assert!(["busy", "idle"].contains(&one["state"].as_str().expect("a state")));
    }
    let body = Some(json!({ "id": 1000 }));
    let (status, answer) = call(daemon, Some(&root(daemon)), "POST GetWorkerInfo", body);
    assert_eq!((status, &answer["code"]), (404, &json!("NoSuchWorker")));
}

fn scrub(daemon: &Daemon) -> Value {
    let workers = here(&done(daemon, "POST ListWorkers", None));
    let found = workers.as_array().expect("a list").iter().find(|w| w["name"] == "scrub").cloned();
    found.expect("there is a scrub")
}

fn the_scrub_is_told_what_to_do(daemon: &Daemon) {
    let tell = |mut body: Value, command: &str| {
        body["repairType"] = json!({ "scrub": command });
        call(daemon, Some(&root(daemon)), "POST LaunchRepairOperation?node=self", Some(body))
    };
    assert_eq!(tell(json!({ "pauseSecs": 600 }), "start").0, 400, "nothing pauses");
    let (status, answer) = tell(json!({ "pauseSecs": 7200 }), "pause");
    assert_eq!(status, 200, "{answer}");
    let said = scrub(daemon)["freeform"].to_string();
    assert!(said.contains("paused for 119 min") || said.contains("paused for 120 min"), "{said}");
    assert_eq!(tell(json!({}), "resume").0, 200);
    assert!(!scrub(daemon)["freeform"].to_string().contains("paused"));
    assert_eq!(tell(json!({}), "resume").0, 400, "it is not paused");
}

fn what_makes_no_sense_is_refused(daemon: &Daemon) {
    let ask = |text: &str, body: Value| {
        let (status, answer) = call(daemon, Some(&root(daemon)), text, Some(body));
        (status, answer["message"].as_str().expect("a message").to_owned())
    };
    let (status, message) = ask("POST GetWorkerVariable", json!({ "variable": "pase" }));
    assert!(status == 404 && message.contains("the nearest is pace"), "{status} {message}");
    let body = json!({ "variable": "pace", "value": "quick" });
    let (status, message) = ask("POST SetWorkerVariable", body);
    assert!(status == 400 && message.contains("idle, normal, fast"), "{status} {message}");
}
