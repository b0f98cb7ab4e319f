//! The `dayfly` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    dayfly::cli::main()
}
