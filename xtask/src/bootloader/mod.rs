//! Boot loaders: their files, and what must be patched into them.

pub mod config;
pub mod extlinux;
pub mod files;
pub mod provide;
pub mod uki;
