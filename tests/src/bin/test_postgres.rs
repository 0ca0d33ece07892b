//! Holds one PostgreSQL server for a whole test run: prints its URL, ends it when standard input ends.
//!
//! `cargo xtask test` starts this, so that every test program shares one server and none is left behind.

use std::io::{Read, Write};

use anyhow::Result;
use deskbridge_tests::postgres::Cluster;

fn main() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", cluster.url())?;
    output.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
