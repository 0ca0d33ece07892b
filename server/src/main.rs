//! Begin.
fn main() {}
