//! A queue to a thread, whatever the runtime's channels are.

/// The end of a channel that a thread takes from.
pub trait Queue<T> {
    /// The next item; blocks until there is one. `None` once nobody can send any more.
    fn wait(&mut self) -> Option<T>;

    /// The next item, if there is one already.
    fn take(&mut self) -> Option<T>;
}
