//! Pulls images from registries: the client side of the OCI distribution specification.
//!
//! A [`Pull`] is one image of one registry. It answers the reader of `rootfs/oci`, which decides
//! which documents and layers are needed, so the choice of a platform is the same as in a layout.
//! Layers are downloaded in the background and read while they arrive.
//!
//! Nothing that a registry says is trusted: every size is limited before it is read, and every
//! digest is checked. Passwords and tokens are in types that do not print them, are sent only to
//! the registry and its token server, and never over plain HTTP unless the user allowed it.

mod auth;
mod authorities;
mod cache;
mod client;
mod credentials;
mod download;
mod error;
mod http;
mod login;
mod pull;
mod secret;
mod token;
mod wait;

pub use cache::{Cache, folder};
pub use error::RegistryError;
pub use pull::Pull;
