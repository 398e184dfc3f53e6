//! Before something that cannot be taken back.

use std::io::{IsTerminal, Write, stderr, stdin};

use super::Failure;

/// What was answered means yes.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Goes on if `yes` was given, or if somebody at a terminal says so now. `what` is a sentence without its full stop.
pub fn confirm(yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(Failure::Unconfirmed(format!("{what}. Add --yes if that is meant")));
    }
    eprint!("{what}. Go on? [y/N] ");
    // Only for the eye.
    let _shown = stderr().flush();
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    if read.is_ok() && is_yes(&answer) {
        return Ok(());
    }
    Err(Failure::Failed("nothing was changed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Y", "yes\n", "YES"] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "\n", "n", "no", "yess", "sure"] {
            assert!(!is_yes(no), "{no}");
        }
    }
}
