//! The built binary as a person uses it.
fn main() {}
