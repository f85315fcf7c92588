use super::*;
use kernel::SeededEntropy;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::PathBuf,
};

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn entropy(seed: u64) -> Arc<dyn Entropy> {
    Arc::new(SeededEntropy::new(seed))
}

struct KeyFileFixture {
    folder: tempfile::TempDir,
}

impl KeyFileFixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
    fn load(&self, path: &Path, seed: u64) -> Result<LocalProvider> {
        LocalProvider::from_file(path, Some(&self.data()), entropy(seed))
    }
    /// Returns the message of the expected refusal.
    fn refused(&self, path: &Path) -> String {
        match self.load(path, 1) {
            Ok(_) => panic!("should have been refused"),
            Err(error @ Error::KeyFile { .. }) => error.to_string(),
            Err(other) => panic!("{other}"),
        }
    }
    fn write_file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn agree(a: &LocalProvider, b: &LocalProvider) -> bool {
    let wrapped = a.wrap(b"context", &SecretKey::random(&SeededEntropy::new(9))).unwrap();
    b.unwrap(b"context", &wrapped).is_ok()
}

#[test]
fn both_encodings_give_the_same_key() {
    let hex = LocalProvider::from_env_value(HEX, entropy(1)).unwrap();
    for form in [BASE64.to_owned(), HEX.to_uppercase(), format!(" {HEX}\n"), format!("{BASE64}\n")] {
        assert!(agree(&hex, &LocalProvider::from_env_value(&form, entropy(2)).unwrap()));
    }
}

#[test]
fn a_bad_value_is_refused_and_not_repeated() {
    let swapped = HEX.replace("0a", "0g");
    for bad in ["", "hunter2hunter2", &HEX[..62], &swapped, &BASE64[..40], "AAECAwQFBgcICQoLDA0ODw==", &"é".repeat(32)]
    {
        let Err(error) = LocalProvider::from_env_value(bad, entropy(1)) else { panic!("{bad} passed") };
        let text = error.to_string();
        assert!(matches!(error, Error::KeyValue) && text.contains("RINGFENCE_ROOT_KEY"));
        assert!(bad.is_empty() || !text.contains(bad));
    }
}

#[test]
fn a_wrap_is_bound_to_its_context() {
    let provider = LocalProvider::from_env_value(HEX, entropy(1)).unwrap();
    let key = SecretKey::random(&SeededEntropy::new(2));
    let wrapped = provider.wrap(b"tenant a, epoch 1", &key).unwrap();
    assert_eq!(provider.unwrap(b"tenant a, epoch 1", &wrapped).unwrap().bytes(), key.bytes());
    for other in [&b"tenant b, epoch 1"[..], b"tenant a, epoch 2", b"", b"tenant a, epoch 1 "] {
        assert!(matches!(provider.unwrap(other, &wrapped), Err(Error::Denied { .. })));
    }
    for at in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        assert!(provider.unwrap(b"tenant a, epoch 1", &changed).is_err());
        assert!(provider.unwrap(b"tenant a, epoch 1", &wrapped[..at]).is_err());
    }
    let again = provider.wrap(b"tenant a, epoch 1", &key).unwrap();
    assert_ne!(again, wrapped, "nonces are random");
    let other = LocalProvider::from_env_value(&"11".repeat(32), entropy(1)).unwrap();
    assert!(matches!(other.unwrap(b"tenant a, epoch 1", &wrapped), Err(Error::Denied { .. })));
}

#[test]
fn a_first_start_creates_a_private_file_and_the_next_uses_it() {
    let fixture = KeyFileFixture::new();
    let path = fixture.at("config/ringfence/root.key");
    let first = fixture.load(&path, 1).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no other file is left");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 65);
    assert!(agree(&first, &fixture.load(&path, 2).unwrap()));
    assert!(agree(&first, &LocalProvider::from_env_value(&text, entropy(3)).unwrap()));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let other = fixture.load(&fixture.at("other.key"), 4).unwrap();
    assert!(!agree(&first, &other), "each file is another key");
}

#[test]
fn an_existing_file_wins() {
    let fixture = KeyFileFixture::new();
    let path = fixture.write_file("root.key", BASE64, 0o600);
    file::load_or_create(&path, Some(&fixture.data()), &SeededEntropy::new(1)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), BASE64);
}

#[test]
fn a_key_inside_the_data_folder_is_refused() {
    let fixture = KeyFileFixture::new();
    let says = "inside the data folder; move it elsewhere";
    // Also while neither exists, by a detour, and through links.
    assert!(fixture.refused(&fixture.data().join("root.key")).contains(says));
    assert!(fixture.refused(&fixture.data().join("a/b/root.key")).contains(says));
    assert!(!fixture.data().exists(), "nothing was created");
    fs::create_dir(fixture.data()).unwrap();
    assert!(fixture.refused(&fixture.data().join("root.key")).contains(says));
    assert!(fixture.refused(&fixture.data().join("../data/root.key")).contains(says));
    symlink(fixture.data(), fixture.at("link")).unwrap();
    assert!(fixture.refused(&fixture.at("link/root.key")).contains(says));
    let inside = fixture.write_file("data/real.key", HEX, 0o600);
    symlink(&inside, fixture.at("alias.key")).unwrap();
    assert!(fixture.refused(&fixture.at("alias.key")).contains(says));
    // A name that only has the data folder's name as a prefix is outside.
    fixture.load(&fixture.at("data.key"), 1).unwrap();
}

#[test]
fn a_file_that_others_can_use_is_refused() {
    let fixture = KeyFileFixture::new();
    for bits in [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o610] {
        let path = fixture.write_file("root.key", HEX, bits);
        assert!(fixture.refused(&path).contains("chmod 600"), "{bits:o}");
    }
    fixture.load(&fixture.write_file("root.key", HEX, 0o400), 1).unwrap();
}

#[test]
fn a_file_of_another_user_is_refused() {
    let fixture = KeyFileFixture::new();
    let path = fixture.write_file("root.key", HEX, 0o600);
    // Only root can change a file's owner; for other users only root's files are acceptable files of another owner.
    if chown(&path, Some(54_321), None).is_err() {
        return;
    }
    assert!(fixture.refused(&path).contains("belongs to another user"), "{}", fixture.refused(&path));
    symlink(&path, fixture.at("alias.key")).unwrap();
    assert!(fixture.refused(&fixture.at("alias.key")).contains("belongs to another user"));
    chown(&path, Some(0), None).unwrap();
    fixture.load(&path, 1).unwrap();
    fs::create_dir(fixture.at("theirs")).unwrap();
    let path = fixture.write_file("theirs/root.key", HEX, 0o600);
    chown(fixture.at("theirs"), Some(54_321), None).unwrap();
    assert!(fixture.refused(&path).contains("its folder belongs to another user"));
}

#[test]
fn a_file_in_a_folder_that_others_can_write_to_is_refused() {
    let fixture = KeyFileFixture::new();
    let folder = |name: &str, mode: u32| {
        fs::create_dir(fixture.at(name)).unwrap();
        fs::set_permissions(fixture.at(name), Permissions::from_mode(mode)).unwrap();
    };
    for bits in [0o770, 0o702, 0o777, 0o720] {
        folder(&format!("open-{bits:o}"), bits);
        let path = fixture.write_file(&format!("open-{bits:o}/root.key"), HEX, 0o600);
        assert!(fixture.refused(&path).contains("chmod go-w"), "{bits:o}");
        assert!(LocalProvider::inspect_file(&path).unwrap_err().to_string().contains("chmod go-w"));
        // A first start does not create its key there either.
        assert!(fixture.refused(&fixture.at(&format!("open-{bits:o}/new.key"))).contains("chmod go-w"));
        assert!(!fixture.at(&format!("open-{bits:o}/new.key")).exists());
    }
    for bits in [0o755, 0o1777] {
        folder(&format!("fine-{bits:o}"), bits);
        fixture.load(&fixture.write_file(&format!("fine-{bits:o}/root.key"), HEX, 0o600), 1).unwrap();
    }
    // A link is accepted when both folders are; either folder may be the one that others can write to.
    symlink(fixture.at("fine-755/root.key"), fixture.at("link.key")).unwrap();
    fixture.load(&fixture.at("link.key"), 1).unwrap();
    symlink(fixture.at("fine-755/root.key"), fixture.at("open-777/link.key")).unwrap();
    assert!(fixture.refused(&fixture.at("open-777/link.key")).contains("chmod go-w"));
    symlink(fixture.at("open-777/root.key"), fixture.at("fine-755/link.key")).unwrap();
    assert!(fixture.refused(&fixture.at("fine-755/link.key")).contains("chmod go-w"));
    LocalProvider::inspect_file(&fixture.at("absent.key")).unwrap();
}

#[test]
fn a_file_without_a_key_is_refused_and_kept() {
    let fixture = KeyFileFixture::new();
    let long = HEX.repeat(9);
    for text in ["", "\n", &HEX[..63], &format!("{HEX}00"), &long, "not a key at all"] {
        let path = fixture.write_file("root.key", text, 0o600);
        let message = fixture.refused(&path);
        assert!(message.contains("restore the key") && message.contains("root.key"), "{message}");
        assert!(text.trim().is_empty() || !message.contains(text.trim()), "the content is not repeated");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(fixture.at("root.key"), [0xFF, 0xFE]).unwrap();
    assert!(fixture.refused(&fixture.at("root.key")).contains("restore the key"));
    fs::create_dir(fixture.at("folder.key")).unwrap();
    assert!(fixture.refused(&fixture.at("folder.key")).contains("not a regular file"));
}

#[test]
fn a_file_that_cannot_be_created_is_an_error() {
    let fixture = KeyFileFixture::new();
    let file = fixture.write_file("file", "x", 0o600);
    assert!(fixture.refused(&file.join("root.key")).contains("root key file"));
}
