//! moto: S3 and KMS in Python, in memory. It honours `If-None-Match` only without concurrency: its threads check and
//! then write, and now and then two create the same key (our probe has caught it). Requests are therefore serialized
//! here. Its KMS continues to work with a key that is disabled or scheduled for deletion, which Amazon's refuses: here
//! it refuses too, in Amazon's words.

use super::{BUCKET, StoreKey, signed};
use crate::process::{Ends, Process, free_address, installed, listens, wait_until};
use std::{net::SocketAddr, process::Command};
use tempfile::TempDir;

/// moto's server behind a lock, with key states in its KMS. A body is read before the lock is taken, so that a client
/// that stops while sending one delays no other.
const SERVER: &str = "
import io, threading
import moto.server
from moto.core.exceptions import JsonRESTError
from moto.kms.models import KmsBackend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication as Application

answer, lock = Application.__call__, threading.Lock()

def one_by_one(self, environ, start_response):
    length = environ.get('CONTENT_LENGTH')
    if length:
        environ['wsgi.input'] = io.BytesIO(environ['wsgi.input'].read(int(length)))
    with lock:
        return answer(self, environ, start_response)

Application.__call__ = one_by_one

# Its other operations with a key, generating data keys and re-encrypting, call these two.
encrypt, decrypt = KmsBackend.encrypt, KmsBackend.decrypt
REFUSALS = {'Disabled': ('DisabledException', 'disabled'),
            'PendingDeletion': ('KMSInvalidStateException', 'pending deletion')}

def usable(self, key_id):
    key = self.keys[self.any_id_to_key_id(key_id)]
    if key.key_state in REFUSALS:
        name, state = REFUSALS[key.key_state]
        raise JsonRESTError(name, f'{key.arn} is {state}.')

def usable_encrypt(self, key_id, *rest, **more):
    usable(self, key_id)
    return encrypt(self, key_id, *rest, **more)

def usable_decrypt(self, *rest, **more):
    plaintext, arn = decrypt(self, *rest, **more)
    usable(self, arn)
    return plaintext, arn

KmsBackend.encrypt, KmsBackend.decrypt = usable_encrypt, usable_decrypt
moto.server.main()
";

/// A running moto.
pub struct Moto {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Moto {
    /// Starts a server; `None` if moto is not installed. It takes about two seconds.
    ///
    /// # Panics
    /// If it is installed and does not start, or is required and not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let code = installed("moto")?;
        let folder = TempDir::new().expect("a temporary folder");
        let (address, log) = (free_address(), folder.path().join("log"));
        let mut command = Command::new("python3");
        command
            .args(["-c", SERVER, "-H", "127.0.0.1", "-p", &address.port().to_string()])
            .current_dir(folder.path())
            .env("PYTHONPATH", code)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", folder.path());
        let mut process = Process::spawn(&mut command, &log);
        wait_until("moto", &log, &mut process, Ends::Never, || listens(address));
        let created = signed::make_bucket(address, &StoreKey::for_tests(), BUCKET);
        assert!(created.as_ref().is_some_and(|r| r.status == 200), "moto creates no bucket: {created:?}");
        Some(Self { address, _process: process, _folder: folder })
    }

    /// URL of the server, `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Credentials of the server.
    #[must_use]
    pub fn credentials(&self) -> StoreKey {
        StoreKey::for_tests()
    }

    /// Name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }
}
