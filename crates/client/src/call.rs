//! Calls of the API. A call is retried where that is safe.

use crate::{ApiProblem, Error};
use api::{
    documents::{Stored, UpsertRequest},
    search::{Search, SearchResults},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;

/// Attempts of one call, including the first. With doubling pauses they take about half a minute.
const ATTEMPTS_MAX: u32 = 8;

/// Longest pause between two attempts, whatever the server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// A pool of connections to one listener with one credential. It is cheap to clone and can be shared.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    bearer: String,
}

impl Client {
    /// Creates a client of `base` (`http://127.0.0.1:7171`) with this credential.
    pub fn new(base: &str, bearer: &str) -> Self {
        // A second installation is refused, which is harmless: the provider is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(600)))
            .build();
        Self { agent: config.into(), base: base.trim_end_matches('/').to_owned(), bearer: bearer.to_owned() }
    }

    /// Calls a route that takes no body.
    ///
    /// # Errors
    /// The server's refusal, or the reason why there is no reply of this type.
    pub fn call<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, Error> {
        self.parse(&self.answer(method, path, None)?.body)
    }

    /// Calls a route with a body.
    ///
    /// # Errors
    /// The same as of [`Client::call`].
    pub fn send<T: DeserializeOwned>(&self, method: &str, path: &str, body: &impl Serialize) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|e| self.broken(&e.to_string()).error)?;
        self.parse(&self.answer(method, path, Some(&body))?.body)
    }

    /// Calls a route that answers with one page in NDJSON. The page has its signed head and the position of the next
    /// page, if the reply has them.
    ///
    /// # Errors
    /// The same as of [`Client::call`].
    pub fn page(&self, path: &str) -> Result<RecordPage, Error> {
        let RawReply { body, next_after, audit_head } = self.answer("GET", path, None)?;
        let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(|line| self.parse(line)).collect::<Result<_, _>>()?;
        Ok(RecordPage { lines, next_after, audit_head })
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|e| Error::Broken { url: self.base.clone(), why: e.to_string() })
    }

    /// Calls until a retry could not improve the answer.
    fn answer(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<RawReply, Error> {
        let mut pause = Duration::from_millis(100);
        for attempt in 1.. {
            match self.once(method, path, body) {
                Err(FailedAttempt { wait: Some(wait), .. }) if attempt < ATTEMPTS_MAX => {
                    std::thread::sleep(wait.unwrap_or(pause).min(PAUSE_MAX));
                    pause *= 2;
                }
                Err(failure) => return Err(failure.error),
                Ok(answer) => return Ok(answer),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Stores documents.
    ///
    /// # Errors
    /// The same as of [`Client::call`].
    pub fn upsert(&self, namespace: &str, documents: &UpsertRequest) -> Result<Stored, Error> {
        self.send("POST", &format!("/v1/namespaces/{}/documents", encode(namespace)), documents)
    }

    /// Searches a namespace.
    ///
    /// # Errors
    /// The same as of [`Client::call`].
    pub fn search(&self, namespace: &str, search: &Search) -> Result<SearchResults, Error> {
        self.send("POST", &format!("/v1/namespaces/{}/search", encode(namespace)), search)
    }

    fn once(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<RawReply, FailedAttempt> {
        let url = format!("{}{path}", self.base);
        let bytes = body.map(<[u8]>::to_vec).unwrap_or_default();
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if !self.bearer.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.bearer));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(bytes).map_err(|e| self.broken(&e.to_string()))?;
        let mut response = self.agent.run(request).map_err(|e| self.transport(&e))?;
        let status = response.status().as_u16();
        let wait =
            response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (next_after, audit_head) = (header("x-next-after"), header("x-audit-head"));
        let reading = response.body_mut().with_config().limit(1 << 30).read_to_vec();
        let body = reading.map_err(|e| self.broken(&e.to_string()))?;
        if (200..300).contains(&status) {
            return Ok(RawReply { body, next_after, audit_head });
        }
        let problem = ApiProblem::read(status, &body);
        // A retry does not help where a model is not available, or where no time frees a full quota.
        let permanent = problem.code == "model_unavailable" || (problem.code == "quota_exceeded" && wait.is_none());
        let is_retried = matches!(status, 429 | 503) && !permanent;
        Err(FailedAttempt { error: Error::Refused(problem), wait: is_retried.then_some(wait) })
    }

    fn transport(&self, error: &ureq::Error) -> FailedAttempt {
        let refused = match error {
            ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
            ureq::Error::Io(e) => e.kind() == std::io::ErrorKind::ConnectionRefused,
            _ => false,
        };
        match refused {
            true => FailedAttempt { error: Error::Unreachable { url: self.base.clone() }, wait: None },
            false => self.broken(&error.to_string()),
        }
    }

    fn broken(&self, why: &str) -> FailedAttempt {
        FailedAttempt { error: Error::Broken { url: self.base.clone(), why: why.to_owned() }, wait: None }
    }
}

/// One page of a reply in NDJSON.
pub struct RecordPage {
    /// Lines of the page, parsed as JSON.
    pub lines: Vec<Value>,
    /// Position where the next page begins; `None` at the end.
    pub next_after: Option<String>,
    /// Head of the audit log, as a signed note in base64.
    pub audit_head: Option<String>,
}

/// Body and headers of a successful reply.
struct RawReply {
    body: Vec<u8>,
    next_after: Option<String>,
    audit_head: Option<String>,
}

/// A failed attempt. `wait` is `Some` if another may succeed, and holds the time to wait if the server gave one.
struct FailedAttempt {
    error: Error,
    wait: Option<Option<Duration>>,
}

/// Percent-encodes one path segment (RFC 3986; unreserved characters stay as they are).
pub fn encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_s_path_is_one_segment() {
        assert_eq!(encode("hr/päge 1.md"), "hr%2Fp%C3%A4ge%201.md");
    }

    #[test]
    fn an_unreachable_server_is_named_with_the_remedy() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = Client::new(&format!("http://127.0.0.1:{port}"), "x").call::<Value>("GET", "/").unwrap_err();
        assert!(error.to_string().contains("ringfence serve"), "{error}");
    }

    /// Starts a server that gives these answers, one for each connection, and then returns the number of requests.
    fn server(answers: Vec<String>) -> (String, std::thread::JoinHandle<usize>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            for answer in &answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
            answers.len()
        });
        (url, thread)
    }

    fn answer(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    }

    fn refusal(code: &str) -> String {
        let problem = json!({
            "type": "urn:x", "title": "T", "status": 503, "detail": "why", "instance": "/", "request_id": "r",
            "error": {"message": "why", "type": "server_error", "code": code},
        });
        answer("503 No", &problem.to_string())
    }

    #[test]
    fn a_busy_server_is_called_again() {
        let (url, thread) = server(vec![refusal("overloaded"), refusal("overloaded"), answer("200 OK", "{\"a\":1}\n")]);
        assert_eq!(Client::new(&url, "x").call::<Value>("GET", "/").unwrap()["a"], 1);
        assert_eq!(thread.join().unwrap(), 3);
    }

    #[test]
    fn a_missing_model_is_not_retried() {
        let (url, thread) = server(vec![refusal("model_unavailable")]);
        let error = Client::new(&url, "x").call::<Value>("GET", "/").unwrap_err();
        assert_eq!((error.code(), thread.join().unwrap()), (Some("model_unavailable"), 1));
        assert_eq!(error.to_string(), "why (503 model_unavailable) [request r]");
    }

    #[test]
    fn a_refusal_that_is_no_problem_has_its_status() {
        let (url, _) = server(vec![answer("502 Bad Gateway", "<html>")]);
        let Error::Refused(problem) = Client::new(&url, "x").call::<Value>("GET", "/").unwrap_err() else {
            panic!("the gateway refused it")
        };
        assert_eq!((problem.status, &*problem.code), (502, ""));
    }

    #[test]
    fn lines_are_read_one_by_one_and_a_broken_one_is_an_error() {
        let (url, _) = server(vec![answer("200 OK", "{\"n\":1}\n{\"n\":2}\n\n")]);
        let page = Client::new(&url, "x").page("/v1/audit").unwrap();
        assert_eq!(page.lines.iter().map(|l| l["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
        let (url, _) = server(vec![answer("200 OK", "{\"n\":")]);
        assert!(matches!(Client::new(&url, "x").page("/v1/audit"), Err(Error::Broken { .. })));
    }
}
