//! Behind a room there is a namespace; it cannot be reached around the room's deeds.

fn around(room: store::Room<access::Read>) {
    let _ = room.namespace;
}

fn main() {}
