//! This host: what is installed on it, what is missing, and how to install that.

mod arm64;
pub mod checkers;
mod command;
mod items;
pub mod runner;
pub mod setup;

pub use items::{Item, Use, items};
