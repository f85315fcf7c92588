//! A room is made by the door alone.

fn turn(room: store::Room<access::Ingest>) -> store::Room<access::Search> {
    store::Room { namespace: room.namespace, action: std::marker::PhantomData }
}

fn main() {}
