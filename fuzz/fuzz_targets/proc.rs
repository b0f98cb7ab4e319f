//! What `/proc/PID` says of a caller.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::proc(bytes);
});
