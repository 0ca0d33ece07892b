//! Bytes a browser loads to run the panel: the wasm and its glue, as built and as brotli 11.

use std::path::Path;

use anyhow::{Context, Result};
use brotli::enc::BrotliEncoderParams;

use crate::table::Row;

/// Where `cargo xtask build panel` puts them, from the repository's root.
const DIRECTORY: &str = "zendesk-app/dist";
/// Most bytes of both together, compressed.
const TARGET: usize = 36_000;

/// Measures.
pub fn run() -> Result<Vec<Row>> {
    let wasm = Size::of("panel_bg.wasm")?;
    let glue = Size::of("panel.js")?;
    let both = wasm.compressed + glue.compressed;
    Ok(vec![
        Row::new("panel, brotli 11", kilobytes(both)).against("limit 36 kB", both as f64 / TARGET as f64).wanted("< 36 kB", both < TARGET),
        wasm.row("  panel_bg.wasm"),
        glue.row("  panel.js"),
    ])
}

struct Size {
    raw: usize,
    compressed: usize,
}

impl Size {
    fn of(name: &str) -> Result<Self> {
        let path = Path::new(DIRECTORY).join(name);
        let bytes = std::fs::read(&path)
            .with_context(|| format!("{} is not there: run `cargo xtask build panel` in the repository's root", path.display()))?;
        let mut compressed = Vec::new();
        brotli::BrotliCompress(
            &mut bytes.as_slice(),
            &mut compressed,
            &BrotliEncoderParams { quality: 11, lgwin: 22, ..BrotliEncoderParams::default() },
        )?;
        Ok(Self { raw: bytes.len(), compressed: compressed.len() })
    }

    fn row(&self, what: &str) -> Row {
        Row::new(what, kilobytes(self.compressed)).against(format!("raw {}", kilobytes(self.raw)), self.compressed as f64 / self.raw as f64)
    }
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.1} kB", bytes as f64 / 1e3)
}
