//! Messages between a daemon and the process that takes its place.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::replace(bytes);
});
