//! `cargo xtask`: the commands of `docker_to_linux::cli`, and those of developers. Everything that
//! makes images is in the library, which does not know of `dev`.

#[cfg(feature = "dev")]
mod dev;

use std::process::ExitCode;

#[cfg(feature = "dev")]
fn main() -> ExitCode {
    docker_to_linux::cli::start(dev::run)
}

#[cfg(not(feature = "dev"))]
fn main() -> ExitCode {
    docker_to_linux::cli::main()
}
