//! A customer's text does not slip into a log or a prompt.

fn log(text: &kernel::Untrusted) -> String {
    format!("{text}")
}

fn main() {}
