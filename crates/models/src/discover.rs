//! Finds the runtime and the models where `scripts/setup` or a release archive puts them.

use std::path::{Path, PathBuf};

/// What [`discover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `libonnxruntime.so…`.
    pub runtime: Option<PathBuf>,
    /// A folder of models.
    pub folder: Option<PathBuf>,
}

/// Fills in what was not named. `runtime` and `folder` are the explicit settings (a flag, RINGFENCE_ONNXRUNTIME,
/// RINGFENCE_MODELS): they win unseen, so that a wrong path is an error and not a silent other choice; a `runtime`
/// that is a folder means the library in it. Then each of `near` (the working folder, the executable) and the
/// folders above it: `.cache/onnxruntime` and `.cache/models` of a checkout. Last, beside each of `near`: the
/// library itself and `models`.
pub fn discover(runtime: Option<&Path>, folder: Option<&Path>, near: &[&Path]) -> Found {
    let runtime = match runtime {
        Some(path) => Some(library_in(path).unwrap_or_else(|| path.to_path_buf())),
        None => search(near, ".cache/onnxruntime", "", library_in),
    };
    let folder = match folder {
        Some(path) => Some(path.to_path_buf()),
        None => search(near, ".cache/models", "models", |p| p.is_dir().then(|| p.to_path_buf())),
    };
    Found { runtime, folder }
}

fn search(near: &[&Path], cached: &str, beside: &str, find: impl Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let above = near.iter().flat_map(|p| p.ancestors()).filter(|p| is_checkout(p)).map(|p| p.join(cached));
    let next_to = near.iter().filter_map(|p| if p.is_dir() { Some(*p) } else { p.parent() }).map(|p| p.join(beside));
    above.chain(next_to).find_map(|p| find(&p))
}

/// Only a checkout's cache is taken: a `.cache` in some folder above, such as a home, is not ours.
fn is_checkout(folder: &Path) -> bool {
    folder.join("scripts/setup").is_file() && folder.join("Cargo.toml").is_file()
}

/// The library in a folder: `libonnxruntime.so`, or the one with a version behind it.
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
