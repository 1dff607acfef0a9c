//! UEFI firmware: where distributions install OVMF (PCs) and AAVMF (ARM).

use super::image_format::ImageFormat;
use super::places::places;
use crate::error::Report;
use crate::model::Arch;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use std::io;

/// The environment variable with the path of the firmware code.
pub const CODE_VARIABLE: &str = "DOCKER_TO_LINUX_OVMF_CODE";
/// The environment variable with the path of the template for the firmware's variables.
pub const VARS_VARIABLE: &str = "DOCKER_TO_LINUX_OVMF_VARS";

/// The release of prebuilt OVMF that is downloaded as a last resort. The crate contains its SHA-256
/// and unpacks nothing else.
const PREBUILT: ovmf_prebuilt::Source = ovmf_prebuilt::Source::EDK2_STABLE202605_R1;

/// Size of each flash bank of QEMU's ARM machine, which accepts only files of exactly this size.
const ARM_FLASH: u64 = 64 << 20;

/// UEFI firmware, which consists of two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The code. It is only read.
    pub code: Utf8PathBuf,
    /// Format of `code`.
    pub code_format: ImageFormat,
    /// The variables. As found this is a template; the guest writes to a copy.
    pub vars: Utf8PathBuf,
    /// Format of `vars`.
    pub vars_format: ImageFormat,
}

/// Firmware options of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Path of the code.
    pub code: Option<Utf8PathBuf>,
    /// Path of the template for the variables. Default: the one next to the code.
    pub vars: Option<Utf8PathBuf>,
}

/// Firmware that is installed on this host, if any. Never downloads, unlike [`find`].
pub fn installed(arch: Arch) -> Option<Files> {
    let share = super::accel::qemu(arch)
        .find()
        .and_then(|qemu| share_of(&qemu));
    search(Utf8Path::new("/"), share.as_deref(), arch, &mut Vec::new())
}

/// Finds firmware from `flags`, the environment, the usual paths of distributions and QEMU's
/// firmware descriptors, in this order. Downloads it as a last resort.
pub fn find(arch: Arch, flags: &Flags) -> Result<Files, Report> {
    let from_env = |name: &str| {
        let value = std::env::var(name).unwrap_or_default();
        (!value.is_empty()).then(|| Utf8PathBuf::from(value))
    };
    let named = [
        ("the command line", flags.code.clone(), flags.vars.clone()),
        (
            CODE_VARIABLE,
            from_env(CODE_VARIABLE),
            flags.vars.clone().or_else(|| from_env(VARS_VARIABLE)),
        ),
    ];
    for (who, code, vars) in named {
        if let Some(code) = code {
            return from_names(who, code, vars);
        }
    }
    let share = super::accel::qemu(arch)
        .find()
        .and_then(|qemu| share_of(&qemu));
    search_or(Utf8Path::new("/"), share.as_deref(), arch, prebuilt)
}

/// Runs [`search`], and the last resort if nothing was found. Errors list the paths that were
/// tried.
pub(super) fn search_or(
    root: &Utf8Path,
    share: Option<&Utf8Path>,
    arch: Arch,
    last_resort: impl FnOnce(Arch) -> Result<Files, Report>,
) -> Result<Files, Report> {
    let mut looked = Vec::new();
    if let Some(files) = search(root, share, arch, &mut looked) {
        return Ok(files);
    }
    last_resort(arch).map_err(|e| {
        Report::failure(format!(
            "no UEFI firmware for {} was found; looked for {}",
            arch_name(arch),
            looked.join(", ")
        ))
        .because(e)
        .hint(format!(
            "install {} (Debian and Ubuntu; edk2 elsewhere), or set {CODE_VARIABLE} and {VARS_VARIABLE}",
            match arch {
                Arch::Amd64 => "ovmf",
                Arch::Arm64 => "qemu-efi-aarch64",
            }
        ))
    })
}

fn arch_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
    }
}

fn from_names(who: &str, code: Utf8PathBuf, vars: Option<Utf8PathBuf>) -> Result<Files, Report> {
    if !code.is_file() {
        return Err(Report::mistake(format!(
            "there is no firmware at {code}, which is set by {who}"
        )));
    }
    let vars = vars.or_else(|| vars_beside(&code)).ok_or_else(|| {
        Report::mistake(format!(
            "there is no template for the variables next to the firmware {code}"
        ))
        .hint(format!("set its path with {VARS_VARIABLE}"))
    })?;
    if !vars.is_file() {
        return Err(Report::mistake(format!(
            "there is no template for the firmware's variables at {vars}"
        )));
    }
    Ok(files(code, vars))
}

fn files(code: Utf8PathBuf, vars: Utf8PathBuf) -> Files {
    Files {
        code_format: ImageFormat::of(&code),
        vars_format: ImageFormat::of(&vars),
        code,
        vars,
    }
}

/// Finds `OVMF_VARS_4M.fd` next to `OVMF_CODE_4M.fd`, and similar pairs.
fn vars_beside(code: &Utf8Path) -> Option<Utf8PathBuf> {
    let name = code.file_name()?;
    [("CODE", "VARS"), ("code", "vars")]
        .into_iter()
        .filter(|(from, _)| name.contains(from))
        .map(|(from, to)| code.with_file_name(name.replace(from, to)))
        .find(|p| p.is_file())
}

/// The `share` folder of the installed QEMU, where Homebrew, Nix and custom builds keep firmware.
fn share_of(qemu: &Utf8Path) -> Option<Utf8PathBuf> {
    let real = qemu.canonicalize_utf8().ok()?;
    Some(real.parent()?.parent()?.join("share"))
}

/// Searches below `root` for the paths in [`places`], in QEMU's `share` folder and in firmware
/// descriptors. Adds the paths that were tried to `looked`.
pub(super) fn search(
    root: &Utf8Path,
    share: Option<&Utf8Path>,
    arch: Arch,
    looked: &mut Vec<String>,
) -> Option<Files> {
    let mut pairs: Vec<(Utf8PathBuf, Utf8PathBuf)> = places(arch)
        .iter()
        .map(|(code, vars)| (root.join(code), root.join(vars)))
        .collect();
    if let Some(share) = share {
        let (code, vars) = match arch {
            Arch::Amd64 => ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
            Arch::Arm64 => ("edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
        };
        let pair = (share.join("qemu").join(code), share.join("qemu").join(vars));
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    for (code, vars) in pairs {
        looked.push(code.to_string());
        if code.is_file() && vars.is_file() {
            return Some(files(code, vars));
        }
    }
    let mut folders = vec![
        root.join("etc/qemu/firmware"),
        root.join("usr/share/qemu/firmware"),
    ];
    if let Some(share) = share {
        folders.push(share.join("qemu/firmware"));
    }
    for folder in folders {
        looked.push(folder.join("*.json").to_string());
        if let Some(files) = from_descriptors(&folder, arch) {
            return Some(files);
        }
    }
    None
}

/// The first usable firmware in a folder of descriptors (docs/interop/firmware.json of QEMU; their
/// names start with their rank).
fn from_descriptors(folder: &Utf8Path, arch: Arch) -> Option<Files> {
    let mut names: Vec<_> = folder
        .read_dir_utf8()
        .ok()?
        .filter_map(|e| Some(e.ok()?.into_path()))
        .filter(|p| p.extension() == Some("json"))
        .collect();
    names.sort();
    names.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        from_descriptor(&text, arch).filter(|f| f.code.is_file() && f.vars.is_file())
    })
}

/// Parses one descriptor. `None` if its firmware is not suitable.
pub(super) fn from_descriptor(text: &str, arch: Arch) -> Option<Files> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let strings = |v: &serde_json::Value| -> Vec<String> {
        v.as_array()
            .map(|a| a.iter().filter_map(|s| s.as_str().map(str::to_owned)))
            .map(Iterator::collect)
            .unwrap_or_default()
    };
    if !strings(&json["interface-types"])
        .iter()
        .any(|s| s == "uefi")
    {
        return None;
    }
    // Enrolled keys would refuse unsigned boot loaders, and SMM needs another machine type.
    let features = strings(&json["features"]);
    if features
        .iter()
        .any(|f| f == "enrolled-keys" || f == "requires-smm")
    {
        return None;
    }
    let (architecture, machine) = match arch {
        Arch::Amd64 => ("x86_64", "pc-q35-"),
        Arch::Arm64 => ("aarch64", "virt-"),
    };
    let fits = json["targets"].as_array()?.iter().any(|t| {
        t["architecture"] == architecture
            && strings(&t["machines"])
                .iter()
                .any(|m| m.starts_with(machine))
    });
    let mapping = &json["mapping"];
    if !fits || mapping["device"] != "flash" {
        return None;
    }
    let one = |v: &serde_json::Value| -> Option<(Utf8PathBuf, ImageFormat)> {
        let format = match v["format"].as_str()? {
            "raw" => ImageFormat::Raw,
            "qcow2" => ImageFormat::Qcow2,
            _ => return None,
        };
        Some((v["filename"].as_str()?.into(), format))
    };
    let (code, code_format) = one(&mapping["executable"])?;
    let (vars, vars_format) = one(&mapping["nvram-template"])?;
    Some(Files {
        code,
        code_format,
        vars,
        vars_format,
    })
}

/// The prebuilt firmware, downloaded unless it is in the cache.
fn prebuilt(arch: Arch) -> Result<Files, Report> {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let cache = env("XDG_CACHE_HOME")
        .map(Utf8PathBuf::from)
        .or_else(|| Some(Utf8PathBuf::from(env("HOME")?).join(".cache")))
        .ok_or_else(|| Report::failure("neither XDG_CACHE_HOME nor HOME is set"))?;
    let dir = cache.join("docker-to-linux/ovmf").join(PREBUILT.tag);
    let doing = |e: String| Report::failure(format!("downloading OVMF {}: {e}", PREBUILT.tag));
    if !dir.is_dir() {
        tracing::info!("downloading OVMF {}", PREBUILT.tag);
        let parent = dir.parent().unwrap_or(&cache);
        fs::create_dir_all(parent).map_err(|e| doing(e.to_string()))?;
        // Renamed only once it is complete, because two processes may download it at once.
        let partial = tempfile::tempdir_in(parent).map_err(|e| doing(e.to_string()))?;
        let inside = partial.path().join("ovmf");
        ovmf_prebuilt::Prebuilt::fetch(PREBUILT, &inside).map_err(|e| {
            let cause = std::error::Error::source(&e).map(|s| format!(": {s}"));
            doing(format!("{e}{}", cause.unwrap_or_default()))
        })?;
        if let Err(e) = fs::rename(&inside, &dir)
            && !dir.is_dir()
        {
            return Err(doing(e.to_string()));
        }
    }
    let name = match arch {
        Arch::Amd64 => ovmf_prebuilt::Arch::X64,
        Arch::Arm64 => ovmf_prebuilt::Arch::Aarch64,
    };
    let dir = dir.join(name.as_str());
    Ok(files(dir.join("code.fd"), dir.join("vars.fd")))
}

impl Files {
    /// Files that a guest may use: the variables are a copy in `dir`, padded to the size that
    /// QEMU's ARM machine requires.
    pub fn stage(&self, arch: Arch, dir: &Utf8Path) -> io::Result<Files> {
        let copy = |from: &Utf8Path, name: &str, format: ImageFormat| -> io::Result<Utf8PathBuf> {
            let to = dir.join(name);
            let mut source = fs::File::open(from)?;
            // Not fs::copy: the copy of a read-only template would be read-only too.
            let mut target = fs::File::create(&to)?;
            io::copy(&mut source, &mut target)?;
            if arch == Arch::Arm64 && format == ImageFormat::Raw {
                target.set_len(ARM_FLASH)?;
            }
            Ok(to)
        };
        let mut staged = self.clone();
        staged.vars = copy(&self.vars, "vars.fd", self.vars_format)?;
        if arch == Arch::Arm64
            && self.code_format == ImageFormat::Raw
            && fs::metadata(&self.code)?.len() != ARM_FLASH
        {
            staged.code = copy(&self.code, "code.fd", self.code_format)?;
        }
        Ok(staged)
    }
}
