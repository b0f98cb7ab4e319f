//! Tokens, as whoever calls a validator sends them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::jws(bytes);
});
