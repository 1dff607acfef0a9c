//! The disk: partition tables around file systems, emitted in one ascending pass.
