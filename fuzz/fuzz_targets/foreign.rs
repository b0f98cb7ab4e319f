//! Foreign bundles as admins give them: SPIFFE documents or PEM.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::foreign(bytes);
});
