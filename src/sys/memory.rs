//! How much memory our own process has.

use std::{fs, io};

/// Bytes of ours that are in memory now, shared ones included (`/proc/self/status`, `VmRSS`).
///
/// # Errors
/// When there is no `/proc`, or it says something else.
pub(crate) fn resident_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(kibibytes.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_running_program_has_some() {
        assert!(resident_bytes().unwrap() > 100 * 1024);
    }
}
