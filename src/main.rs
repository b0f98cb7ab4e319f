//! The `dayfly` program.

fn main() {}
