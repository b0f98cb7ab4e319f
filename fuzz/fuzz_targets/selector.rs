//! Selectors, as they come from operators and from attestors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = dayfly::fuzzing::selector(bytes);
});
