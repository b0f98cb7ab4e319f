//! Templates of SPIFFE IDs, with what callers have.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::template(bytes);
});
