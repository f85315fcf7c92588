//! HTTP/1.1 over a plain socket, small enough to read in full. Tests can send half a request, lie about lengths, or
//! send bytes that are not UTF-8.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Reply of a server.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers, with their names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body of the reply.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// `error.code` of a problem.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The JSON body of a success.
    ///
    /// # Panics
    /// If the reply is no success. The test's message then shows the problem.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }
}

/// One persistent connection that reconnects if the server closed it.
pub struct Http {
    address: SocketAddr,
    bearer: Option<String>,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    /// Creates a client of `address` with this credential.
    pub fn new(address: SocketAddr, bearer: Option<&str>) -> Self {
        Self { address, bearer: bearer.map(str::to_owned), stream: None }
    }

    /// Sends JSON, or nothing for `Value::Null`.
    ///
    /// # Errors
    /// If the server cannot be reached or ends the connection.
    pub fn send(&mut self, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send_bytes(method, path, &bytes, &[])
    }

    /// Sends a body of bytes, with further headers.
    ///
    /// # Errors
    /// The same as of [`Http::send`].
    pub fn send_bytes(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        more: &[(&str, &str)],
    ) -> std::io::Result<Reply> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.address, body.len());
        if !body.is_empty() {
            head.push_str("content-type: application/json\r\n");
        }
        if let Some(bearer) = &self.bearer {
            head.push_str(&format!("authorization: Bearer {bearer}\r\n"));
        }
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.exchange(head.as_bytes(), body)
    }

    /// Sends exactly these bytes as a head and a body.
    ///
    /// # Errors
    /// The same as of [`Http::send`].
    pub fn exchange(&mut self, head: &[u8], body: &[u8]) -> std::io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
                stream.set_read_timeout(Some(Duration::from_secs(120)))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        stream.get_mut().write_all(head)?;
        // A server that refuses early closes its side while the request is still being sent: its answer counts.
        let sent = stream.get_mut().write_all(body);
        match read_reply(&mut stream) {
            Ok((reply, is_persistent)) => {
                if is_persistent && sent.is_ok() {
                    self.stream = Some(stream);
                }
                Ok(reply)
            }
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }
}

fn read_reply(stream: &mut BufReader<TcpStream>) -> std::io::Result<(Reply, bool)> {
    let broken = || std::io::Error::new(std::io::ErrorKind::InvalidData, "no HTTP answer");
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split_whitespace().nth(1).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut reply = Reply { status, headers, body: Vec::new() };
    match (reply.header("content-length").and_then(|v| v.parse::<usize>().ok()), reply.header("transfer-encoding")) {
        (Some(length), _) => {
            reply.body.resize(length, 0);
            stream.read_exact(&mut reply.body)?;
        }
        (None, Some(_)) => read_chunks(stream, &mut reply.body)?,
        (None, None) => {}
    }
    let is_persistent = reply.header("connection") != Some("close");
    Ok((reply, is_persistent))
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16)
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "chunk length"))?;
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..])?;
        line.clear();
        stream.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}
