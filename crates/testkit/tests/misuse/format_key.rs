//! A key cannot be printed.

fn log(key: &vault::SecretKey) -> String {
    format!("{key:?}")
}

fn main() {}
