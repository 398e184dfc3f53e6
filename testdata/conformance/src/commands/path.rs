//! The way from quickstart to a second key that may read one bucket, as the README shows it, word for word.

use std::{fs, path::Path, process::Command, sync::Arc};

use crate::{cluster::sibling, daemon::Daemon, signed::Access};

/// How the README announces it.
const HEADING: &str = "## A second key";

pub fn run(binary: &Path) {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).expect("there is a README");
    let section = readme.split_once(HEADING).expect("the README shows it").1;
    let block = section.split("```").nth(1).expect("commands").trim();
    let commands: Vec<&str> =
        block.lines().map(|line| line.split('#').next().unwrap_or(line).trim()).collect();
    let [quickstart, rest @ ..] = &commands[..] else { panic!("no commands: {block}") };
    assert_eq!(rest.len(), 2, "three commands: {commands:?}");

    let dir = tempfile::Builder::new().prefix("mews-").tempdir().expect("a temporary directory");
    let data = dir.path().join("mews-data");
    let mut args: Vec<String> = quickstart.split(' ').skip(1).map(str::to_owned).collect();
    assert_eq!(args, ["quickstart"], "{quickstart}");
    // Where it would be anyway in this folder, and on ports that are free.
    args.extend(["--dir".to_owned(), data.display().to_string()]);
    for address in ["--s3-addr", "--rpc-addr", "--web-addr", "--admin-addr"] {
        args.extend([address, "127.0.0.1:0"].map(str::to_owned));
    }
    let daemon = Daemon::launch(binary, Arc::new(dir), args);
    let mews = sibling(binary, "mews");
    let mut said = Vec::new();
    for line in rest {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("mews"), "{line}");
        let mut command = Command::new(&mews);
        command.args(words).current_dir(daemon.dir());
        command.env_remove("MEWS_ADMIN_URL").env_remove("MEWS_ADMIN_TOKEN");
        let output = command.output().expect("mews runs");
        assert!(output.status.success(), "{line}: {output:?}");
        said.push(String::from_utf8(output.stdout).expect("text"));
    }
    assert!(said[1].contains("(reader) may: read."), "{}", said[1]);
    let field = |name: &str| {
        let line = said[0].lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}:\n{}", said[0])).trim().to_owned()
    };
    let (id, secret) = (field("access key"), field("secret key"));
    let reader = Access { id: &id, secret: &secret, bucket: "default" };
    assert_eq!(reader.send(&daemon, "GET", "", b"").status, 200, "it lists");
    assert_eq!(reader.send(&daemon, "GET", "none", b"").status, 404, "it reads");
    assert_eq!(reader.send(&daemon, "PUT", "none", b"x").status, 403, "it does not write");
}
