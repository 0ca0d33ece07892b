//! Places where tests end the process, to show that nothing is lost and nothing doubled whatever moment it dies at.
//!
//! Only in builds with debug assertions; a released server has none.

/// `DESKBRIDGE_FAULT_POINT=NAME` ends the process at that place, `NAME:3` when it is reached for the third time.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let wanted = std::env::var("DESKBRIDGE_FAULT_POINT").ok()?;
        let (name, turn) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), turn.parse().unwrap_or(1)))
    });
    static REACHED: AtomicU32 = AtomicU32::new(0);

    if let Some((wanted, turn)) = WANTED.as_ref()
        && wanted == name
        && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *turn
    {
        eprintln!("fault point {name} reached: the process ends");
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn reach(_name: &str) {}
