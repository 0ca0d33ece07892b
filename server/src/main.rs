//! The `deskbridge` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    deskbridge::install_crypto();
    deskbridge::cli::main()
}
