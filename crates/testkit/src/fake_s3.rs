//! A small S3 in this process's memory that fails on demand, for what real servers do once a year.
//!
//! It speaks enough HTTP/1.1 for an S3 client: PUT (with `If-None-Match: *`), GET (with `Range`), HEAD, DELETE,
//! ListObjectsV2 in pages, and the bulk delete. Objects are created atomically. Signatures are not looked at, and
//! any bucket is there. One thread a connection; all end when it is dropped.
//!
//! ```
//! # use testkit::{FakeS3, Fault, Op, When};
//! let fake = FakeS3::start();
//! fake.fail(When::op(Op::Put).key("log/").after(3).times(1), Fault::CloseAfter);
//! println!("{}", fake.endpoint());
//! ```

mod bucket;
mod plan;
mod wire;

pub use plan::{Fault, When};
pub use wire::Op;

use bucket::Bucket;
use plan::Plan;
use std::{
    io::{BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};
use wire::{Answer, Request};

/// A running fake.
pub struct FakeS3 {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// One request that arrived, in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What was asked.
    pub op: Op,
    /// The object's key, or the prefix of a list.
    pub key: String,
    /// Whether it was applied to the objects.
    pub applied: bool,
    /// The status that was sent; none when the connection was closed or left hanging.
    pub status: Option<u16>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    bucket: Bucket,
    plan: Plan,
    seen: Vec<Seen>,
    streams: Vec<TcpStream>,
    workers: Vec<JoinHandle<()>>,
    released: u64,
    held: usize,
    closing: bool,
}

impl FakeS3 {
    /// Starts on a free port of the loopback.
    ///
    /// # Panics
    /// When there is no port to be had.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        let listener = thread::spawn(move || accept(&listener, &theirs));
        Self { address, shared, listener: Some(listener) }
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its one bucket. Any other name means the same.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        "bucket"
    }

    /// From now on requests that match meet this fault. The first rule that matches counts.
    pub fn fail(&self, when: When, fault: Fault) {
        self.state().plan.add(when, fault);
    }

    /// Forgets all faults; what hangs or is held stays so.
    pub fn heal(&self) {
        self.state().plan = Plan::default();
    }

    /// Lets every request go on that [`Fault::Hold`] holds now.
    pub fn release(&self) {
        self.state().released += 1;
        self.shared.changed.notify_all();
    }

    /// How many requests [`Fault::Hold`] holds now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// Waits until `count` requests have been seen since the start.
    pub fn wait_seen(&self, count: usize) {
        let mut state = self.state();
        while state.seen.len() < count {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Most keys in one answer to a list; 1,000 at first.
    pub fn page(&self, keys_max: usize) {
        self.state().bucket.page = keys_max.max(1);
    }

    /// Every request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many requests of this kind have been seen.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        self.state().seen.iter().filter(|seen| seen.op == op).count()
    }

    /// An object's bytes.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        self.state().bucket.object(key)
    }

    /// All keys, ascending.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.state().bucket.keys()
    }

    /// Puts an object behind every client's back.
    pub fn plant(&self, key: &str, bytes: &[u8]) {
        self.state().bucket.plant(key, bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
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
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        for worker in workers.into_iter().chain(self.listener.take()) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let theirs = shared.clone();
        let mut state = shared.state();
        if state.closing {
            return;
        }
        let Ok(twin) = stream.try_clone() else { continue };
        state.streams.push(twin);
        state.workers.push(thread::spawn(move || {
            let _ = serve(&stream, &theirs);
            // The twin above keeps the socket open: say goodbye for both.
            let _ = stream.shutdown(Shutdown::Both);
        }));
    }
}

/// One connection, until either side has enough of it.
fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        match answer(&request, shared) {
            Some(answer) => answer.write(stream, request.op == Op::Head)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Applies the request, or not, and says what to send. `None` closes the connection.
fn answer(request: &Request, shared: &Shared) -> Option<Answer> {
    let mut state = shared.state();
    let fault = state.plan.next(request.op, &request.key);
    if let Some(Fault::Hold | Fault::Slow(_)) = fault {
        state = hold(state, shared, fault);
        if state.closing {
            return None;
        }
    }
    let applies = fault.is_none_or(Fault::applies);
    let answer = applies.then(|| state.bucket.apply(request));
    let sent = match fault {
        Some(Fault::Status(status) | Fault::StatusAfter(status)) => Some(Answer::error(status)),
        Some(Fault::CloseBefore | Fault::CloseAfter | Fault::HangBefore | Fault::HangAfter) => None,
        Some(Fault::Truncate) => answer.map(Answer::truncated),
        Some(Fault::Hold | Fault::Slow(_)) | None => answer,
    };
    let status = sent.as_ref().map(|a| a.status);
    state.seen.push(Seen { op: request.op, key: request.key.clone(), applied: applies, status });
    shared.changed.notify_all();
    if let Some(Fault::HangBefore | Fault::HangAfter) = fault {
        while !state.closing {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    sent
}

fn hold<'a>(mut state: MutexGuard<'a, State>, shared: &'a Shared, fault: Option<Fault>) -> MutexGuard<'a, State> {
    if let Some(Fault::Slow(time)) = fault {
        let waits = |state: &mut State| !state.closing;
        let waited = shared.changed.wait_timeout_while(state, time, waits);
        return waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    let before = state.released;
    state.held += 1;
    while state.released == before && !state.closing {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.held -= 1;
    state
}

impl Answer {
    fn write(&self, mut stream: &TcpStream, head: bool) -> std::io::Result<()> {
        stream.write_all(&self.bytes(head))?;
        if self.truncated { Err(std::io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
