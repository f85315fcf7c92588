//! A small S3 server in this process's memory that fails on demand, for faults that real servers show once a year.
//!
//! It speaks enough HTTP/1.1 for an S3 client: PUT (with `If-None-Match: *`), GET (with `Range`), HEAD, DELETE,
//! ListObjectsV2 in pages, and the bulk delete. Objects are created atomically. Signatures are not checked, and every
//! bucket exists. Each connection has a thread; all of them end when the server is dropped.
//!
//! ```
//! # use testkit::{FakeS3, Fault, Op, When};
//! let fake = FakeS3::start();
//! fake.fail(When::op(Op::Put).key("log/").after(3).times(1), Fault::CloseAfter);
//! println!("{}", fake.endpoint());
//! ```

mod bucket;
mod faults;
mod wire;

pub use faults::{Fault, When};
pub use wire::Op;

use bucket::Bucket;
use faults::FaultPlan;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::{
    io::{BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
};
use wire::{S3Request, S3Response};

/// A running fake server.
pub struct FakeS3 {
    address: SocketAddr,
    shared: Arc<FakeShared>,
    listener: Option<JoinHandle<()>>,
}

/// A request that the server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// Kind of the request.
    pub op: Op,
    /// Key of the object, or prefix of a list.
    pub key: String,
    /// Whether the request was applied to the objects.
    pub applied: bool,
    /// Status that was sent; `None` if the connection was closed or left hanging.
    pub status: Option<u16>,
}

#[derive(Default)]
struct FakeShared {
    state: Mutex<FakeState>,
    changed: Condvar,
}

#[derive(Default)]
struct FakeState {
    bucket: Bucket,
    faults: FaultPlan,
    seen: Vec<ReceivedRequest>,
    streams: Vec<TcpStream>,
    workers: Vec<JoinHandle<()>>,
    released: u64,
    held: usize,
    closing: bool,
}

impl FakeS3 {
    /// Starts a server on a free loopback port.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::<FakeShared>::default();
        let shared_with_thread = shared.clone();
        let listener = thread::spawn(move || accept(&listener, &shared_with_thread));
        Self { address, shared, listener: Some(listener) }
    }

    /// URL of the server, `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Name of the bucket. Any other name stands for the same bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        "bucket"
    }

    /// Applies a fault to matching requests from now on. The first matching rule counts.
    pub fn fail(&self, when: When, fault: Fault) {
        self.state().faults.add(when, fault);
    }

    /// Removes all faults. Requests that hang or are held stay so.
    pub fn clear_faults(&self) {
        self.state().faults = FaultPlan::default();
    }

    /// Continues the requests that [`Fault::Hold`] holds now.
    pub fn release(&self) {
        self.state().released += 1;
        self.shared.changed.notify_all();
    }

    /// Number of requests that [`Fault::Hold`] holds now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// Waits until `count` requests have been received since the start.
    pub fn wait_for_requests(&self, count: usize) {
        let mut state = self.state();
        while state.seen.len() < count {
            self.shared.changed.wait(&mut state);
        }
    }

    /// Sets the largest number of keys in one answer to a list; 1,000 by default.
    pub fn page(&self, keys_max: usize) {
        self.state().bucket.page = keys_max.max(1);
    }

    /// Requests received so far, in the order of arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<ReceivedRequest> {
        self.state().seen.clone()
    }

    /// Number of requests of this kind that were received.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        self.state().seen.iter().filter(|seen| seen.op == op).count()
    }

    /// Bytes of an object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state().bucket.object(key)
    }

    /// All keys in ascending order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.state().bucket.keys()
    }

    /// Stores an object without a client's request.
    pub fn put_directly(&self, key: &str, bytes: &[u8]) {
        self.state().bucket.put_directly(key, bytes);
    }

    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.shared.state()
    }
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        let workers = {
            let mut state = self.state();
            state.closing = true;
            for stream in &state.streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
            std::mem::take(&mut state.workers)
        };
        self.shared.changed.notify_all();
        // This wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
        for worker in workers.into_iter().chain(self.listener.take()) {
            let _ = worker.join();
        }
    }
}

impl FakeShared {
    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<FakeShared>) {
    while let Ok((stream, _)) = listener.accept() {
        let shared_with_thread = shared.clone();
        let mut state = shared.state();
        if state.closing {
            return;
        }
        let Ok(second) = stream.try_clone() else { continue };
        state.streams.push(second);
        state.workers.push(thread::spawn(move || {
            let _ = serve(&stream, &shared_with_thread);
            // The cloned handle above keeps the socket open, so it is shut down for both.
            let _ = stream.shutdown(Shutdown::Both);
        }));
    }
}

/// Serves one connection until either side ends it.
fn serve(stream: &TcpStream, shared: &FakeShared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = S3Request::read(&mut reader)? {
        match answer(&request, shared) {
            Some(answer) => answer.write(stream, request.op == Op::Head)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Applies the request unless the fault prevents it, and returns the reply. `None` closes the connection.
fn answer(request: &S3Request, shared: &FakeShared) -> Option<S3Response> {
    let mut state = shared.state();
    let fault = state.faults.next(request.op, &request.key);
    if let Some(Fault::Hold | Fault::Slow(_)) = fault {
        state = hold(state, shared, fault);
        if state.closing {
            return None;
        }
    }
    let applies = fault.is_none_or(Fault::applies);
    let answer = applies.then(|| state.bucket.apply(request));
    let sent = match fault {
        Some(Fault::Status(status) | Fault::StatusAfter(status)) => Some(S3Response::error(status)),
        Some(Fault::CloseBefore | Fault::CloseAfter | Fault::HangBefore | Fault::HangAfter) => None,
        Some(Fault::Truncate) => answer.map(S3Response::truncated),
        Some(Fault::Hold | Fault::Slow(_)) | None => answer,
    };
    let status = sent.as_ref().map(|a| a.status);
    state.seen.push(ReceivedRequest { op: request.op, key: request.key.clone(), applied: applies, status });
    shared.changed.notify_all();
    if let Some(Fault::HangBefore | Fault::HangAfter) = fault {
        while !state.closing {
            shared.changed.wait(&mut state);
        }
    }
    sent
}

fn hold<'a>(
    mut state: MutexGuard<'a, FakeState>,
    shared: &'a FakeShared,
    fault: Option<Fault>,
) -> MutexGuard<'a, FakeState> {
    if let Some(Fault::Slow(time)) = fault {
        let waits = |state: &mut FakeState| !state.closing;
        shared.changed.wait_while_for(&mut state, waits, time);
        return state;
    }
    let before = state.released;
    state.held += 1;
    while state.released == before && !state.closing {
        shared.changed.wait(&mut state);
    }
    state.held -= 1;
    state
}

impl S3Response {
    fn write(&self, mut stream: &TcpStream, head: bool) -> std::io::Result<()> {
        stream.write_all(&self.bytes(head))?;
        if self.truncated { Err(std::io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
