//! Turns errors from writing files into reports with hints.

use crate::error::{Class, Report};
use std::io;

/// The error for a file or folder that could not be written.
pub fn write_error(path: &camino::Utf8Path, error: io::Error) -> Report {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => {
            Some("free some space on that file system, or choose another folder with --output")
        }
        io::ErrorKind::QuotaExceeded => Some(
            "your quota on that file system is used up: remove some of your files, or choose another folder with --output",
        ),
        io::ErrorKind::FileTooLarge => Some(
            "the size of files is limited (`ulimit -f`), or the file system does not support larger ones: raise the limit, split the files with --split, or choose another folder with --output",
        ),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            Some("choose a folder that you can write to with --output")
        }
        io::ErrorKind::NotADirectory => {
            Some("it or one of its parent folders is a file: choose a folder with --output")
        }
        io::ErrorKind::AlreadyExists => Some("remove it, or choose another folder with --output"),
        _ => None,
    };
    let report = Report::failure(format!("writing {path}")).because(error);
    match hint {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// The error for the folder of `--output`. It is the user's mistake if that is a file, or in one.
pub fn folder_error(dir: &camino::Utf8Path, error: io::Error) -> Report {
    let is_file = match error.kind() {
        io::ErrorKind::NotADirectory => true,
        io::ErrorKind::AlreadyExists => !dir.is_dir(),
        _ => false,
    };
    let mut report = write_error(dir, error);
    if is_file {
        report.class = Class::Mistake;
    }
    report
}
