//! A TCP proxy that makes the server behind it slow, silent or gone, whatever is spoken through it.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// What a [`SlowProxy`] does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Passes everything.
    Pass,
    /// Holds each answer for so long: what the server says first after the client has said something.
    Delay(Duration),
    /// Closes what is open, and every new connection at once.
    Refuse,
    /// Accepts, and passes nothing in either direction. What was held goes on when the mode changes, as packets do
    /// after an outage of a network.
    Hang,
}

/// A proxy on a free port of the loopback.
pub struct SlowProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: ProxyMode,
    streams: Vec<TcpStream>,
    accepted: usize,
    closing: bool,
}

impl SlowProxy {
    /// Starts one in front of this address; at first it passes everything.
    ///
    /// # Panics
    /// When there is no port to be had.
    #[must_use]
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = State { mode: ProxyMode::Pass, streams: Vec::new(), accepted: 0, closing: false };
        let shared = Arc::new(Shared { server, state: Mutex::new(state), changed: Condvar::new() });
        let theirs = shared.clone();
        let listener = thread::spawn(move || accept(&listener, &theirs));
        Self { address, shared, listener: Some(listener) }
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for what is open too.
    pub fn set(&self, mode: ProxyMode) {
        let mut state = self.shared.state();
        state.mode = mode;
        if mode == ProxyMode::Refuse {
            state.cut();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// How many connections there have been.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.state().accepted
    }
}

impl Drop for SlowProxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closing = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl State {
    /// Ends every connection; its threads end with it.
    fn cut(&mut self) {
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as the mode says; false when nothing may pass any more.
    fn may_pass(&self, answers: bool) -> bool {
        let mut state = self.state();
        loop {
            let mode = state.mode;
            let same = |state: &mut State| state.mode == mode && !state.closing;
            state = match mode {
                _ if state.closing => return false,
                ProxyMode::Refuse => return false,
                ProxyMode::Delay(time) if answers => {
                    let waited = self.changed.wait_timeout_while(state, time, same);
                    let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() {
                        return true;
                    }
                    state
                }
                ProxyMode::Pass | ProxyMode::Delay(_) => return true,
                ProxyMode::Hang => self.changed.wait_while(state, same).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Remembers an end of a connection, so that it can be cut; false when it is not to be.
    fn keep(&self, end: &TcpStream) -> std::io::Result<bool> {
        end.set_nodelay(true)?;
        let mut state = self.state();
        if state.closing || state.mode == ProxyMode::Refuse {
            return Ok(false);
        }
        state.streams.push(end.try_clone()?);
        Ok(true)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        let mut state = shared.state();
        if state.closing {
            return;
        }
        state.accepted += 1;
        drop(state);
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = serve(&client, &shared);
            // Also where the server cannot be reached. What is kept to be cut would hold it open.
            let _ = client.shutdown(Shutdown::Both);
        });
    }
}

/// Connects a client with the server once something may pass, and copies both ways until the server has ended.
fn serve(client: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    if !shared.keep(client)? || !shared.may_pass(false) {
        return Ok(());
    }
    let server = TcpStream::connect_timeout(&shared.server, Duration::from_secs(5))?;
    if !shared.keep(&server)? {
        return Ok(());
    }
    let asked = Arc::new(AtomicBool::new(false));
    let (from, to, ours, theirs) = (client.try_clone()?, server.try_clone()?, shared.clone(), asked.clone());
    thread::spawn(move || {
        copy(from, to, || {
            let passes = ours.may_pass(false);
            // Before the server can answer.
            theirs.store(true, Ordering::SeqCst);
            passes
        });
    });
    copy(server, client.try_clone()?, || shared.may_pass(asked.swap(false, Ordering::SeqCst)));
    Ok(())
}

/// Copies until one side ends or nothing may pass. An end is passed on like bytes.
fn copy(mut from: TcpStream, mut to: TcpStream, mut may_pass: impl FnMut() -> bool) {
    let mut bytes = [0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes).unwrap_or(0);
        if !may_pass() {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            let _ = from.shutdown(Shutdown::Read);
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}
