//! What can go wrong between here and the server, said with a remedy.

use serde_json::Value;

/// A refusal by the server: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// `error.code`, from the contract's closed list.
    pub code: String,
    /// For people.
    pub message: String,
    /// The field that is wrong.
    pub param: Option<String>,
    /// Stands in the server's audit.
    pub request_id: Option<String>,
}

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("{}", .0.text())]
    Refused(Problem),
    /// No connection.
    #[error("no server answers at {url}: start one with `ringfence serve`, or name it with --url or --admin-url")]
    Unreachable {
        /// Where.
        url: String,
    },
    /// The connection broke, or what came back is not the contract's.
    #[error("the exchange with {url} broke: {why}")]
    Broken {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
}

impl Problem {
    /// Reads a problem body; a body of another kind still gives its status.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text = |v: &Value| v.as_str().map(str::to_owned);
        Self {
            status,
            code: text(&json["error"]["code"]).unwrap_or_default(),
            message: text(&json["detail"]).or_else(|| text(&json["error"]["message"])).unwrap_or_default(),
            param: text(&json["error"]["param"]),
            request_id: text(&json["request_id"]),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} ({} {})", self.message, self.status, self.code);
        if let Some(param) = &self.param
            && !self.message.contains(param.as_str())
        {
            text = format!("{param}: {text}");
        }
        if let Some(id) = &self.request_id {
            text.push_str(&format!(" [request {id}]"));
        }
        text
    }
}

impl Error {
    /// The server's code, if it was the server that refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}
