//! What a process of this machine has used so far, from /proc (Linux).

use std::{fs, io, time::Duration};

/// Ticks of the CPU times in /proc/PID/stat: `USER_HZ`, which is 100 on every architecture that Mews is built for.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time since its start, in steps of 10 ms.
    pub cpu: Duration,
    /// The most memory it has had resident so far, in bytes.
    pub peak: u64,
}

/// What the process has used so far.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "/proc does not read as expected");
    let ticks = ticks(&stat).ok_or_else(wrong)?;
    // A zombie has no memory any more.
    let peak = peak(&status).unwrap_or(0);
    Ok(Usage { cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND), peak })
}

/// What these processes have used so far, all together.
pub fn sum(pids: &[u32]) -> io::Result<Usage> {
    pids.iter().try_fold(Usage::default(), |sum, pid| {
        let Usage { cpu, peak } = usage(*pid)?;
        Ok(Usage { cpu: sum.cpu.saturating_add(cpu), peak: sum.peak.saturating_add(peak) })
    })
}

/// `utime` and `stime`, the 14th and 15th field. The second is the command's name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// `VmHWM`, given in KiB.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 5 6 7 8 130 70 0 0 20 0 1 0 100 1 1";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("42 (short) S 1"), None);
        assert_eq!(peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS: 1 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tx\n"), None);
    }

    #[test]
    fn this_very_process_can_be_observed() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.peak > 100_000, "{usage:?}");
        assert!(super::usage(u32::MAX).is_err());
        let this = std::process::id();
        assert!(sum(&[this, this]).unwrap().peak >= 2 * usage.peak);
        assert!(sum(&[this, u32::MAX]).is_err());
    }
}
