//! Connections that are held open: bodies and heads that arrive very slowly, replies that are not read, and handshakes
//! that stop halfway.

use super::{Act, Answer, Attack, Attacker, Request, Size, no_requests, wire::read_answer};
use kernel::limits::{BODIES_BYTES_MAX, BODY_BYTES_MAX, CONNECTIONS_MAX};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

pub(super) fn attacks() -> Vec<Attack> {
    let holds = |name, limits, hold| Attack {
        name,
        limits,
        stored: no_requests,
        act: Act::Connections(hold),
        // A server may say why it ends the connection of a slow client.
        statuses: &[200, 400, 401, 408, 413],
    };
    vec![
        holds("dribbling_bodies", &["BODIES_BYTES_MAX", "BODY_WINDOW", "BODY_WINDOW_BYTES_MIN", "BODY_WAIT"], bodies),
        holds("slow_heads", &["HEAD_WAIT", "CONNECTIONS_MAX"], heads),
        holds("long_heads", &["HEAD_BYTES_MAX"], long_heads),
        holds(
            "never_reading",
            &["CONNECTIONS_MAX", "REPLY_WINDOW", "REPLY_WINDOW_BYTES_MIN", "REPLY_UNSENT_BYTES_MAX"],
            unread,
        ),
        holds("half_handshakes", &["HANDSHAKE_WAIT", "CONNECTIONS_MAX"], handshakes),
    ]
}

/// Pause between two bytes that keep a connection alive.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps `count` connections open and sends `next` on each of them from time to time until `stop` is set. An answer
/// ends a connection, which is then opened again.
fn hold(count: usize, stop: &AtomicBool, open: impl Fn() -> io::Result<TcpStream>, next: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while held.len() < count && !stop.load(Ordering::Relaxed) {
            match open() {
                Ok(stream) => held.push(stream),
                // The server accepts no further connection, so the attack holds as many as it can.
                Err(_) => break,
            }
        }
        thread::park_timeout(PAUSE);
        held.retain_mut(|stream| match poll(stream, next) {
            Some(answer) => {
                answers.push(answer);
                false
            }
            None => true,
        });
    }
    answers
}

/// Sends a little more. Returns the answer if there is one, or if the connection has ended.
fn poll(stream: &mut TcpStream, next: &[u8]) -> Option<Answer> {
    let sent = stream.set_nonblocking(true).and_then(|()| stream.write(next).map(drop));
    let mut first = [0; 1];
    match stream.peek(&mut first) {
        Ok(0) => Some(Answer::Closed(ErrorKind::UnexpectedEof)),
        Ok(_) => {
            let _ = stream.set_nonblocking(false);
            Some(read_answer(stream).unwrap_or_else(|e| Answer::Closed(e.kind())))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => match sent {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Some(Answer::Closed(error.kind())),
            _ => None,
        },
        Err(error) => Some(Answer::Closed(error.kind())),
    }
}

/// Nearly complete bodies of the largest size, whose last bytes come one at a time.
fn bodies(attacker: &Attacker, size: Size, stop: &AtomicBool) -> Vec<Answer> {
    let request = Request::post("/v1/namespaces/dribble/documents", Vec::new());
    let head = attacker.head(&request, BODY_BYTES_MAX);
    let most = vec![b' '; size.of(BODY_BYTES_MAX - 4_096)];
    let open = || -> io::Result<TcpStream> {
        let mut stream = attacker.connect(None)?;
        stream.write_all(&head)?;
        Ok(stream)
    };
    // This number of bodies fills the memory for all bodies.
    let bodies = BODIES_BYTES_MAX / most.len() + 1;
    let mut answers = Vec::new();
    let mut held: Vec<(TcpStream, usize)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while held.len() < bodies {
            match open() {
                Ok(stream) => held.push((stream, 0)),
                Err(_) => break,
            }
        }
        let mut moved = false;
        held.retain_mut(|(stream, sent)| {
            // Sends as much as the server accepts, until little is left.
            while let Some(rest) = most.get(*sent..).filter(|rest| !rest.is_empty()) {
                match stream.set_nonblocking(true).and_then(|()| stream.write(&rest[..rest.len().min(1 << 20)])) {
                    Ok(n) => (*sent, moved) = (*sent + n, true),
                    Err(_) => break,
                }
            }
            let next: &[u8] = if *sent < most.len() { b"" } else { b" " };
            poll(stream, next).map(|answer| answers.push(answer)).is_none()
        });
        thread::park_timeout(if moved { Duration::from_millis(5) } else { PAUSE });
    }
    answers
}

fn heads(attacker: &Attacker, size: Size, stop: &AtomicBool) -> Vec<Answer> {
    let open = || -> io::Result<TcpStream> {
        let mut stream = attacker.connect(None)?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: ")?;
        Ok(stream)
    };
    hold(size.of(CONNECTIONS_MAX), stop, open, b"y")
}

/// Sends heads just below and far above the limit, again and again.
fn long_heads(attacker: &Attacker, size: Size, stop: &AtomicBool) -> Vec<Answer> {
    let head = |bytes: usize| {
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(bytes))
    };
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for bytes in [size.of(63 << 10), size.of(4 << 20)] {
            let answer: io::Result<Answer> = attacker.connect(None).and_then(|mut stream| {
                let _ = stream.write_all(head(bytes).as_bytes());
                read_answer(&mut stream)
            });
            answers.push(answer.unwrap_or_else(|e| Answer::Closed(e.kind())));
        }
    }
    // Other tests check the answer to a head above the limit.
    answers.retain(|answer| !matches!(answer.status(), Some(414 | 431)));
    answers
}

/// Requests a rather long page many times in a row, and reads none of the replies.
fn unread(attacker: &Attacker, size: Size, stop: &AtomicBool) -> Vec<Answer> {
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let open = || -> io::Result<TcpStream> {
        let mut stream = attacker.connect(Some(4_096))?;
        stream.set_nonblocking(true)?;
        let _ = stream.write(&request);
        Ok(stream)
    };
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Connections that the server closed are opened again.
        held.retain_mut(|stream| !matches!(stream.write(b"\r\n"), Err(e) if e.kind() != ErrorKind::WouldBlock));
        while held.len() < size.of(CONNECTIONS_MAX) {
            match open() {
                Ok(stream) => held.push(stream),
                Err(_) => break,
            }
        }
        thread::park_timeout(PAUSE);
    }
    Vec::new()
}

/// Sends only the first bytes of a TLS client hello.
fn handshakes(attacker: &Attacker, size: Size, stop: &AtomicBool) -> Vec<Answer> {
    let open = || -> io::Result<TcpStream> {
        let mut stream = attacker.connect(None)?;
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03])?;
        Ok(stream)
    };
    let mut answers = Vec::new();
    let mut held: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        held.retain_mut(|stream| {
            let has_ended = stream.set_nonblocking(true).is_err()
                || !matches!(stream.read(&mut [0; 64]), Err(e) if e.kind() == ErrorKind::WouldBlock);
            if has_ended {
                answers.push(Answer::Closed(ErrorKind::UnexpectedEof));
            }
            !has_ended
        });
        while held.len() < size.of(CONNECTIONS_MAX) {
            match open() {
                Ok(stream) => held.push(stream),
                Err(_) => break,
            }
        }
        thread::park_timeout(PAUSE);
    }
    answers
}
