//! A key is not printed.

fn log(key: &vault::SecretKey) -> String {
    format!("{key:?}")
}

fn main() {}
