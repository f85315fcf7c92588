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

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
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
    /// The message of the refusal.
    fn refused(&self, path: &Path) -> String {
        match self.load(path, 1) {
            Ok(_) => panic!("should have been refused"),
            Err(error @ Error::KeyFile { .. }) => error.to_string(),
            Err(other) => panic!("{other}"),
        }
    }
    fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
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
fn values_in_both_forms_are_one_key() {
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
fn a_first_start_makes_a_private_file_and_the_next_uses_it() {
    let place = Place::new();
    let path = place.at("config/ringfence/root.key");
    let first = place.load(&path, 1).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.len(), 65);
    assert!(agree(&first, &place.load(&path, 2).unwrap()));
    assert!(agree(&first, &LocalProvider::from_env_value(&text, entropy(3)).unwrap()));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let other = place.load(&place.at("other.key"), 4).unwrap();
    assert!(!agree(&first, &other), "each file is another key");
}

#[test]
fn a_file_that_was_there_first_wins() {
    let place = Place::new();
    let path = place.put("root.key", BASE64, 0o600);
    file::load_or_create(&path, Some(&place.data()), &SeededEntropy::new(1)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), BASE64);
}

#[test]
fn a_key_inside_the_data_folder_is_refused() {
    let place = Place::new();
    let says = "inside the data folder; move it elsewhere";
    // Also while neither exists, by a detour, and through links.
    assert!(place.refused(&place.data().join("root.key")).contains(says));
    assert!(place.refused(&place.data().join("a/b/root.key")).contains(says));
    assert!(!place.data().exists(), "nothing was created");
    fs::create_dir(place.data()).unwrap();
    assert!(place.refused(&place.data().join("root.key")).contains(says));
    assert!(place.refused(&place.data().join("../data/root.key")).contains(says));
    symlink(place.data(), place.at("link")).unwrap();
    assert!(place.refused(&place.at("link/root.key")).contains(says));
    let inside = place.put("data/real.key", HEX, 0o600);
    symlink(&inside, place.at("alias.key")).unwrap();
    assert!(place.refused(&place.at("alias.key")).contains(says));
    // A name that only begins like the data folder's is outside.
    place.load(&place.at("data.key"), 1).unwrap();
}

#[test]
fn a_file_that_others_can_use_is_refused() {
    let place = Place::new();
    for bits in [0o640, 0o604, 0o620, 0o602, 0o644, 0o660, 0o610] {
        let path = place.put("root.key", HEX, bits);
        assert!(place.refused(&path).contains("chmod 600"), "{bits:o}");
    }
    place.load(&place.put("root.key", HEX, 0o400), 1).unwrap();
}

#[test]
fn a_file_of_another_user_is_refused() {
    let place = Place::new();
    let path = place.put("root.key", HEX, 0o600);
    // Only root can give files away; elsewhere root's own file is the one of another that may be used.
    if chown(&path, Some(54_321), None).is_err() {
        return;
    }
    assert!(place.refused(&path).contains("belongs to another user"), "{}", place.refused(&path));
    symlink(&path, place.at("alias.key")).unwrap();
    assert!(place.refused(&place.at("alias.key")).contains("belongs to another user"));
    chown(&path, Some(0), None).unwrap();
    place.load(&path, 1).unwrap();
    fs::create_dir(place.at("theirs")).unwrap();
    let path = place.put("theirs/root.key", HEX, 0o600);
    chown(place.at("theirs"), Some(54_321), None).unwrap();
    assert!(place.refused(&path).contains("its folder belongs to another user"));
}

#[test]
fn a_file_in_a_folder_that_others_can_write_to_is_refused() {
    let place = Place::new();
    let folder = |name: &str, mode: u32| {
        fs::create_dir(place.at(name)).unwrap();
        fs::set_permissions(place.at(name), Permissions::from_mode(mode)).unwrap();
    };
    for bits in [0o770, 0o702, 0o777, 0o720] {
        folder(&format!("open-{bits:o}"), bits);
        let path = place.put(&format!("open-{bits:o}/root.key"), HEX, 0o600);
        assert!(place.refused(&path).contains("chmod go-w"), "{bits:o}");
        assert!(LocalProvider::inspect_file(&path).unwrap_err().to_string().contains("chmod go-w"));
        // Nor does a first start leave its key there.
        assert!(place.refused(&place.at(&format!("open-{bits:o}/new.key"))).contains("chmod go-w"));
        assert!(!place.at(&format!("open-{bits:o}/new.key")).exists());
    }
    for bits in [0o755, 0o1777] {
        folder(&format!("fine-{bits:o}"), bits);
        place.load(&place.put(&format!("fine-{bits:o}/root.key"), HEX, 0o600), 1).unwrap();
    }
    // A link is fine when both folders are; either can be the one that others write to.
    symlink(place.at("fine-755/root.key"), place.at("link.key")).unwrap();
    place.load(&place.at("link.key"), 1).unwrap();
    symlink(place.at("fine-755/root.key"), place.at("open-777/link.key")).unwrap();
    assert!(place.refused(&place.at("open-777/link.key")).contains("chmod go-w"));
    symlink(place.at("open-777/root.key"), place.at("fine-755/link.key")).unwrap();
    assert!(place.refused(&place.at("fine-755/link.key")).contains("chmod go-w"));
    LocalProvider::inspect_file(&place.at("absent.key")).unwrap();
}

#[test]
fn a_file_without_a_key_is_refused_and_kept() {
    let place = Place::new();
    let long = HEX.repeat(9);
    for text in ["", "\n", &HEX[..63], &format!("{HEX}00"), &long, "not a key at all"] {
        let path = place.put("root.key", text, 0o600);
        let message = place.refused(&path);
        assert!(message.contains("restore the key") && message.contains("root.key"), "{message}");
        assert!(text.trim().is_empty() || !message.contains(text.trim()), "the content is not repeated");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(place.at("root.key"), [0xFF, 0xFE]).unwrap();
    assert!(place.refused(&place.at("root.key")).contains("restore the key"));
    fs::create_dir(place.at("folder.key")).unwrap();
    assert!(place.refused(&place.at("folder.key")).contains("no regular file"));
}

#[test]
fn what_cannot_be_created_is_said() {
    let place = Place::new();
    let file = place.put("file", "x", 0o600);
    assert!(place.refused(&file.join("root.key")).contains("root key file"));
}
