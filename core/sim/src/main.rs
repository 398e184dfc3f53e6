//! `mews-sim`: runs the simulator from the command line.

use std::{ops::Range, process::ExitCode};

use argh::FromArgs;
use mews_sim::{
    fault::Fault,
    planted, scenario,
    workload::{self, Report, Scenario},
};

/// The deterministic simulator of Mews: one node, its disks and its clients, from one seed.
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
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        format!("no such fault; there are: {}", names.join(", "))
    })
}

fn setup(file: Option<&str>, ops: Option<u64>) -> Result<Scenario, String> {
    let mut scenario = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
            scenario::parse(&text).map_err(|error| format!("{path}: {error}"))?.scenario
        }
        None => Scenario::default(),
    };
    scenario.ops = ops.unwrap_or(scenario.ops);
    Ok(scenario)
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

fn print(report: &Report) {
    let Report { seed, ops, met, hash, wrong, .. } = report;
    println!(
        "seed {seed}: {ops} operations, {} effects, {} commits, {} kills, {} power failures, {} clients gone, trace {hash}{}",
        met.effects,
        met.commits,
        met.kills,
        met.power,
        met.gone,
        if wrong.is_empty() { "" } else { ": WRONG" }
    );
    for wrong in wrong {
        println!("    {wrong}");
    }
}

fn run_seeds(run: &Run) -> Result<bool, String> {
    let scenario = setup(run.scenario.as_deref(), run.ops)?;
    let (mut ops, mut failed) = (0, Vec::new());
    for seed in run.seeds.clone() {
        let report = workload::run(seed, &scenario);
        print(&report);
        ops += report.ops;
        if !report.wrong.is_empty() {
            failed.push(seed);
        }
    }
    let seeds = run.seeds.end - run.seeds.start;
    if failed.is_empty() {
        println!("all held: {seeds} seeds, {ops} operations");
    } else {
        println!("{} of {seeds} seeds failed: {failed:?}; see them with `replay`", failed.len());
    }
    Ok(failed.is_empty())
}

fn replay_seed(replay: &Replay) -> Result<bool, String> {
    let mut scenario = setup(replay.scenario.as_deref(), replay.ops)?;
    scenario.options.keep_trace = true;
    let report = workload::run(replay.seed, &scenario);
    for line in &report.text {
        println!("{line}");
    }
    print(&report);
    Ok(report.wrong.is_empty())
}

fn plant(only: Option<Fault>) -> bool {
    let mut missed = 0;
    for fault in Fault::ALL.into_iter().filter(|fault| only.is_none_or(|only| only == *fault)) {
        match planted::catch(fault) {
            Some(caught) => {
                // The beginning tells what gave it away; `replay` tells the rest.
                let by: String =
                    caught.by.lines().next().unwrap_or_default().chars().take(160).collect();
                println!("{}: caught by seed {}: {by}", fault.name(), caught.seed);
            }
            None => {
                missed += 1;
                println!("{}: MISSED", fault.name());
            }
        }
    }
    println!("{}", if missed == 0 { "every fault was caught" } else { "some faults were missed" });
    missed == 0
}
