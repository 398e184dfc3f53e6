//! Questions that `mews` asks at a terminal before it does what cannot be taken back.

use std::{
    fs::File,
    io::{Read, Write},
    process::Stdio,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use super::Keeper;

/// End of input, as a terminal's user types it.
const CONTROL_D: &str = "\x04";

pub fn run(keeper: &Keeper) {
    keeper.says(&["bucket", "create", "asked"]);
    keeper.says(&["key", "create", "asked"]);
    keeper.says(&["token", "create", "asked", "--scope", "GetClusterHealth"]);
    for what in ["bucket", "key", "token"] {
        let delete = [what, "delete", "asked"];
        for answer in ["no\n", "\n", "yess\n", CONTROL_D] {
            let (code, shown) = answered(keeper, &delete, answer);
            assert!(shown.contains(". Go on? [y/N] "), "{delete:?}: {shown}");
            assert!(shown.contains("mews: nothing was changed"), "{delete:?} {answer:?}: {shown}");
            assert_eq!(code, Some(1), "{delete:?} {answer:?}: {shown}");
        }
        keeper.hears(&[what, "info", "asked"], "asked");
        let (code, shown) = answered(keeper, &delete, "yes\n");
        assert_eq!(code, Some(0), "{delete:?}: {shown}");
        keeper.is_refused(&[what, "info", "asked"], 1, "asked");
    }
    let purge = ["block", "purge", &"ab".repeat(32)];
    assert_eq!(answered(keeper, &purge, "n\n").0, Some(1));
    assert_eq!(answered(keeper, &purge, "Y\n").0, Some(0));
}

/// The exit code of a command at a terminal where somebody types this, and what the terminal shows.
fn answered(keeper: &Keeper, words: &[&str], answer: &str) -> (Option<i32>, String) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&person).and_then(|()| unlockpt(&person)).expect("it is ours");
    let name = ptsname(&person, Vec::new()).expect("it has a name");
    let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
    let program = File::from(program.expect("its other side"));
    let mut person = File::from(person);
    person.write_all(answer.as_bytes()).expect("somebody types");
    let mut command = keeper.command(words);
    command.stdin(program.try_clone().expect("a handle")).stdout(Stdio::null()).stderr(program);
    let mut child = command.spawn().expect("mews runs");
    // The last handles on this side of the terminal but the child's own.
    drop(command);
    let status = child.wait().expect("it ends");
    let mut shown = Vec::new();
    // Linux says that a terminal is at its end by an error.
    let end = person.read_to_end(&mut shown).map_err(|error| error.raw_os_error());
    let hung_up = Some(rustix::io::Errno::IO.raw_os_error());
    assert!(end.is_ok() || end == Err(hung_up), "{words:?}: {end:?}");
    (status.code(), String::from_utf8_lossy(&shown).into_owned())
}
