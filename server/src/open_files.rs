//! How many files the process may open. A connection is one, and a listener without any left accepts nobody, the admin listener included.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for everything but the public listener's connections: admin listener, database, outside systems.
const OTHERS: usize = 1_000;

/// Raises the limit as far as is needed and allowed; how many of `wanted` connections fit.
pub(crate) fn allow_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = (wanted + OTHERS) as u64;
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let mut files = limit.current.unwrap_or(u64::MAX);
    if files < raised && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit }).is_ok() {
        files = raised;
    }
    let connections = wanted.min(connections_with(usize::try_from(files).unwrap_or(usize::MAX)));
    if connections < wanted {
        tracing::warn!(files, connections, "the process may open few files (ulimit -n), so it serves fewer connections at a time");
    }
    connections
}

/// Where there are few files, others get half of them.
fn connections_with(files: usize) -> usize {
    files.saturating_sub(OTHERS).max(files / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_files_left() {
        for (files, connections) in [(256, 128), (1_024, 512), (4_096, 3_096), (11_000, 10_000)] {
            assert_eq!(connections_with(files), connections);
        }
    }
}
