//! The root file system: ext4, laid out by the `mkext4` crate.
