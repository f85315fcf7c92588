//! HTTP as an attacker speaks it: from an address of its own, so that limits for each address do not affect other
//! clients, and without keeping what it reads.

use super::Request;
use socket2::{Domain, Socket, Type};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// The outcome of a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An HTTP reply.
    Reply {
        /// Status code.
        status: u16,
        /// Whether it has the header `retry-after`.
        retry_after: bool,
        /// Length of the reply with its head, bytes.
        bytes: u64,
        /// Beginning of the body of an unsuccessful reply.
        body_start: String,
    },
    /// The connection ended without a reply, or none came in time.
    Closed(ErrorKind),
}

impl Answer {
    /// Status of the reply, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Reply { status, .. } => Some(*status),
            Self::Closed(_) => None,
        }
    }

    /// The reason why a correct server does not give this answer. A connection may end, since servers may hang up on
    /// attackers, but a reply must not fail to come: every request has a deadline.
    pub(super) fn wrong(&self, allowed: &[u16]) -> Option<String> {
        match self {
            Self::Closed(ErrorKind::WouldBlock | ErrorKind::TimedOut) => Some(format!("no answer in {ANSWER_WAIT:?}")),
            Self::Closed(_) | Self::Reply { status: 503, retry_after: true, .. } | Self::Reply { status: 429, .. } => {
                None
            }
            Self::Reply { status, .. } if allowed.contains(status) => None,
            Self::Reply { status, body_start, .. } => Some(format!("{status} {body_start}")),
        }
    }
}

/// An attacking client of the data plane.
#[derive(Clone)]
pub struct Attacker {
    server: SocketAddr,
    host: u8,
    key: Option<String>,
}

impl Attacker {
    /// Creates a client that connects from `127.0.0.<host>`, with this API key or without a credential.
    pub fn new(server: SocketAddr, host: u8, key: Option<String>) -> Self {
        Self { server, host, key }
    }

    /// Sends one request on a connection of its own and reads the whole reply.
    pub fn send(&self, request: &Request) -> Answer {
        self.connect(None)
            .and_then(|stream| self.exchange(stream, request))
            .unwrap_or_else(|e| Answer::Closed(e.kind()))
    }

    fn exchange(&self, mut stream: TcpStream, request: &Request) -> io::Result<Answer> {
        let sent =
            stream.write_all(&self.head(request, request.body.len())).and_then(|()| stream.write_all(&request.body));
        // A server that refuses early closes its side while the request is still being sent: its answer counts.
        match read_answer(&mut stream) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Head of a request whose body has this length. The server closes the connection after the reply.
    pub(super) fn head(&self, request: &Request, length: usize) -> Vec<u8> {
        let bearer = self.key.as_ref().map_or(String::new(), |key| format!("authorization: Bearer {key}\r\n"));
        let Request { method, path, .. } = request;
        format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n{bearer}\r\n"
        )
        .into_bytes()
    }

    /// Opens a connection. `buffer` is the size of the operating system's receive buffer, bytes.
    pub(super) fn connect(&self, buffer: Option<usize>) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, self.host), 0)).into())?;
        socket.connect_timeout(&self.server.into(), CONNECT_WAIT)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        Ok(stream)
    }
}

/// Reads to the end of the connection and keeps only the beginning.
pub(super) fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let (mut kept, mut bytes) = (Vec::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                bytes += n as u64;
                let count = n.min(KEPT_BYTES_MAX.saturating_sub(kept.len()));
                kept.extend_from_slice(&buffer[..count]);
            }
            Err(_) if bytes > 0 => break,
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let status = text.split_whitespace().nth(1).and_then(|s| s.parse().ok()).ok_or(ErrorKind::UnexpectedEof)?;
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    let body_start =
        if status < 400 { String::new() } else { text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned() };
    Ok(Answer::Reply { status, retry_after: head.contains("\r\nretry-after:"), bytes, body_start })
}

const KEPT_BYTES_MAX: usize = 2_048;
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Time to wait for an answer, longer than any deadline that the server has for a request.
const ANSWER_WAIT: Duration = Duration::from_secs(150);
