//! Tokens that are to be exchanged, as whoever calls the token endpoint sends them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::subject(bytes);
});
