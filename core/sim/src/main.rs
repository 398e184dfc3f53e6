//! `mews-sim`: runs the simulator from the command line.

use std::{
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use argh::FromArgs;
use mews_sim::{
    fault::Fault,
    planted,
    scenario::{self, Setup},
    workload::{Report, Scenario},
    world::Met,
};

/// The deterministic simulator of Mews: whole clusters, their disks, the network and the clients, from one seed.
#[derive(FromArgs)]
struct Arguments {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Run(Run),
    Replay(Replay),
    Faults(Faults),
}

/// Run many seeds; exit 0 if all held.
#[derive(FromArgs)]
#[argh(subcommand, name = "run", example = "mews-sim run --seeds 1..1000 --ops 300")]
struct Run {
    /// seeds, from A to B, B excluded: A..B
    #[argh(option, from_str_fn(seeds))]
    seeds: Range<u64>,
    /// requests to a seed
    #[argh(option)]
    ops: Option<u64>,
    /// a file that says how the run is set up
    #[argh(option)]
    scenario: Option<String>,
    /// one machine instead of a cluster
    #[argh(switch)]
    single: bool,
    /// begin no further seed after so many seconds
    #[argh(option)]
    seconds: Option<u64>,
    /// tell of seeds that failed only
    #[argh(switch)]
    brief: bool,
}

/// Run one seed again, and print what happened.
#[derive(FromArgs)]
#[argh(subcommand, name = "replay", example = "mews-sim replay 42 --ops 300")]
struct Replay {
    /// the seed
    #[argh(positional)]
    seed: u64,
    /// requests
    #[argh(option)]
    ops: Option<u64>,
    /// a file that says how the run is set up
    #[argh(option)]
    scenario: Option<String>,
    /// one machine instead of a cluster
    #[argh(switch)]
    single: bool,
}

/// Plant each known fault; exit 0 only if every one is caught.
#[derive(FromArgs)]
#[argh(subcommand, name = "faults")]
struct Faults {
    /// only this one
    #[argh(option, from_str_fn(fault))]
    only: Option<Fault>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parse = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let (from, to) = text.split_once("..").ok_or("seeds are given as A..B")?;
    let (from, to) = (parse(from)?, parse(to)?);
    if from < to { Ok(from..to) } else { Err(format!("{text} has no seeds in it")) }
}

fn fault(name: &str) -> Result<Fault, String> {
    Fault::from_name(name).ok_or_else(|| {
        let names = Fault::ALONE.iter().chain(&Fault::CLUSTER).map(|fault| fault.name());
        format!("no such fault; there are: {}", names.collect::<Vec<_>>().join(", "))
    })
}

fn setup(file: Option<&str>, single: bool, ops: Option<u64>) -> Result<Setup, String> {
    let mut setup = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            scenario::parse(&text).map_err(|error| format!("{path}: {error}"))?.setup
        }
        None if single => Setup::One(Box::<Scenario>::default()),
        None => Setup::default(),
    };
    if let Some(ops) = ops {
        setup.set_ops(ops);
    }
    Ok(setup)
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let held = match arguments.command {
        Command::Run(run) => run_seeds(&run),
        Command::Replay(replay) => replay_seed(&replay),
        Command::Faults(faults) => Ok(plant(faults.only)),
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mews-sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn describe(met: &Met) -> String {
    let numbers = [
        (met.effects, "effects"),
        (met.commits, "commits"),
        (met.messages, "messages"),
        (met.kills, "kills"),
        (met.power, "power failures"),
        (met.gone, "clients gone"),
        (met.resets, "connections broken"),
        (met.partitions, "partitions"),
        (met.slow, "slow links and disks"),
        (met.disk, "disk errors"),
        (met.rot, "rotten blocks"),
        (met.wipes, "disks lost"),
        (met.put_back, "old databases put back"),
        (met.skews, "clocks set wrong"),
        (met.layouts, "layouts"),
        (met.unavailable, "answers of 503"),
    ];
    let met = numbers.iter().filter(|(number, _)| *number > 0);
    met.map(|(number, what)| format!("{number} {what}")).collect::<Vec<_>>().join(", ")
}

fn print(report: &Report) {
    let Report { seed, ops, met, hash, wrong, .. } = report;
    let verdict = if wrong.is_empty() { "" } else { ": WRONG" };
    println!("seed {seed}: {ops} operations, {}, trace {hash}{verdict}", describe(met));
    for wrong in wrong {
        println!("    {wrong}");
    }
}

/// The seeds' sum: what was done and met, which failed, and one hash over all their traces.
#[derive(Default)]
struct Sum {
    ops: u64,
    met: Met,
    hashes: Vec<(u64, String)>,
    failed: Vec<u64>,
}

fn run_seeds(run: &Run) -> Result<bool, String> {
    let setup = setup(run.scenario.as_deref(), run.single, run.ops)?;
    let (next, sum) = (AtomicU64::new(run.seeds.start), Mutex::new(Sum::default()));
    let began = Instant::now();
    let is_over = || run.seconds.is_some_and(|most| began.elapsed().as_secs() >= most);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= run.seeds.end || is_over() {
                        return;
                    }
                    let report = setup.run(seed);
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    if !run.brief || !report.wrong.is_empty() {
                        print(&report);
                    }
                    sum.ops += report.ops;
                    sum.met += report.met;
                    if !report.wrong.is_empty() {
                        sum.failed.push(seed);
                        println!("    see it: {}", replay_command(run, seed));
                    }
                    sum.hashes.push((seed, report.hash));
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.hashes.sort();
    let hasher = sum.hashes.iter().fold(blake3::Hasher::new(), |mut hasher, (_, hash)| {
        hasher.update(hash.as_bytes());
        hasher
    });
    let hash = hex::encode(&hasher.finalize().as_bytes()[..16]);
    let (seeds, seconds) = (sum.hashes.len(), began.elapsed().as_secs());
    println!("{seeds} seeds, {} operations in {seconds} s; met: {}", sum.ops, describe(&sum.met));
    println!("trace {hash}");
    sum.failed.sort_unstable();
    match &sum.failed[..] {
        [] => println!("all held"),
        failed => println!("{} of {seeds} seeds failed: {failed:?}", failed.len()),
    }
    Ok(sum.failed.is_empty())
}

fn replay_command(run: &Run, seed: u64) -> String {
    let mut command = format!("cargo run --profile sim -p mews-sim -- replay {seed}");
    if let Some(ops) = run.ops {
        command += &format!(" --ops {ops}");
    }
    if let Some(file) = &run.scenario {
        command += &format!(" --scenario {file}");
    }
    if run.single {
        command += " --single";
    }
    command
}

fn replay_seed(replay: &Replay) -> Result<bool, String> {
    let mut setup = setup(replay.scenario.as_deref(), replay.single, replay.ops)?;
    setup.keep_trace();
    let report = setup.run(replay.seed);
    for line in &report.text {
        println!("{line}");
    }
    print(&report);
    Ok(report.wrong.is_empty())
}

fn plant(only: Option<Fault>) -> bool {
    let mut missed = 0;
    for planted in planted::ALL.iter().filter(|each| only.is_none_or(|only| only == each.fault)) {
        let (name, place) = (planted.fault.name(), planted.place());
        match planted.catch() {
            Some(caught) => {
                // The beginning tells what gave it away; `replay` tells the rest.
                let by: String =
                    caught.by.lines().next().unwrap_or_default().chars().take(160).collect();
                println!("{name} ({place}): caught by seed {}: {by}", caught.seed);
            }
            None => {
                missed += 1;
                println!("{name} ({place}): MISSED; with the first seed: {}", planted.about(1));
            }
        }
    }
    println!("{}", if missed == 0 { "every fault was caught" } else { "some faults were missed" });
    missed == 0
}
