//! The ext4 writer, judged by others: e2fsprogs, the kernel, and the crate ext4-view.
#![allow(clippy::unwrap_used, clippy::print_stderr, unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod judges;
mod kernel;
mod mke2fs;
mod model;
mod random;
