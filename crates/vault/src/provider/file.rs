//! The root key's file: created once, private to its user, never next to the data that it protects.

use super::local::{LocalProvider, decode};
use crate::{Error, Result, SecretKey};
use kernel::Entropy;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Maximum bytes to read: 64 digits and a line end, with a margin to notice that a file is too long.
const TEXT_MAX: u64 = 256;

pub(super) fn load_or_create(path: &Path, data_dir: Option<&Path>, entropy: &dyn Entropy) -> Result<SecretKey> {
    let outside =
        |e| key_file_error(path, "the path cannot be resolved", "name a file in a folder that you may read", Some(e));
    let inside = match data_dir {
        Some(folder) => resolve(path).map_err(outside)?.starts_with(resolve(folder).map_err(outside)?),
        None => false,
    };
    if inside {
        let remedy = "move it elsewhere: a copy of the data folder must not include the key";
        return Err(key_file_error(path, "it is inside the data folder", remedy, None));
    }
    match File::open(path) {
        Ok(file) => read(path, &file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(path, entropy)?;
            let file = File::open(path).map_err(|e| read_error(path, e))?;
            read(path, &file)
        }
        Err(e) => Err(read_error(path, e)),
    }
}

/// Reads the key from a file that must exist.
pub(super) fn load(path: &Path) -> Result<SecretKey> {
    read(path, &File::open(path).map_err(|e| read_error(path, e))?)
}

impl LocalProvider {
    /// Checks that the key file at `path`, if there is one, is safe where it is. Reads no key and creates none.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn inspect_file(path: &Path) -> Result<()> {
        match File::open(path) {
            Ok(file) => check_private(path, &file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(read_error(path, e)),
        }
    }
}

/// Checks that no other user can have read the opened file or replaced it.
fn check_private(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata().map_err(|e| read_error(path, e))?;
    if !metadata.is_file() {
        return Err(key_file_error(path, "it is not a regular file", "name a file", None));
    }
    if metadata.mode() & 0o077 != 0 {
        let remedy = "run 'chmod 600' on it, and rotate the root key if someone may have read it";
        return Err(key_file_error(path, "users other than its owner can access it", remedy, None));
    }
    if !is_trusted_owner(metadata.uid()) {
        let remedy =
            "run 'chown' on it for the user that the server runs as, and rotate the root key: its owner knows it";
        return Err(key_file_error(path, "it belongs to another user", remedy, None));
    }
    // For a symbolic link both folders count: the link's and the file's.
    let real = path.canonicalize().map_err(|e| read_error(path, e))?;
    check_folder(path, folder_of(path))?;
    check_folder(path, folder_of(&real))
}

/// Checks that no other user can replace a file in the folder.
fn check_folder(path: &Path, folder: &Path) -> Result<()> {
    let metadata = fs::metadata(folder).map_err(|e| read_error(path, e))?;
    if !is_trusted_owner(metadata.uid()) {
        let remedy = "run 'chown' on the folder for the server's user, or move the file into a folder of that user";
        return Err(key_file_error(path, "its folder belongs to another user, who can replace the file", remedy, None));
    }
    // In a folder like /tmp (the sticky bit) everybody can write, but only the owner can move a file.
    if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 {
        let remedy = "run 'chmod go-w' on the folder, or move the file into a folder of mode 0700";
        return Err(key_file_error(path, "others can write to its folder and replace the file", remedy, None));
    }
    Ok(())
}

/// Whether the owner is the user of this process, or root, who can do everything anyway.
fn is_trusted_owner(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(path: &Path, file: &File) -> Result<SecretKey> {
    check_private(path, file)?;
    let mut text = Zeroizing::new(String::with_capacity(TEXT_MAX as usize));
    let length = file.take(TEXT_MAX).read_to_string(&mut text);
    length.ok().and_then(|_| decode(&text)).ok_or_else(|| {
        let remedy = "restore the key that this data was created with; without it the data cannot be opened";
        key_file_error(path, "it does not hold 32 bytes as 64 hexadecimal digits or as base64", remedy, None)
    })
}

/// The key is written to a temporary file and synced, then linked under its name, then the folder is synced. So a crash
/// leaves either no key file or a whole one, and two concurrent first starts both use the key that was linked first.
fn create(path: &Path, entropy: &dyn Entropy) -> Result<()> {
    let failed =
        |e| key_file_error(path, "it cannot be created", "name a file in a folder that you may write", Some(e));
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    check_folder(path, folder)?;

    let mut suffix = [0; 8];
    entropy.fill(&mut suffix);
    let temporary = folder.join(format!(".root-key-{:016x}", u64::from_be_bytes(suffix)));
    let linked = write_new(&temporary, entropy).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&temporary);
    linked.and(removed).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)
}

fn write_new(temporary: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let key = SecretKey::random(entropy);
    let mut text = Zeroizing::new(Vec::with_capacity(65));
    for byte in key.bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(b"0123456789abcdef"[usize::from(digit)]);
        }
    }
    text.push(b'\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// Resolves the real path: links are followed as far as the path exists, and the rest is appended.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
            // A path that ends in `..` has no file name; its meaning depends on folders that do not exist.
            _ => Err(e),
        },
        Err(e) => Err(e),
    }
}

fn key_file_error(path: &Path, problem: &'static str, remedy: &'static str, source: Option<io::Error>) -> Error {
    Error::KeyFile { path: path.to_owned(), problem, remedy, source }
}

fn read_error(path: &Path, error: io::Error) -> Error {
    key_file_error(path, "it cannot be read", "run the server as the user that owns it", Some(error))
}
