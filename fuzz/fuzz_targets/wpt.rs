//! Values of the `Workload-Proof-Token` header, as whoever calls a door sends them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::wpt(bytes);
});
