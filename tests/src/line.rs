//! Line: the network between a worker and Kafka, as a plain TCP relay that can be cut and stilled.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often a stilled line looks whether it may go on.
const STILL_TICK: Duration = Duration::from_millis(20);

/// A relay that runs until it is dropped.
pub struct Line {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: AtomicBool,
    still: AtomicBool,
    stopped: AtomicBool,
    /// Connections that were cut or refused.
    cuts: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    /// Passes everything from `address` on to `upstream`.
    pub fn between(address: &str, upstream: &str) -> Line {
        let listener = TcpListener::bind(address).expect("the line's port is free");
        let shared = Arc::new(Shared::default());
        let relay = Arc::clone(&shared);
        let upstream = upstream.to_owned();
        thread::spawn(move || {
            for client in listener.incoming() {
                if relay.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                if relay.cut.load(Ordering::SeqCst) {
                    relay.cuts.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                // A connection that cannot be relayed is closed, as a network would.
                if let Ok(server) = TcpStream::connect(&upstream) {
                    join(client, server, &relay);
                }
            }
        });
        Line { address: address.to_owned(), shared }
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        for stream in self.shared.open.lock().expect("no holder panics").drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
            self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Bytes wait; nobody is told.
    pub fn still(&self) {
        self.shared.still.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
        self.shared.still.store(false, Ordering::SeqCst);
    }

    /// Connections that were cut or refused.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.mend();
        // Wakes the listener so that it sees the flag.
        drop(TcpStream::connect(&self.address));
    }
}

fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    let (Ok(client_again), Ok(server_again)) = (client.try_clone(), server.try_clone()) else { return };
    let mut open = shared.open.lock().expect("no holder panics");
    open.extend([client.try_clone(), server.try_clone()].into_iter().flatten());
    drop(open);
    for (from, to) in [(client, server), (server_again, client_again)] {
        let shared = Arc::clone(shared);
        thread::spawn(move || pass_on(from, to, &shared));
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while shared.still.load(Ordering::SeqCst) {
            thread::sleep(STILL_TICK);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other direction ends with this one.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
