//! What a client writes on a connection, before h2 reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::frames(bytes);
});
