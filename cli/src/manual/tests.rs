use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use argh::ArgsInfo;

use super::*;
use crate::words;

/// Set it to write the files again: look at what has changed before you commit it.
const BLESS: &str = "MEWS_BLESS";

fn testdata(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/cli").join(folder)
}

/// Holds a folder to these texts, by the names of their files.
fn held(folder: &str, texts: &BTreeMap<String, String>) {
    let dir = testdata(folder);
    if std::env::var_os(BLESS).is_some() {
        if dir.exists() {
            fs::remove_dir_all(&dir).expect("the old ones go");
        }
        fs::create_dir_all(&dir).expect("a folder");
        for (name, text) in texts {
            fs::write(dir.join(name), text).expect("written");
        }
    }
    let mut there: Vec<String> = fs::read_dir(&dir)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    there.sort();
    assert!(
        there.iter().eq(texts.keys()),
        "{folder}: not these files; run with {BLESS}=1 to write them again"
    );
    for (name, text) in texts {
        let expected = fs::read_to_string(dir.join(name)).expect(name);
        assert_eq!(*text, expected, "{folder}/{name}: run with {BLESS}=1 if that is meant");
    }
}

#[test]
fn the_help_of_every_command_is_as_written_down() {
    let top = TopLevel::get_args_info();
    let texts = pages(&top).into_iter().map(|page| {
        let words = page.names.iter().copied().chain(["--help"]).map(str::to_owned).collect();
        let exit = words::parse("mews", words).expect_err("help is no command");
        assert!(exit.status.is_ok(), "{}", exit.output);
        (format!("{}.txt", file(&page.names)), exit.output)
    });
    held("help", &texts.collect());
}

#[test]
fn every_argument_is_explained() {
    for page in pages(&TopLevel::get_args_info()) {
        for positional in page.command.positionals {
            assert!(!positional.description.is_empty(), "{:?} {}", page.names, positional.name);
        }
    }
}

#[test]
fn a_manual_page_says_what_the_help_says() {
    let top = TopLevel::get_args_info();
    let all = pages(&top);
    let of = |names: &[&str]| {
        let page = all.iter().find(|page| page.names == names).expect("it is there");
        let text = roff::page(names, page.command, &top);
        (format!("{}.1", file(names)), text.replace(env!("CARGO_PKG_VERSION"), "VERSION"))
    };
    held("man", &[of(&[]), of(&["layout"]), of(&["layout", "assign"])].into());
    let asked = Man { command: vec!["frobnicate".to_owned()], write: None };
    assert!(man(&asked).expect_err("none").contains("mews frobnicate"));
}

#[test]
fn all_pages_are_written_and_formatters_find_nothing_wrong_with_them() {
    let dir = std::env::temp_dir().join(format!("mews-man-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder");
    let asked = Man { command: Vec::new(), write: Some(dir.display().to_string()) };
    let said = man(&asked).expect("written");
    let count = fs::read_dir(&dir).expect("there").count();
    assert_eq!(said, format!("{count} pages written to {}.\n", dir.display()));
    assert!(dir.join("mews-layout-assign.1").exists());
    fs::remove_dir_all(&dir).expect("ours");
}

/// Has bash complete a line with the script, and a `mews` that says what it was asked.
#[test]
fn bash_asks_with_the_words_so_far_and_offers_what_it_hears() {
    let script = script(&Completions { shell: Shell::Bash });
    let test = format!(
        "{script}\n\
         fake() {{ printf '%s\\n' words 'one\tthe first' 'two words\tthe second' \"$#:$1:$2:$3:$4\"; }}\n\
         COMP_WORDS=(fake bucket info ''); COMP_CWORD=3\n\
         _mews fake '' info\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let child = Command::new("bash")
        .args(["--norc", "-c", &test])
        .stdin(Stdio::null())
        .output()
        .expect("bash is there");
    let said = String::from_utf8_lossy(&child.stdout);
    let errors = String::from_utf8_lossy(&child.stderr);
    assert_eq!(said, "one\ntwo\\ words\n4:__complete:bucket:info:\n", "{errors}");
}
