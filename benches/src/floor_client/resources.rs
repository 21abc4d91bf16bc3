//! What this process has used, as the operating system counts it.

use std::mem::MaybeUninit;

fn usage() -> libc::rusage {
    let mut usage = MaybeUninit::uninit();
    // SAFETY: getrusage fills the whole struct, and with these arguments it cannot fail.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    }
}

/// User and system time of all threads so far.
pub fn cpu_seconds() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The most memory ever resident. Linux lets a child start with its parent's `ru_maxrss`, so its
/// own high-water mark is preferred where there is one.
pub fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let high_water = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = high_water.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or_else(|| usage().ru_maxrss as u64)
}
