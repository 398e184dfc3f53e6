//! Scenario files: how a run is set up, and the seeds that once found something.
//!
//! Lines of `name = value`; `#` begins a comment. What is not named is as in [`Scenario::default`].

use std::time::Duration;

use crate::{fault::Fault, workload::Scenario};

/// A scenario from a file.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The setup.
    pub scenario: Scenario,
    /// The seeds that it is kept for.
    pub seeds: Vec<u64>,
}

/// Reads a scenario.
///
/// # Errors
/// Which line cannot be read, and why.
pub fn parse(text: &str) -> Result<Kept, String> {
    let mut kept = Kept::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            set(&mut kept, line).map_err(|error| format!("line {number}: {error}"))?;
        }
    }
    Ok(kept)
}

fn set(kept: &mut Kept, line: &str) -> Result<(), String> {
    let (name, value) = line.split_once('=').ok_or("not of the form `name = value`")?;
    let (name, value) = (name.trim(), value.trim());
    let number = || value.parse::<u64>().map_err(|error| format!("`{value}`: {error}"));
    let small = || u32::try_from(number()?).map_err(|error| format!("`{value}`: {error}"));
    let scenario = &mut kept.scenario;
    let config = &mut scenario.options.config;
    match name {
        "seeds" => {
            let seeds = value.split(',').map(|seed| seed.trim().parse::<u64>());
            kept.seeds = seeds.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        }
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
        assert_eq!((kept.scenario.ops, kept.scenario.options.config.block_size), (7, 512));
        let error = parse("ops = 7\nopps = 8\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("opps"), "{error}");
    }
}
