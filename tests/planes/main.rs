//! Control planes.
