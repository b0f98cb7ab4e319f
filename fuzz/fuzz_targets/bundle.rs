//! Bundle documents and JWKs, as other trust domains publish them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::bundle(bytes);
});
