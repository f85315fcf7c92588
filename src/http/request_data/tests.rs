//! Valid and malformed headers and query strings.

use super::*;

fn head(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().expect("a header value"));
    headers
}

#[test]
fn a_trace_id_is_read_only_from_a_well_formed_header() {
    let good = "4bf92f3577b34da6a3ce929d0e0e4736";
    let trace = |text: &str| trace_id(&head("traceparent", text));
    assert_eq!(trace(&format!("00-{good}-00f067aa0ba902b7-01")).as_deref(), Some(good));
    assert_eq!(trace(&format!("01-{good}-00f067aa0ba902b7-01-more")).as_deref(), Some(good));
    for odd in [
        "".to_owned(),
        good.to_owned(),
        format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
        format!("00-{good}-0000000000000000-01"),
        format!("ff-{good}-00f067aa0ba902b7-01"),
        format!("00-{}-00f067aa0ba902b7-01", good.to_uppercase()),
        format!("00-{good}-00f067aa0ba902b7-01-more"),
    ] {
        assert_eq!(trace(&odd), None, "{odd}");
    }
}

#[test]
fn a_query_string_holds_known_names_at_most_once() {
    let pairs =
        |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    assert_eq!(known(pairs(&[("limit", "3")]), &["limit", "after"]).expect("known")["limit"], "3");
    let error = known(pairs(&[("limti", "3")]), &["limit", "after"]).expect_err("unknown");
    assert_eq!((error.code, error.param.as_deref()), (Code::UnknownField, Some("limti")));
    assert!(error.message.contains("limit, after"));
    let error = known(pairs(&[("limit", "3"), ("limit", "4")]), &["limit"]).expect_err("twice");
    assert_eq!(error.code, Code::InvalidRequest);
}

#[test]
fn only_json_is_accepted() {
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"] {
        body::check_headers(&head("content-type", good)).expect(good);
    }
    body::check_headers(&HeaderMap::new()).expect("none");
    let error = body::check_headers(&head("content-type", "text/csv")).expect_err("csv");
    assert_eq!(error.param.as_deref(), Some("content-type"));
    let error = body::check_headers(&head("content-encoding", "gzip")).expect_err("gzip");
    assert_eq!(error.param.as_deref(), Some("content-encoding"));
}
