//! What a process takes of the machine's memory, as `/proc/PID/status` says it (proc_pid_status(5)).

use anyhow::{Context, Result};

/// Resident now, in MiB.
pub(crate) fn resident_mib(process: u32) -> Result<f64> {
    line(process, "VmRSS:")
}

/// The most that was ever resident, in MiB.
pub(crate) fn peak_mib(process: u32) -> Result<f64> {
    line(process, "VmHWM:")
}

/// From now on the most counts anew (`/proc/PID/clear_refs`, proc_pid_clear_refs(5)).
pub(crate) fn reset_peak(process: u32) -> Result<()> {
    let file = format!("/proc/{process}/clear_refs");
    std::fs::write(&file, "5").with_context(|| format!("{file} cannot be written"))
}

fn line(process: u32, name: &str) -> Result<f64> {
    let file = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&file).with_context(|| format!("{file} cannot be read"))?;
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: f64 = found.context("no such line")?.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's count may be off by, in MiB: it adds what each core counted only now and then.
    const UNCOUNTED: f64 = 4.0;

    #[test]
    fn this_process_has_memory_and_never_had_less_at_most() {
        let now = resident_mib(std::process::id()).expect("this process");
        let peak = peak_mib(std::process::id()).expect("this process");
        assert!(now > 0.5 && peak + UNCOUNTED > now, "{now} MiB now, {peak} MiB at most");
        let much = std::hint::black_box(vec![1_u8; 64 << 20]);
        let peak = peak_mib(std::process::id()).expect("this process");
        assert!(peak >= 64.0);
        drop(much);
        reset_peak(std::process::id()).expect("this process");
        assert!(peak_mib(std::process::id()).expect("this process") < peak);
        assert!(resident_mib(u32::MAX).is_err());
    }
}
