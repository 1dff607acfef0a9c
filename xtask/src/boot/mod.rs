//! Booting images in QEMU, and the verdict.
