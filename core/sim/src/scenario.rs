//! Scenario files: how a run is set up, and the seeds that once found something.
//!
//! Lines of `name = value`; `#` begins a comment. A file with the line `cluster = yes` is about a whole cluster, and what it does not
//! name is as the seed chooses; other files are about one machine, and what they do not name is as in [`Scenario::default`].

use std::time::Duration;

use crate::{
    fault::Fault,
    storm,
    swarm::{Plan, Trouble},
    workload::{self, Report, Scenario},
};

/// A scenario from a file.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The setup.
    pub setup: Setup,
    /// The seeds that it is kept for.
    pub seeds: Vec<u64>,
}

/// What is run.
#[derive(Clone, Debug)]
pub enum Setup {
    /// One machine.
    One(Box<Scenario>),
    /// A cluster, with what is not left to the seed.
    Cluster(Fixed),
}

impl Default for Setup {
    fn default() -> Self {
        Self::Cluster(Fixed::default())
    }
}

/// What of a cluster's plan is not left to the seed.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    lines: Vec<(String, String)>,
    ops: Option<u64>,
    fault: Option<Fault>,
    keep_trace: bool,
}

/// Requests to a seed, unless it is said otherwise.
const OPS: u64 = 1000;

impl Fixed {
    /// A value that is as it is here and not as the seed chooses.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Plants a fault.
    #[must_use]
    pub fn planted(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// The plan of a seed.
    ///
    /// # Errors
    /// Which name or value is wrong.
    pub fn plan(&self, seed: u64) -> Result<Plan, String> {
        let mut plan = Plan::of(seed, self.ops.unwrap_or(OPS)).with(self.fault);
        plan.options.keep_trace = self.keep_trace;
        for (name, value) in &self.lines {
            set_plan(&mut plan, name, value)?;
        }
        Ok(plan)
    }
}

impl Setup {
    /// How many requests there are, whatever was said before.
    pub fn set_ops(&mut self, ops: u64) {
        match self {
            Self::One(scenario) => scenario.ops = ops,
            Self::Cluster(fixed) => fixed.ops = Some(ops),
        }
    }

    /// Keeps the trace's text.
    pub fn keep_trace(&mut self) {
        match self {
            Self::One(scenario) => scenario.options.keep_trace = true,
            Self::Cluster(fixed) => fixed.keep_trace = true,
        }
    }

    /// Runs it with one seed.
    pub fn run(&self, seed: u64) -> Report {
        match self {
            Self::One(scenario) => workload::run(seed, scenario),
            Self::Cluster(fixed) => match fixed.plan(seed) {
                Ok(plan) => storm::run(seed, &plan),
                Err(error) => Report::failed(seed, error),
            },
        }
    }
}

/// Reads a scenario.
///
/// # Errors
/// Which line cannot be read, and why.
pub fn parse(text: &str) -> Result<Kept, String> {
    let mut lines = Vec::new();
    let mut seeds = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| format!("line {number}: not of the form `name = value`"))?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if name == "seeds" {
            let numbers = value.split(',').map(|seed| seed.trim().parse::<u64>());
            let numbers: Result<Vec<u64>, _> = numbers.collect();
            seeds = numbers.map_err(|error| format!("line {number}: {error}"))?;
        } else {
            lines.push((number, name, value));
        }
    }
    let cluster = lines.iter().any(|(_, name, value)| name == "cluster" && value == "yes");
    let setup = if cluster {
        let mut fixed = Fixed::default();
        for (number, name, value) in lines.into_iter().filter(|(_, name, _)| name != "cluster") {
            let tried = set_plan(&mut Plan::of(1, OPS), &name, &value);
            tried.map_err(|error| format!("line {number}: {error}"))?;
            fixed = fixed.with(&name, &value);
        }
        Setup::Cluster(fixed)
    } else {
        let mut scenario = Scenario::default();
        for (number, name, value) in lines {
            let set = set(&mut scenario, &name, &value);
            set.map_err(|error| format!("line {number}: {error}"))?;
        }
        Setup::One(Box::new(scenario))
    };
    Ok(Kept { setup, seeds })
}

fn set_plan(plan: &mut Plan, name: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<u64>().map_err(|error| format!("`{value}`: {error}"));
    let small = || u16::try_from(number()?).map_err(|error| format!("`{value}`: {error}"));
    let size = || number().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
    let millis = || number().map(Duration::from_millis);
    match name {
        "ops" => plan.ops = number()?,
        "clients" => plan.clients = number()?.max(1),
        "founders" => plan.founders = number()?,
        "fill" => plan.fill = size()?,
        "block_size" => {
            plan.options.config.block_size =
                number()?.max(1).try_into().map_err(|error| format!("`{value}`: {error}"))?
        }
        "keys" => plan.habits.keys = number()?.max(1),
        "blocks_max" => plan.habits.blocks_max = number()?.max(2),
        "small_only" => plan.habits.small_only = value == "yes",
        "repeat_every" => plan.habits.repeat_every = number()?,
        "pause_ms" => plan.pause = millis()?,
        "leave_every" => plan.leave_every = number()?,
        "slow_every" => plan.slow_every = number()?,
        "replication" => plan.replication = small()?,
        "hosts" => {
            let hosts = size()?.max(1);
            let zones = plan.zones.iter().max().map_or(1, |zone| zone + 1);
            plan.zones = (0..hosts).map(|host| host % zones).collect();
            plan.gateways = plan.gateways.min(hosts.saturating_sub(usize::from(plan.replication)));
        }
        "zones" => {
            let zones = size()?.max(1);
            plan.zones = (0..plan.zones.len()).map(|host| host % zones).collect();
        }
        "spare" => plan.spare = size()?,
        "gateways" => plan.gateways = size()?,
        "far_us" => plan.weather.far = number()?,
        "late_every" => plan.weather.late_every = number()?,
        "reset_every" => plan.weather.reset_every = number()?,
        "fault_every_ms" => plan.fault_every = millis()?,
        "down_ms" => plan.down = millis()?,
        "down_max" => plan.down_max = size()?,
        "skew_ms" => plan.skew = number()?,
        "night" => plan.night = value == "yes",
        "tombstone_delay_ms" => plan.options.config.tombstone_delay = millis()?,
        "block_delay_ms" => plan.options.config.block_delay = millis()?,
        "faults" => {
            let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
            let faults = names
                .map(|name| Trouble::from_name(name).ok_or_else(|| format!("no trouble `{name}`")));
            plan.faults = faults.collect::<Result<_, _>>()?;
        }
        "fault" => {
            let fault = Fault::from_name(value);
            plan.options.fault = Some(fault.ok_or_else(|| format!("no fault `{value}`"))?);
        }
        other => return Err(format!("unknown name `{other}`")),
    }
    Ok(())
}

fn set(scenario: &mut Scenario, name: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<u64>().map_err(|error| format!("`{value}`: {error}"));
    let small = || u32::try_from(number()?).map_err(|error| format!("`{value}`: {error}"));
    let config = &mut scenario.options.config;
    match name {
        "ops" => scenario.ops = number()?,
        "clients" => scenario.clients = number()?,
        "keys" => scenario.keys = number()?,
        "crash_every" => scenario.crash_every = number()?,
        "leave_every" => scenario.leave_every = number()?,
        "slow_every" => scenario.slow_every = number()?,
        "repeat_every" => scenario.repeat_every = number()?,
        "pool" => scenario.pool = number()?.max(1),
        "blocks_max" => scenario.blocks_max = number()?.max(2),
        "skew_ms" => scenario.skew = number()?,
        "block_size" => config.block_size = small()?,
        "inline_max" => config.inline_max = small()?,
        "block_delay_ms" => config.block_delay = Duration::from_millis(number()?),
        "tombstone_delay_ms" => config.tombstone_delay = Duration::from_millis(number()?),
        "fault" => {
            let fault = Fault::from_name(value);
            scenario.options.fault = Some(fault.ok_or_else(|| format!("no fault `{value}`"))?);
        }
        other => return Err(format!("unknown name `{other}`")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_and_a_wrong_line_is_named() {
        let kept = parse("# why\nseeds = 3, 5\nops = 7 # few\n\nblock_size = 512\n").unwrap();
        assert_eq!(kept.seeds, [3, 5]);
        let Setup::One(scenario) = kept.setup else { panic!("it is about one machine") };
        assert_eq!((scenario.ops, scenario.options.config.block_size), (7, 512));
        let error = parse("ops = 7\nopps = 8\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("opps"), "{error}");
    }

    #[test]
    fn a_cluster_keeps_what_its_file_says_and_leaves_the_rest_to_the_seed() {
        let kept = parse("cluster = yes\nfaults = kill, wipe\nhosts = 4\n").unwrap();
        let Setup::Cluster(fixed) = kept.setup else { panic!("it is about a cluster") };
        for seed in 1..20 {
            let plan = fixed.plan(seed).unwrap();
            assert_eq!((plan.zones.len(), plan.faults.len()), (4, 2));
        }
        assert!(parse("cluster = yes\nfaults = rain\n").unwrap_err().contains("rain"));
    }
}
