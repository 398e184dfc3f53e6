//! The network between nodes: a proxy in front of each, which delays what passes and cuts whom it is told to.
//!
//! A proxy knows whose connection it has taken by the operating system's tables: the socket's inode, and which process has
//! that open.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Bytes in pieces of up to so many.
const PIECE: usize = 64 << 10;

/// Pieces that wait for their time in one direction of one connection: 16 MiB. Beyond, the sender is made to wait, as a full
/// line would make it.
const PIECES: usize = 256;

/// What passes from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Everything, after this delay.
    After(Duration),
    /// Nothing. What is on its way waits, and nobody is told.
    Silent,
}

/// The network. All passages between all nodes.
#[derive(Clone, Debug)]
pub struct Net(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// From whom, to whom.
    passages: Vec<Vec<Passage>>,
    /// The process of each node, while it runs.
    processes: Vec<Option<u32>>,
}

impl Net {
    /// The network of so many nodes, with no delay.
    pub fn new(nodes: usize) -> Self {
        let passages = vec![vec![Passage::After(Duration::ZERO); nodes]; nodes];
        let state = State { passages, processes: vec![None; nodes] };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which process a node is.
    pub fn set_process(&self, node: usize, process: Option<u32>) {
        self.lock().processes[node] = process;
    }

    /// Whether a node runs, as far as it was said.
    pub fn is_running(&self, node: usize) -> bool {
        self.lock().processes[node].is_some()
    }

    /// Sets the passages between two nodes, both ways.
    pub fn set(&self, a: usize, b: usize, passage: Passage) {
        let mut state = self.lock();
        state.passages[a][b] = passage;
        state.passages[b][a] = passage;
        self.0.changed.notify_all();
    }

    /// Sets the passages between all nodes.
    pub fn set_all(&self, passage: Passage) {
        let nodes = self.lock().processes.len();
        for a in 0..nodes {
            (0..a).for_each(|b| self.set(a, b, passage));
        }
    }

    /// Sets the passages between one node and all others.
    pub fn set_around(&self, node: usize, passage: Passage) {
        let nodes = self.lock().processes.len();
        (0..nodes).filter(|other| *other != node).for_each(|other| self.set(node, other, passage));
    }

    /// Waits until something may pass; says how long it takes.
    fn passage(&self, from: usize, to: usize) -> Duration {
        let mut state = self.lock();
        loop {
            match state.passages[from][to] {
                Passage::After(delay) => return delay,
                Passage::Silent => {
                    let changed = self.0.changed.wait(state);
                    state = changed.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Opens a proxy in front of `node`, which listens at `target` or will; where others reach it.
    pub fn proxy(&self, node: usize, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let net = self.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, net) = (client.expect("a connection"), net.clone());
                thread::spawn(move || net.connection(&client, node, target));
            }
        });
        address
    }

    /// Something at `to` that answers `from`, which is this process, at once: to measure how long a round trip between nodes really takes.
    pub fn echo(&self, from: usize, to: usize) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let target = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            let mut byte = [0];
            // Until the other end is gone.
            while stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).is_ok() {}
        });
        self.set_process(from, Some(std::process::id()));
        let stream = TcpStream::connect(self.proxy(to, target)).expect("it listens");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut echo = Echo(stream);
        // The first has the connection's way in it.
        echo.round_trip();
        echo
    }

    fn connection(&self, client: &TcpStream, to: usize, target: SocketAddr) {
        // A node that is gone already needs no connection.
        let Some(from) = self.owner(client) else { return };
        // The way of the first packet, and the way back, as a handshake of TCP would take them.
        thread::sleep(self.passage(from, to) + self.passage(to, from));
        let Ok(server) = TcpStream::connect(target) else { return };
        for stream in [client, &server] {
            stream.set_nodelay(true).expect("TCP_NODELAY");
        }
        let both = || {
            let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
            (clone(client), clone(&server))
        };
        let (there, back) = (both(), both());
        let net = self.clone();
        let there = thread::spawn(move || net.pump(there.0, there.1, from, to));
        self.pump(back.1, back.0, to, from);
        there.join().expect("a pump does not panic");
    }

    /// Carries bytes one way until either end closes.
    fn pump(&self, mut source: TcpStream, mut sink: TcpStream, from: usize, to: usize) {
        let (pieces, due) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES);
        let (net, other) = (self.clone(), source.try_clone().expect("a descriptor"));
        let writer = thread::spawn(move || {
            for (read, piece) in due {
                let at = read + net.passage(from, to);
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if sink.write_all(&piece).is_err() {
                    break;
                }
            }
            // Either end may be gone already.
            let _ = sink.shutdown(Shutdown::Both);
            let _ = other.shutdown(Shutdown::Both);
        });
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            if pieces.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                break;
            }
        }
        drop(pieces);
        writer.join().expect("a writer does not panic");
    }

    /// The node that this connection comes from.
    fn owner(&self, client: &TcpStream) -> Option<usize> {
        let inode = inode(client.peer_addr().ok()?)?;
        let processes = self.lock().processes.clone();
        let link = format!("socket:[{inode}]");
        processes.iter().position(|process| {
            let Some(process) = process else { return false };
            let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
            let mut targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
            targets.any(|target| target.as_os_str() == link.as_str())
        })
    }
}

/// See [`Net::echo`].
#[derive(Debug)]
pub struct Echo(TcpStream);

impl Echo {
    /// How long a byte takes there and back.
    pub fn round_trip(&mut self) -> Duration {
        let began = Instant::now();
        self.0.write_all(b"x").expect("it listens");
        self.0.read_exact(&mut [0]).expect("an echo");
        began.elapsed()
    }
}

/// The inode of the socket that is bound to this loopback address.
fn inode(address: SocketAddr) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has such a table");
    let local = format!("0100007F:{:04X}", address.port());
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (*fields.get(1)? == local).then(|| fields.get(9)?.parse().ok())?.filter(|inode| *inode != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_delayed_and_silence_holds_it_back() {
        let net = Net::new(2);
        let mut echo = net.echo(0, 1);
        net.set(0, 1, Passage::After(Duration::from_millis(50)));
        let took = echo.round_trip();
        assert!(took >= Duration::from_millis(100), "{took:?}");
        net.set(0, 1, Passage::Silent);
        let healer = net.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            healer.set(0, 1, Passage::After(Duration::ZERO));
        });
        let took = echo.round_trip();
        assert!(took >= Duration::from_millis(300), "{took:?}");
    }
}
