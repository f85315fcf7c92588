//! A home comes from a grant or a tenure by way of the directory, not from bytes or a path.

fn home(plain: Vec<u8>) -> vault::Home {
    vault::Home { mac_key: plain }
}

fn main() {}
