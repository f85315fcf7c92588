//! Errors of calls, each with a remedy.

use api::error::Problem;

/// A refusal by the server: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiProblem {
    /// HTTP status.
    pub status: u16,
    /// `error.code`, from the contract's closed list.
    pub code: String,
    /// Message for people.
    pub message: String,
    /// The invalid field.
    pub param: Option<String>,
    /// Id of the request, which the server's audit shows.
    pub request_id: Option<String>,
}

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused the request.
    #[error("{}", .0.text())]
    Refused(ApiProblem),
    /// No connection could be established.
    #[error("no server answers at {url}: start one with `ringfence serve`, or name it with --url or --admin-url")]
    Unreachable {
        /// Address of the server.
        url: String,
    },
    /// The connection broke, or the reply does not follow the contract.
    #[error("the request to {url} failed: {why}")]
    Broken {
        /// Address of the server.
        url: String,
        /// Description of the failure.
        why: String,
    },
}

impl ApiProblem {
    /// Parses a problem body. A body of another kind still gives its status.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(Problem { detail, request_id, error, .. }) => {
                let request_id = Some(request_id);
                Self { status, code: error.code, message: detail, param: error.param, request_id }
            }
            Err(_) => Self { status, code: String::new(), message: String::new(), param: None, request_id: None },
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
    /// Error code of the server, if the server refused the request.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}
