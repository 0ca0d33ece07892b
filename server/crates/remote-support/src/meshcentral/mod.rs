//! MeshCentral as a client sees it.

pub mod recording;
