//! Finds the runtime and the models where `scripts/setup`, a release archive or a wheel installs them.

use std::path::{Path, PathBuf};

/// Paths that [`discover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveredPaths {
    /// Path of `libonnxruntime.so…`.
    pub runtime: Option<PathBuf>,
    /// A folder of models.
    pub folder: Option<PathBuf>,
}

/// Fills in the paths that were not set. `runtime` and `folder` are the explicit settings (a flag,
/// RINGFENCE_ONNXRUNTIME, RINGFENCE_MODELS). They are used without a check, so that a wrong path becomes an error
/// instead of a silent fallback; a `runtime` that is a folder means the library in it. Otherwise each of `near` (the
/// working folder, the executable) and the folders above it are searched for `.cache/onnxruntime` and `.cache/models`
/// of a checkout. Then the folder of each of `near` is searched for the library itself and for `models`. Last, for an
/// executable `PREFIX/bin/ringfence`, `PREFIX/lib/ringfence` and `PREFIX/share/ringfence/models` are searched.
pub fn discover(runtime: Option<&Path>, folder: Option<&Path>, near: &[&Path]) -> DiscoveredPaths {
    let runtime = match runtime {
        Some(path) => Some(library_in(path).unwrap_or_else(|| path.to_path_buf())),
        None => search(near, [".cache/onnxruntime", "", "lib/ringfence"], library_in),
    };
    let folder = match folder {
        Some(path) => Some(path.to_path_buf()),
        None => search(near, [".cache/models", "models", "share/ringfence/models"], existing_folder),
    };
    DiscoveredPaths { runtime, folder }
}

/// Looks in `cached` below a checkout, in `adjacent` beside each of `near`, and in `installed` below the prefix of an
/// executable. The folder above a working folder is not a prefix: what lies there was not installed with the program.
fn search(
    near: &[&Path],
    [cached, adjacent, installed]: [&str; 3],
    find: impl Fn(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let above = near.iter().flat_map(|p| p.ancestors()).filter(|p| is_checkout(p)).map(|p| p.join(cached));
    let next_to = near.iter().filter_map(|p| if p.is_dir() { Some(*p) } else { p.parent() }).map(|p| p.join(adjacent));
    let prefixes = near.iter().filter(|p| !p.is_dir()).filter_map(|p| p.parent()?.parent()).map(|p| p.join(installed));
    above.chain(next_to).chain(prefixes).find_map(|p| find(&p))
}

fn existing_folder(path: &Path) -> Option<PathBuf> {
    path.is_dir().then(|| path.to_path_buf())
}

/// Only the cache of a checkout is used: a `.cache` in another folder above, such as a home directory, is not ours.
fn is_checkout(folder: &Path) -> bool {
    folder.join("scripts/setup").is_file() && folder.join("Cargo.toml").is_file()
}

/// The library in a folder: `libonnxruntime.so`, or that name followed by a version.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    names.retain(|path| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name == LIBRARY || name.strip_prefix(LIBRARY).is_some_and(|rest| rest.starts_with('.'))
    });
    names.sort();
    names.into_iter().next()
}

const LIBRARY: &str = "libonnxruntime.so";

#[cfg(test)]
mod tests;
