//! Access tokens of other issuers, as whoever calls a door sends them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::foreign_token(bytes);
});
