//! Boot loaders: their files, and what must be patched into them.

pub mod extlinux;
