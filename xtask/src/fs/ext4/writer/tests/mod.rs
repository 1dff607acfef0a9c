//! Tests of the writer alone.
#![allow(clippy::unwrap_used)]
