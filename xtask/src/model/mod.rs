//! Types that all modules share: architecture, firmware, partition table, formats, sizes.
//!
//! Plain values. This module does no I/O and does not depend on the command line: `cli::choices`
//! makes options of these types from their JSON Schema.

mod digest;
mod disk;
mod format;
mod machine;
pub mod partition;
mod reference;
pub mod size;
mod target;
mod transport;
mod volume;

pub use digest::{Digest, NotDigest};
pub use disk::{DiskSize, SectorSize, TableKind};
pub use format::{Compression, Format, Packing};
pub use machine::{Arch, BootEntryKind, BootMode, Join, Service};
pub use reference::{Reference, ReferenceError, is_host};
pub use size::{GIB, MIB, Size};
pub use target::Target;
pub use transport::{Transport, TransportError};
pub use volume::{NamedVolume, VolumeError, VolumesOn, volume_path};
