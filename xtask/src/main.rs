//! `cargo xtask`: parse, dispatch, exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    docker_to_linux::cli::main()
}
