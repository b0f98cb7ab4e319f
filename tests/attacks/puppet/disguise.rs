//! Making `/proc/PID/exe` name another program: every page of our own is put on other memory, and then the kernel lets
//! whoever is root of a user namespace say what it runs (`PR_SET_MM_MAP`).
#![expect(unsafe_code, reason = "the program replaces the memory it runs from")]

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    ptr,
};

/// `struct prctl_mm_map` of `<linux/prctl.h>`.
#[repr(C)]
struct Map {
    /// `start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start env_end`.
    addresses: [u64; 11],
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Shows another program as the one we run, and, if they are given, its code, stack and heap as ours.
///
/// # Errors
/// `EPERM` for whoever is not root of its user namespace.
pub(super) fn rewrite_executable(path: &str, layout: Option<[u64; 3]>) -> io::Result<()> {
    let ours = fs::read_link("/proc/self/exe")?;
    let ours = ours.to_string_lossy().into_owned();
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        if let Some(before) = line.strip_suffix(ours.as_str()) {
            replace(before)?;
        }
    }
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after: Vec<&str> = stat.rsplit_once(") ").map(|(_, after)| after.split(' ').collect()).unwrap_or_default();
    let field = |number: usize| after.get(number - 3).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: asks where the heap ends and moves nothing.
    let end = unsafe { libc::sbrk(0) };
    let end = u64::try_from(end.addr()).map_err(io::Error::other)?;
    let mut addresses = [
        field(26),
        field(27),
        field(45),
        field(46),
        field(47),
        end,
        field(28),
        field(48),
        field(49),
        field(50),
        field(51),
    ];
    if let Some([code, stack, heap]) = layout {
        take_memory();
        for (at, address) in [(0, code), (1, code + 4_096), (4, heap), (5, heap), (6, stack)] {
            addresses[at] = address;
        }
    }
    let program = File::open(path)?;
    let exe_fd = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
    let map = Map { addresses, auxv: 0, auxv_size: 0, exe_fd };
    let size = size_of::<Map>();
    // SAFETY: the structure has the kernel's layout and outlives the call, and its size is given.
    let done = unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes all the heap that will be needed: it cannot grow any more when the kernel has another one in mind.
fn take_memory() {
    const ENOUGH: usize = 16 << 20;
    for (option, value) in [(libc::M_TRIM_THRESHOLD, libc::c_int::MAX), (libc::M_MMAP_THRESHOLD, 32 << 20)] {
        // SAFETY: sets how the allocator behaves.
        unsafe { libc::mallopt(option, value) };
    }
    drop(std::hint::black_box(Vec::<u8>::with_capacity(ENOUGH)));
}

/// Puts what lies in one range of the map on memory without a file, at the same place and with the same rights.
fn replace(line: &str) -> io::Result<()> {
    let mut words = line.split_whitespace();
    let range = words.next().and_then(|range| range.split_once('-')).ok_or(io::ErrorKind::InvalidData)?;
    let address = |text: &str| usize::from_str_radix(text, 16).map_err(io::Error::other);
    let (begin, end) = (address(range.0)?, address(range.1)?);
    let rights = words.next().unwrap_or_default().bytes();
    let rights = rights.fold(0, |rights, letter| match letter {
        b'r' => rights | libc::PROT_READ,
        b'w' => rights | libc::PROT_WRITE,
        b'x' => rights | libc::PROT_EXEC,
        _ => rights,
    });
    let length = end - begin;
    let place = ptr::with_exposed_provenance_mut::<libc::c_void>(begin);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let copy = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if copy == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if rights & libc::PROT_READ != 0 {
        // SAFETY: both ranges are mapped, `length` long, and apart.
        unsafe { ptr::copy_nonoverlapping(place.cast::<u8>().cast_const(), copy.cast::<u8>(), length) };
    }
    // SAFETY: the range was just mapped.
    if unsafe { libc::mprotect(copy, length, rights) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the copy has the same bytes and rights as what it replaces, also where it is the code that runs now.
    let moved = unsafe { libc::mremap(copy, length, length, flags, place) };
    if moved == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}
