//! A TCP proxy that makes the server behind it slow, silent or unreachable, for any protocol.

use parking_lot::{Condvar, Mutex};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Behaviour of a [`SlowProxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Passes all bytes.
    Pass,
    /// Holds each answer for this time: the server's first bytes after the client has sent some.
    Delay(Duration),
    /// Closes all open connections, and every new one at once.
    Refuse,
    /// Accepts connections and passes nothing in either direction. Held bytes are passed when the mode changes, as
    /// packets are after a network outage.
    Hang,
}

/// A proxy on a free loopback port.
pub struct SlowProxy {
    address: SocketAddr,
    shared: Arc<ProxyShared>,
    listener: Option<JoinHandle<()>>,
}

struct ProxyShared {
    server: SocketAddr,
    state: Mutex<ProxyState>,
    changed: Condvar,
}

struct ProxyState {
    mode: ProxyMode,
    streams: Vec<TcpStream>,
    accepted: usize,
    closing: bool,
}

impl SlowProxy {
    /// Starts a proxy in front of this address. It passes all bytes at first.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn in_front_of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = ProxyState { mode: ProxyMode::Pass, streams: Vec::new(), accepted: 0, closing: false };
        let shared = Arc::new(ProxyShared { server, state: Mutex::new(state), changed: Condvar::new() });
        let shared_with_thread = shared.clone();
        let listener = thread::spawn(move || accept(&listener, &shared_with_thread));
        Self { address, shared, listener: Some(listener) }
    }

    /// URL of the proxy, `http://127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Address on which the proxy listens.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.address
    }

    /// Sets the mode from now on, also for open connections.
    pub fn set(&self, mode: ProxyMode) {
        let mut state = self.shared.state.lock();
        state.mode = mode;
        if mode == ProxyMode::Refuse {
            state.cut();
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.state.lock().accepted
    }
}

impl Drop for SlowProxy {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closing = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // This wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl ProxyState {
    /// Ends every connection. Its threads end with it.
    fn cut(&mut self) {
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl ProxyShared {
    /// Waits as the mode requires. Returns false if nothing may pass any longer.
    fn may_pass(&self, answers: bool) -> bool {
        let mut state = self.state.lock();
        loop {
            let mode = state.mode;
            let same = |state: &mut ProxyState| state.mode == mode && !state.closing;
            match mode {
                _ if state.closing => return false,
                ProxyMode::Refuse => return false,
                ProxyMode::Delay(time) if answers => {
                    if self.changed.wait_while_for(&mut state, same, time).timed_out() {
                        return true;
                    }
                }
                ProxyMode::Pass | ProxyMode::Delay(_) => return true,
                ProxyMode::Hang => self.changed.wait_while(&mut state, same),
            }
        }
    }

    /// Registers one end of a connection, so that it can be cut. Returns false if the connection is not allowed.
    fn register(&self, end: &TcpStream) -> std::io::Result<bool> {
        end.set_nodelay(true)?;
        let mut state = self.state.lock();
        if state.closing || state.mode == ProxyMode::Refuse {
            return Ok(false);
        }
        state.streams.push(end.try_clone()?);
        Ok(true)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<ProxyShared>) {
    for client in listener.incoming().flatten() {
        let mut state = shared.state.lock();
        if state.closing {
            return;
        }
        state.accepted += 1;
        drop(state);
        let shared = shared.clone();
        thread::spawn(move || {
            let _ = serve(&client, &shared);
            // This is needed also if the server cannot be reached: the registered handle would keep the connection
            // open.
            let _ = client.shutdown(Shutdown::Both);
        });
    }
}

/// Connects a client to the server once something may pass, and copies in both directions until the server has ended.
fn serve(client: &TcpStream, shared: &Arc<ProxyShared>) -> std::io::Result<()> {
    if !shared.register(client)? || !shared.may_pass(false) {
        return Ok(());
    }
    let server = TcpStream::connect_timeout(&shared.server, Duration::from_secs(5))?;
    if !shared.register(&server)? {
        return Ok(());
    }
    let request_sent = Arc::new(AtomicBool::new(false));
    let (from, to, shared_with_thread, request_sent_by_thread) =
        (client.try_clone()?, server.try_clone()?, shared.clone(), request_sent.clone());
    thread::spawn(move || {
        copy(from, to, || {
            let passes = shared_with_thread.may_pass(false);
            // This comes before the bytes reach the server, so before it can answer.
            request_sent_by_thread.store(true, Ordering::SeqCst);
            passes
        });
    });
    copy(server, client.try_clone()?, || shared.may_pass(request_sent.swap(false, Ordering::SeqCst)));
    Ok(())
}

/// Copies until one side ends or nothing may pass. The end of a stream is passed on as well.
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
