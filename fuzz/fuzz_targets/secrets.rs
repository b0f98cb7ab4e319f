//! What a proxy asks for by SDS, as it comes from the socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::secrets(bytes);
});
