//! Begin.
