//! A keyspace comes from a grant or a background grant by way of the directory, not from bytes or a path.

fn keyspace(plain: Vec<u8>) -> vault::Keyspace {
    vault::Keyspace { mac_key: plain }
}

fn main() {}
