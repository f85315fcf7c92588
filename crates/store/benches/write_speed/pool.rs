//! Small thread pools, as the engine has them: for requests, for maintenance and for large merges.

use std::sync::{Arc, Mutex, mpsc};
use store::CpuPool;

type Work = Box<dyn FnOnce() + Send>;

pub(crate) struct Pools {
    requests: mpsc::Sender<Work>,
    maintenance: mpsc::Sender<Work>,
    merges: mpsc::Sender<Work>,
}

impl Pools {
    pub(crate) fn new(threads: usize) -> Self {
        let half = threads.div_ceil(2);
        Self { requests: pool(threads), maintenance: pool(half), merges: pool(half) }
    }
}

fn pool(threads: usize) -> mpsc::Sender<Work> {
    let (send, receive) = mpsc::channel::<Work>();
    let receive = Arc::new(Mutex::new(receive));
    for _ in 0..threads {
        let receive = receive.clone();
        std::thread::spawn(move || {
            loop {
                let next = receive.lock().expect("no thread panics here").recv();
                match next {
                    Ok(work) => work(),
                    Err(_) => return,
                }
            }
        });
    }
    send
}

impl CpuPool for Pools {
    fn run(&self, work: Work) {
        self.requests.send(work).expect("the pool lives");
    }

    fn run_maintenance(&self, work: Work) {
        self.maintenance.send(work).expect("the pool lives");
    }

    fn run_merge(&self, work: Work) {
        self.merges.send(work).expect("the pool lives");
    }
}
