//! What the machine and its processes say about themselves (Linux).

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

/// Ticks in a second of the times in `/proc` (proc(5): `USER_HZ`, 100 on every Linux of today).
const TICKS_PER_SECOND: u64 = 100;

/// Kernel and user time a process has taken so far.
pub fn cpu_time(process_id: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).context("the process has ended")?;
    // The second field is a name in parentheses, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("/proc/…/stat is of another shape")?;
    let mut times = fields.split_whitespace().skip(11).map(|ticks| ticks.parse::<u64>().unwrap_or_default());
    let ticks = times.next().unwrap_or_default() + times.next().unwrap_or_default();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Resident memory of a process, in bytes.
pub fn resident(process_id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).context("the process has ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1_024)
}

/// One line: cores, what else is running, and how fast the disk makes a write durable.
pub fn description() -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    Ok(format!("{cores} cores, load {load} before the run, {:.0} fdatasync/s", synced_writes_per_second()?))
}

/// A page rewritten and made durable, again and again, where the databases will lie.
fn synced_writes_per_second() -> Result<f64> {
    const TIME: Duration = Duration::from_millis(300);
    let mut file: File = tempfile::tempfile().context("cannot make a file")?;
    file.write_all(&[0; 4_096])?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut writes = 0_u32;
    while begun.elapsed() < TIME {
        file.write_all_at(&[0; 4_096], 0)?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(f64::from(writes) / begun.elapsed().as_secs_f64())
}
