//! Names of other nodes, looked up on threads of their own: the runtime's threads for what blocks are the disk's, and a resolver
//! that has lost its line keeps a thread for half a minute.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    thread,
};

use tokio::sync::{Semaphore, oneshot};

/// Lookups at a time. Others wait, no longer than their attempt to connect; numbers wait for nobody.
const LOOKUPS: usize = 2;

static PLACES: Semaphore = Semaphore::const_new(LOOKUPS);

/// Where this `HOST:PORT` is.
pub async fn resolve(address: String) -> io::Result<Vec<SocketAddr>> {
    resolve_by(address, |address| Ok(address.to_socket_addrs()?.collect())).await
}

async fn resolve_by(
    address: String,
    look_up: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    if let Ok(socket) = address.parse() {
        return Ok(vec![socket]);
    }
    let place = PLACES.acquire().await.expect("nobody closes it");
    let (found, wait) = oneshot::channel();
    thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        // Until the lookup ends, also if nobody waits for it any more.
        let _place = place;
        drop(found.send(look_up(&address)));
    })?;
    wait.await.unwrap_or_else(|_| Err(io::Error::other("the lookup has panicked")))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::{runtime, time::timeout};

    use super::*;

    #[test]
    fn names_that_take_long_hold_two_threads_and_keep_no_number_waiting() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let brief = Duration::from_millis(100);
            let (begin, begun) = mpsc::channel();
            let (end, ended) = mpsc::channel::<()>();
            let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
            let slow = || {
                let (begin, ended) = (begin.clone(), ended.clone());
                resolve_by("name.invalid:1".to_owned(), move |_| {
                    begin.send(()).unwrap();
                    ended.lock().unwrap().recv().unwrap();
                    Ok(vec![])
                })
            };
            // Whoever gives up leaves a lookup behind, and that its place.
            for _ in 0..5 {
                assert!(timeout(brief, slow()).await.is_err());
            }
            assert_eq!(begun.try_iter().count(), LOOKUPS);
            let number = resolve("[2001:db8::1]:3901".to_owned());
            assert_eq!(number.await.unwrap(), ["[2001:db8::1]:3901".parse().unwrap()]);
            (0..LOOKUPS).for_each(|_| end.send(()).unwrap());
            end.send(()).unwrap();
            assert!(timeout(Duration::from_secs(10), slow()).await.unwrap().is_ok());
            let panics = resolve_by("name.invalid:1".to_owned(), |_| panic!("planted"));
            assert!(panics.await.is_err());
        });
    }
}
