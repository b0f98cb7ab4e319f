//! SPIFFE IDs, as they come in certificates, tokens and configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::id(bytes);
});
