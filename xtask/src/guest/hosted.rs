//! The command of a container whose tree lies in a folder of the machine, as a service that is
//! confined to that folder.

use super::{Init, Report, Rootfs};
use crate::plan::Container;

/// Makes the command a service of the machine. `root` is the folder with the container's tree.
/// Returns notes for the user.
pub(super) fn add(
    _rootfs: &mut Rootfs,
    _init: Init,
    _container: &Container,
    root: &str,
) -> Result<Vec<String>, Report> {
    Ok(vec![format!(
        "the container is in {root}, but nothing starts its command yet"
    )])
}
