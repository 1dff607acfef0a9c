//! What the integration tests share.

mod checkers;
mod efi;
pub mod engine;
mod entries;
pub mod ext4;
pub mod github;
pub mod machine;
pub mod oci;
mod place;
pub mod sector;

pub use checkers::*;
pub use efi::*;
pub use entries::*;
pub use place::*;
