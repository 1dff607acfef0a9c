//! docker-to-linux: turns a container into a Linux disk image that boots.
//!
//! The flow, each step a type and each arrow a module:
//! [`recipe::Recipe`] → ([`engine`]) → [`rootfs::Rootfs`] → ([`guest`]) → the same, edited →
//! [`plan::Plan`] → ([`disk`], [`fs`], [`bootloader`]) → [`format::Sink`] → an image.
//! ARCHITECTURE.md walks through it.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod bootloader;
pub mod build;
pub mod cleanup;
pub mod cli;
pub mod deliver;
pub mod disk;
pub mod engine;
pub mod error;
pub mod format;
pub mod fs;
pub mod github;
pub mod guest;
mod hasher;
mod hex;
pub mod host;
pub mod inspect;
pub mod machine;
pub mod model;
mod os_release;
pub mod output;
pub mod place;
pub mod plain;
pub mod plan;
pub mod printable;
mod processors;
pub mod progress;
pub mod recipe;
pub mod registry;
pub mod rootfs;
pub mod shell;

pub mod small;
pub mod smoke;
mod stamp;
pub mod tool;
pub mod vm;
