//! The root key's file: created once, private to its user, never beside the data it protects.

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

/// 64 digits and a line end, with room to see that a file is too long.
const TEXT_MAX: u64 = 256;

pub(super) fn load_or_create(path: &Path, data_dir: Option<&Path>, entropy: &dyn Entropy) -> Result<SecretKey> {
    let outside =
        |e| problem(path, "the path cannot be resolved", "name a file in a folder that you may read", Some(e));
    let inside = match data_dir {
        Some(folder) => resolve(path).map_err(outside)?.starts_with(resolve(folder).map_err(outside)?),
        None => false,
    };
    if inside {
        let remedy = "move it elsewhere: whoever copies the data folder must not get the key with it";
        return Err(problem(path, "it is inside the data folder", remedy, None));
    }
    match File::open(path) {
        Ok(file) => read(path, &file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create(path, entropy)?;
            let file = File::open(path).map_err(|e| unreadable(path, e))?;
            read(path, &file)
        }
        Err(e) => Err(unreadable(path, e)),
    }
}

/// The key of a file that must be there.
pub(super) fn load(path: &Path) -> Result<SecretKey> {
    read(path, &File::open(path).map_err(|e| unreadable(path, e))?)
}

impl LocalProvider {
    /// Whether the key file that is at `path`, if there is one, is safe where it lies. Reads no key and makes none.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn inspect_file(path: &Path) -> Result<()> {
        match File::open(path) {
            Ok(file) => private(path, &file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(unreadable(path, e)),
        }
    }
}

/// Nobody else can have read the file that was opened, nor put another in its place.
fn private(path: &Path, file: &File) -> Result<()> {
    let facts = file.metadata().map_err(|e| unreadable(path, e))?;
    if !facts.is_file() {
        return Err(problem(path, "it is no regular file", "name a file", None));
    }
    if facts.mode() & 0o077 != 0 {
        let remedy = "run 'chmod 600' on it, and rotate the root key if somebody may have read it";
        return Err(problem(path, "others than its owner can use it", remedy, None));
    }
    if !trusted(facts.uid()) {
        let remedy =
            "run 'chown' on it for the user that the server runs as, and rotate the root key: its owner knows it";
        return Err(problem(path, "it belongs to another user", remedy, None));
    }
    // Of a link both count: where the link stands, and where the file does.
    let real = path.canonicalize().map_err(|e| unreadable(path, e))?;
    shut(path, folder_of(path))?;
    shut(path, folder_of(&real))
}

/// Nobody else can put a file into the folder in the place of another.
fn shut(path: &Path, folder: &Path) -> Result<()> {
    let facts = fs::metadata(folder).map_err(|e| unreadable(path, e))?;
    if !trusted(facts.uid()) {
        let remedy =
            "run 'chown' on the folder for the user that the server runs as, or move the file into one of its own";
        return Err(problem(
            path,
            "its folder belongs to another user, who can put another file in its place",
            remedy,
            None,
        ));
    }
    // In a folder like /tmp (the sticky bit) everybody can write, and nobody can move what is another's.
    if facts.mode() & 0o022 != 0 && facts.mode() & 0o1000 == 0 {
        let remedy = "run 'chmod go-w' on the folder, or move the file into one of 0700";
        return Err(problem(path, "others can write to its folder, and put another file in its place", remedy, None));
    }
    Ok(())
}

/// Whoever runs this, and root, who can do everything anyway.
fn trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(path: &Path, file: &File) -> Result<SecretKey> {
    private(path, file)?;
    let mut text = Zeroizing::new(String::with_capacity(TEXT_MAX as usize));
    let length = file.take(TEXT_MAX).read_to_string(&mut text);
    length.ok().and_then(|_| decode(&text)).ok_or_else(|| {
        let remedy = "restore the key that this data was created with; without it the data cannot be opened";
        problem(path, "it does not hold 32 bytes as 64 hexadecimal digits or as base64", remedy, None)
    })
}

/// Written aside, synced, then linked under its name, then the folder synced: a crash leaves either no
/// key file or a whole one, and of two first starts at once both use the one that was linked first.
fn create(path: &Path, entropy: &dyn Entropy) -> Result<()> {
    let failed = |e| problem(path, "it cannot be created", "name a file in a folder that you may write", Some(e));
    let folder = folder_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    shut(path, folder)?;

    let mut mark = [0; 8];
    entropy.fill(&mut mark);
    let aside = folder.join(format!(".root-key-{:016x}", u64::from_be_bytes(mark)));
    let linked = write_new(&aside, entropy).and_then(|()| match fs::hard_link(&aside, path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&aside);
    linked.and(removed).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)
}

fn write_new(aside: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let key = SecretKey::random(entropy);
    let mut text = Zeroizing::new(Vec::with_capacity(65));
    for byte in key.bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(b"0123456789abcdef"[usize::from(digit)]);
        }
    }
    text.push(b'\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(&text)?;
    file.sync_all()
}

/// The real path: links followed as far as the path exists, the rest appended.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match path.canonicalize() {
        Ok(real) => Ok(real),
        Err(e) if e.kind() == io::ErrorKind::NotFound => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
            // A path that ends in `..` has no name; what it means depends on folders that do not exist.
            _ => Err(e),
        },
        Err(e) => Err(e),
    }
}

fn problem(path: &Path, problem: &'static str, remedy: &'static str, source: Option<io::Error>) -> Error {
    Error::KeyFile { path: path.to_owned(), problem, remedy, source }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    problem(path, "it cannot be read", "run the server as the user that owns it", Some(error))
}
