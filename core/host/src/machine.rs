//! What the machine has, and what it lets a process have.

use mews_core::daemon::{
    bounds::{Bounds, bounds},
    trouble::Trouble,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Random bytes from the operating system.
///
/// # Errors
/// It has none.
pub fn random<const N: usize>() -> Result<[u8; N], Trouble> {
    let mut bytes = [0; N];
    let reason = "it has no random bytes".to_owned();
    SystemRandom::new().fill(&mut bytes).map_err(|_| Trouble::System { reason })?;
    Ok(bytes)
}

/// The machine's name, for people.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The bounds that suit this machine, with the bound on open files raised as far as we may.
pub fn measure() -> Bounds {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    bounds(raise_open_files(), memory(), cores)
}

/// What the operating system refuses, as the trouble that ends a start.
pub fn system(error: std::io::Error) -> Trouble {
    Trouble::System { reason: error.to_string() }
}

/// Tells this start of the machine from all others; empty if the operating system doesn't.
pub fn start_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Whether the processor has instructions for AES.
pub fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// Raises the bound on open files as far as we may, and says how far that is.
fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            log::warn!("cannot raise the bound on open files: {error}");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// How many bytes of memory the machine has.
#[allow(clippy::useless_conversion, reason = "on 32-bit machines it is one")]
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}
