//! fs-verity: the kernel's own digest of a file.
#![expect(unsafe_code, reason = "an ioctl that nix does not have")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

/// SHA-512 is the longest there is.
const DIGEST_BYTES_MAX: u16 = 64;

/// `struct fsverity_digest` of `<linux/fsverity.h>` with room for the longest digest.
#[repr(C)]
struct Raw {
    algorithm: u16,
    size: u16,
    digest: [u8; DIGEST_BYTES_MAX as usize],
}

/// `_IOWR('f', 134, struct fsverity_digest)`; the size is that of the head alone.
const FS_IOC_MEASURE_VERITY: libc::Ioctl = 0xC004_6686;

/// The algorithm and digest of a file with fs-verity; `None` for any other.
///
/// # Errors
/// What the system said, other than that the file has none.
pub(crate) fn measure(file: &File) -> io::Result<Option<(&'static str, Vec<u8>)>> {
    let mut raw = Raw { algorithm: 0, size: DIGEST_BYTES_MAX, digest: [0; DIGEST_BYTES_MAX as usize] };
    // SAFETY: the kernel writes at most the head and `size` bytes of digest, for which Raw has room.
    let done = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), FS_IOC_MEASURE_VERITY, &raw mut raw) };
    if done != 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ENODATA | libc::ENOTTY | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        };
    }
    let algorithm = match raw.algorithm {
        1 => "sha256",
        2 => "sha512",
        _ => return Ok(None),
    };
    Ok(raw.digest.get(..usize::from(raw.size)).map(|digest| (algorithm, digest.to_vec())))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_file_without_verity_has_no_digest() {
        assert_eq!(measure(&File::open("/proc/self/exe").unwrap()).unwrap(), None);
    }
}
