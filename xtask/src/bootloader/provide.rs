//! Gets the boot loaders' files: from a folder that the user names, the cache, the small container
//! of recipes/bootloader, or this host's packages.

use super::files::{From, LIMIT, Loaders};
use crate::engine::{self, Build, Engine};
use crate::error::Report;
use crate::model::{Arch, BootMode};
use crate::output::Pending;
use crate::plain::PlainName;
use crate::recipe::{self};
use crate::rootfs::{Kind, tar};
use camino::{Utf8Path, Utf8PathBuf};
use std::io::Write;

/// Which files are needed, and how they may be obtained.
pub struct Wanted<'a> {
    /// Firmware that the image boots with.
    pub boot: BootMode,
    /// Architecture of the machine.
    pub arch: Arch,
    /// Folder that the user named, if any.
    pub dir: Option<&'a Utf8Path>,
    /// Folder of the cache.
    pub cache: &'a Utf8Path,
    /// A container engine, if there is one.
    pub engine: Option<&'a Engine>,
    /// Network for the container build, as for `docker build --network`.
    pub network: Option<&'a str>,
    /// Called with a message for the user.
    pub say: &'a dyn Fn(&str),
    /// Called with every line of the build's output.
    pub show: &'a dyn Fn(&str),
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted")
            .field("boot", &self.boot)
            .field("arch", &self.arch)
            .finish_non_exhaustive()
    }
}

/// Whether the files are already in the folder that the user named or in the cache, so that no
/// container engine is needed.
pub fn at_hand(boot: BootMode, arch: Arch, dir: Option<&Utf8Path>, cache: &Utf8Path) -> bool {
    let cache = cache.join(arch.to_string());
    dir.is_some() || From::Dir(cache).missing(boot, arch).is_empty()
}

/// Gets the files.
pub fn loaders(wanted: &Wanted<'_>) -> Result<Loaders, Report> {
    place(wanted)?.load(wanted.boot, wanted.arch)
}

/// Gets the files, and tells where they are. The container comes before the host's packages: it
/// gives the same files, and so the same image, on every host.
pub fn place(wanted: &Wanted<'_>) -> Result<From<'static>, Report> {
    let &Wanted { boot, arch, .. } = wanted;
    if let Some(dir) = wanted.dir {
        return Ok(From::Dir(dir.to_owned()));
    }
    let cache = wanted.cache.join(arch.to_string());
    let cached = From::Dir(cache.clone());
    if cached.missing(boot, arch).is_empty() {
        return Ok(cached);
    }
    let building = match wanted.engine {
        Some(engine) => match build(engine, wanted, &cache) {
            Ok(()) => return Ok(cached),
            Err(e) => Some(e),
        },
        None => None,
    };
    let missing = From::Host.missing(boot, arch);
    match (missing.is_empty(), building) {
        (true, None) => Ok(From::Host),
        (true, Some(e)) => {
            let (why, _) = crate::error::describe(&e.into());
            (wanted.say)(&format!("using this host's boot loader packages: {why}"));
            Ok(From::Host)
        }
        (false, Some(e)) => Err(e),
        (false, None) => Err(Report::failure(format!(
            "the boot loader's files are missing: {} (searched {cache} and the packages of this host)",
            missing.join(", ")
        ))
        .hint("start a container engine, so that they can be fetched once; or install the packages extlinux, syslinux-common and systemd-boot-efi; or give a folder that contains them with --bootloader-dir")),
    }
}

/// Base image of the container of recipes/bootloader.
pub const BASE: &str = "debian:trixie-slim";

/// Builds the container and copies its files into the cache.
fn build(engine: &Engine, wanted: &Wanted<'_>, cache: &Utf8Path) -> Result<(), Report> {
    let recipes = recipe::own()?;
    let dir = recipes.join("bootloader");
    (wanted.say)("fetching the boot loaders once, with the container of recipes/bootloader");
    let bootstrap = recipes.join("debian/bootstrap");
    let base = engine::ensure_base(engine, BASE, wanted.arch, Some(&bootstrap), wanted.say)?;
    let image = engine::build(
        engine,
        &Build {
            context: &dir,
            dockerfile: None,
            args: [("BASE".to_owned(), base.name)].into(),
            platform: base.platform,
            tag: engine::tag("bootloader", wanted.arch),
            network: wanted.network,
        },
        wanted.show,
    )?;
    let stream = engine::export(engine, &image.id)?;
    let rootfs = tar::from_stream(stream, cache)?;
    let names: Vec<String> = rootfs
        .tree
        .entries("/bootloader")
        .filter(|(_, id)| matches!(rootfs.tree.node(*id).kind, Kind::File(_)))
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in names {
        let name = PlainName::new(name).map_err(|e| {
            Report::failure("storing the boot loaders' files in the cache").because(e)
        })?;
        let path: Utf8PathBuf = cache.join(&name);
        let failed =
            |e| Report::failure(format!("storing the boot loader's file {path}")).because(e);
        if let Some(bytes) = rootfs
            .read(&format!("/bootloader/{name}"), LIMIT)
            .map_err(failed)?
        {
            let file = Pending::create(&path).map_err(failed)?;
            file.file()
                .and_then(|mut f| f.write_all(&bytes))
                .map_err(failed)?;
            file.commit().map_err(failed)?;
        }
    }
    Ok(())
}
