//! What is about the command line itself.

use super::Keeper;

pub fn run(keeper: &Keeper) {
    for shell in ["bash", "zsh", "fish"] {
        keeper.hears(&["completions", shell], "__complete");
    }
    keeper.is_refused(&["completions", "sh"], 2, "there are bash, zsh and fish");
    keeper.hears(&["man", "bucket", "allow"], ".TH MEWS\\-BUCKET\\-ALLOW 1");
    keeper.hears(&["metrics", "alerts"], "groups:");
    keeper.hears(&["metrics", "dashboard"], "\"panels\"");
    keeper.hears(&["metrics", "list"], "cluster_healthy");
    names_are_completed(keeper);
    keeper.is_refused(&["bucket", "lst"], 2, "is `mews bucket list` meant?");
    keeper.is_refused(&["bucket"], 2, "after `mews bucket` comes one of: list, info");
    for words in [&["status"][..], &["layout", "show"], &["bucket", "list"]] {
        let text = keeper.says(words);
        assert!(!text.contains('\x1b'), "colours without a terminal: {text}");
    }
}

fn names_are_completed(keeper: &Keeper) {
    let dir = keeper.daemon.dir().display().to_string();
    let asked = |words: &[&str]| {
        let mut command = std::process::Command::new(&keeper.mews);
        let globals = ["__complete", "--dir", &dir];
        let output = command.args(globals).args(words).output().expect("mews runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(asked(&["bucket", "info", "vid"]).starts_with("words\nvideos\t"));
    assert!(asked(&["key", "info", "cam"]).starts_with("words\ncamera\t"));
    assert!(asked(&["bucket", "allow", "videos", "--key", "cam"]).starts_with("words\ncamera\t"));
    assert_eq!(asked(&["bucket", "info", "zzz"]), "words\n");
}
