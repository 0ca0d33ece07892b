//! What all rooms of the server speak of: ids, time, settings, session reports, notes.
//!
//! Must not know HTTP, SQL or any outside system. The only I/O is what settings need: reading the settings file and the files and
//! variables its secrets name.

pub mod api_purpose;
pub mod clock;
pub mod event;
pub mod fault_point;
pub mod finding;
pub mod ids;
pub mod incident;
pub mod note;
pub mod rest;
pub mod session_report;
pub mod settings;
pub mod text;
pub mod time_zone;
