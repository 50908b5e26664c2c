//! Finds the files.

use crate::output::{quoted, report};
use crate::stop::Stop;
use crate::unfinished::Unfinished;
use indicatif::{ProgressBar, ProgressStyle};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use walkdir::WalkDir;

/// Returns the regular files under `roots`, sorted by the bytes of their paths, and whether all directories could be
/// read. Reports those that could not on standard error.
pub(crate) fn files(
    roots: &[PathBuf],
    bar: &ProgressBar,
    stop: &Stop,
) -> Result<(Vec<Vec<u8>>, bool), Unfinished> {
    bar.set_style(style("{pos} files found"));
    let mut paths = Vec::new();
    let mut all_found = true;
    for root in roots {
        // Like `find`, does not follow a root that is a link.
        for entry in WalkDir::new(root).follow_root_links(false) {
            if stop.reason().is_some() {
                return Err(Unfinished::Stopped);
            }
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    paths.push(entry.into_path().into_os_string().into_vec());
                    bar.inc(1);
                }
                Ok(_) => {}
                Err(error) => {
                    all_found = false;
                    let path = error.path().unwrap_or(root).as_os_str().as_bytes();
                    let path = quoted(path);
                    bar.suspend(|| match error.io_error() {
                        Some(reason) => report(format_args!("{path}: {reason}")),
                        None => report(format_args!("{path}: {error}")),
                    });
                }
            }
        }
    }
    paths.sort_unstable();
    bar.set_length(u64::try_from(paths.len()).unwrap_or(u64::MAX));
    bar.set_style(style("{wide_bar} {pos}/{len} files, {eta}"));
    bar.reset();
    Ok((paths, all_found))
}

fn style(template: &str) -> ProgressStyle {
    // The template is constant. If it were wrong, the default would do.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
