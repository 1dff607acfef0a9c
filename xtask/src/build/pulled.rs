//! Reads the root file system of an image in a registry.

use super::input::Read;
use crate::error::Report;
use crate::model::{Reference, Size};
use crate::progress::Progress;
use crate::registry::{self, Cache, Pull};
use crate::rootfs::oci::{self, OciError, Remote, Wanted};
use crate::rootfs::{Budget, Limits};
use camino::Utf8Path;
use std::rc::Rc;

/// Pulls the image and merges its layers, while they arrive. `spool_dir` is as for
/// [`super::input::read`].
pub(super) fn read(
    reference: &Reference,
    insecure: &[String],
    wanted: &Wanted,
    limits: Limits,
    spool_dir: &Utf8Path,
    progress: &dyn Progress,
) -> Result<Read, Report> {
    progress.stage(&format!("pulling docker://{reference}"));
    let once = || {
        let cache = Cache::open(&registry::folder(), spool_dir)
            .map_err(|e| e.report(&format!("docker://{reference}")))?;
        let pull = Rc::new(Pull::new(reference.clone(), insecure, cache));
        attempt(&pull, reference, wanted, limits, spool_dir, progress)
    };
    match once()? {
        Some(read) => Ok(read),
        // A blob in the cache was changed. It has been removed, so now it comes from the registry.
        None => once()?.ok_or_else(|| {
            Report::failure(format!(
                "pulling docker://{reference}: the cache changes while it is read"
            ))
            .hint(format!(
                "make sure that no other program writes to {}",
                registry::folder()
            ))
        }),
    }
}

/// Pulls and reads once. `None` if the cache contained something wrong.
fn attempt(
    pull: &Rc<Pull>,
    reference: &Reference,
    wanted: &Wanted,
    limits: Limits,
    spool_dir: &Utf8Path,
    progress: &dyn Progress,
) -> Result<Option<Read>, Report> {
    // Why pulling failed tells more than that reading failed.
    let failed = |error: OciError| {
        pull.failure().unwrap_or_else(|| {
            let mut report = Report::from(error);
            report.message = format!("reading the container image docker://{reference}");
            report
        })
    };
    let top = pull.top()?;
    progress.detail(&format!("its digest is {}", top.digest));
    let remote: Rc<dyn Remote> = Rc::<Pull>::clone(pull);
    let chosen = oci::choose(remote, &top, wanted).map_err(failed)?;
    let layers = chosen.layers();
    let missing = pull.missing(&layers);
    let sum = |layers: &[(_, u64)]| layers.iter().fold(0, |sum: u64, l| sum.saturating_add(l.1));
    let budget = Budget::new(limits);
    budget.check_fetch(sum(&layers))?;
    progress.detail(&format!(
        "{} layers, {}; {} of it not in the cache",
        layers.len(),
        Size(sum(&layers)),
        Size(sum(&missing))
    ));
    pull.start(&missing, progress.bytes("pulling", Some(sum(&missing))))?;
    let image = match chosen.read(budget, spool_dir) {
        Ok(image) => image,
        Err(OciError::Digest { .. }) if missing.len() < layers.len() => {
            pull.forget();
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    pull.finish();
    Ok(Some(Read::image(image, &format!("docker://{reference}"))))
}
