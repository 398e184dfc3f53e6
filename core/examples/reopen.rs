//! Measures how long the metadata database takes to open after `kill -9`, with a million rows in it (or as many as given).
//!
//! ```sh
//! cargo run --release -p mews-core --example reopen -- [ROWS]
//! ```
//!
//! It starts itself again as the process to kill. The file is made in the system's temporary directory and removed.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mews_core::{
    id::{BucketId, VersionId},
    store::{Batch, Op, Table, apply::Delays, redb::Db},
    table::{
        encode, key,
        object::{Content, Meta, ObjectRow},
    },
    time::{Stamp, Timestamp},
};

const CACHE: usize = 64 << 20;
const BUCKET: BucketId = BucketId([7; 16]);
const SHARDS: u16 = 16;

fn open(path: &Path) -> Result<Db, Box<dyn Error>> {
    let file: File =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let delays = Delays { block: Duration::ZERO, tombstone: Duration::ZERO };
    Ok(Db::open(redb::backends::FileBackend::new(file)?, CACHE, delays)?)
}

fn batch(n: u64) -> Batch {
    // A hash in the key spreads the rows as real names would.
    let name = blake3::hash(&n.to_be_bytes()).to_hex();
    let version = VersionId::new(Stamp(n), [0; 8]);
    let meta = Meta { size: n, etag: name[..32].to_owned(), ..Meta::default() };
    let value = encode(&ObjectRow { version, content: Content::Inline(meta) });
    let name = name.as_bytes();
    let key = key::object(BUCKET, key::shard_of(name, SHARDS), name);
    let inline = Some(vec![0; 64].into());
    Batch::new(Timestamp(n), vec![Op::Merge { table: Table::Object, key, value, inline }])
}

/// The process that is killed: loads, says so, and goes on writing.
fn load(path: &Path, rows: u64) -> Result<(), Box<dyn Error>> {
    let db = open(path)?;
    let mut next = 0;
    loop {
        let group: Vec<Batch> = (next..next + 1024).map(batch).collect();
        for outcome in db.commit(&group)? {
            outcome?;
        }
        if next < rows && next + 1024 >= rows {
            println!("loaded");
        }
        next += 1024;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("load"), Some(path), Some(rows)) => load(Path::new(&path), rows.parse()?),
        (rows, None, None) => measure(rows.unwrap_or("1000000").parse()?),
        _ => Err("usage: reopen [ROWS]".into()),
    }
}

fn measure(rows: u64) -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("mews-reopen-{}.redb", std::process::id()));
    let mut child = Command::new(std::env::current_exe()?)
        .arg("load")
        .arg(&path)
        .arg(rows.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let started = Instant::now();
    let mut line = String::new();
    let output = child.stdout.take().ok_or("the child has no output")?;
    BufReader::new(output).read_line(&mut line)?;
    println!("{rows} rows loaded in {:.1} s", started.elapsed().as_secs_f64());
    // In the middle of a commit, as likely as not.
    std::thread::sleep(Duration::from_millis(50));
    child.kill()?;
    child.wait()?;
    if line.trim() != "loaded" {
        return Err("the loading process failed".into());
    }
    let started = Instant::now();
    let db = open(&path)?;
    let took = started.elapsed();
    println!(
        "reopened after kill -9 in {:.1} ms (boot {}, file {} MiB)",
        took.as_secs_f64() * 1000.0,
        db.boot(),
        std::fs::metadata(&path)?.len() >> 20
    );
    drop(db);
    std::fs::remove_file(&path)?;
    Ok(())
}
