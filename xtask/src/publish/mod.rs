//! The papers of an image: manifest, checksums, package list.
