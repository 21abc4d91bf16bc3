//! File descriptors of the process, as a limit on the number of connections.
//!
//! At `ulimit -n 1024`, 4,000 calls at once gave 297 "Too many open files" errors and 4,725 retries, and the rest of
//! the program could open nothing meanwhile. So connections use only the descriptors that everything else and a margin
//! leave, and a call that finds none waits in a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Number of new connections after which the open descriptors are counted again, since the rest of the program opens
/// files too.
const SLICE: usize = 64;

/// The descriptors of the process as seen by one network thread. The Python module has one such thread; with several,
/// each treats the others' connections as the rest of the program.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// Connections that are open or being opened.
    taken: AtomicUsize,
    /// Connections that are open.
    open: AtomicUsize,
    /// Maximum for `taken` until the open descriptors are counted again.
    allowed: AtomicUsize,
    waiting: AtomicUsize,
    changed: Notify,
    /// Notifies the maintenance tasks of idle connections when a call waits.
    shortage: Notify,
}

thread_local! {
    static DESCRIPTORS: Arc<Descriptors> = Arc::default();
}

/// Descriptor of one connection; released when dropped.
#[derive(Debug)]
pub(super) struct Descriptor {
    descriptors: Arc<Descriptors>,
    is_open: bool,
}

/// Registration of a call that waits for a descriptor, until it is dropped.
pub(super) struct Waiter<'a>(&'a Descriptors);

impl Descriptors {
    /// Returns the descriptors as counted by the current thread.
    pub fn of_this_thread() -> Arc<Self> {
        DESCRIPTORS.with(Arc::clone)
    }

    /// Returns a descriptor if one is left.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Descriptor> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken >= self.allowed.load(Ordering::Relaxed) {
            // Connections being opened have no descriptor yet, and will waiter one.
            let opening = taken.saturating_sub(self.open.load(Ordering::Relaxed));
            let room = system::room(opening).min(SLICE);
            self.allowed.store(taken.saturating_add(room), Ordering::Relaxed);
            if room == 0 {
                return None;
            }
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Descriptor { descriptors: self.clone(), is_open: false })
    }

    /// Records that the system has refused a descriptor: none is available until the open ones are counted again.
    pub fn mark_exhausted(&self) {
        self.allowed.store(0, Ordering::Relaxed);
    }

    /// Returns true if calls are waiting for a descriptor.
    pub fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Registers a waiting call.
    pub fn register_waiter(&self) -> Waiter<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiter(self)
    }

    /// Waits until a descriptor is released.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until a call waits for a descriptor.
    pub async fn shortage(&self) {
        self.shortage.notified().await;
    }

    /// Makes the maintenance tasks check their idle connections now.
    pub fn request_cleanup(&self) {
        self.shortage.notify_waiters();
    }

    /// Describes the shortage for the error of a call that waited in vain.
    pub fn describe(&self) -> String {
        let taken = self.taken.load(Ordering::Relaxed);
        format!("the process has no file descriptor left for it (ulimit -n; {taken} connections are open)")
    }
}

impl Descriptor {
    /// Marks the connection as open, so that its descriptor exists.
    pub fn open(&mut self) {
        self.descriptors.open.fetch_add(usize::from(!self.is_open), Ordering::Relaxed);
        self.is_open = true;
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.descriptors.open.fetch_sub(usize::from(self.is_open), Ordering::Relaxed);
        self.descriptors.taken.fetch_sub(1, Ordering::Relaxed);
        self.descriptors.changed.notify_one();
    }
}

impl Waiter<'_> {
    /// Asks the maintenance tasks to close idle connections.
    pub fn request_cleanup(&self) {
        self.0.request_cleanup();
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        // The next waiter must not miss a release that this one was notified of.
        self.0.changed.notify_one();
    }
}

/// Returns true if an error means that no descriptor was left.
pub(super) fn is_exhaustion(error: &std::io::Error) -> bool {
    system::is_exhaustion(error)
}

/// Returns true if no descriptor is left now. Some failures with this cause do not report it, such as a name lookup.
pub(super) fn is_exhausted() -> bool {
    system::is_exhausted()
}

#[cfg(unix)]
mod system {
    use rustix::io::Errno;
    use rustix::process::{Resource, getrlimit};

    /// Divisor of the limit: this part of the descriptors is left to the rest of the program, within the bounds below.
    const MARGIN: usize = 8;
    const MIN_MARGIN: usize = 16;
    const MAX_MARGIN: usize = 256;

    /// Returns the number of connections that may be opened in addition to those being opened.
    pub fn room(opening: usize) -> usize {
        let Some(limit) = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()) else {
            return usize::MAX;
        };
        let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        let open = match std::fs::read_dir(directory) {
            Ok(entries) => entries.count(),
            Err(error) if is_exhaustion(&error) => limit,
            // Where open descriptors cannot be counted, the margin has to suffice.
            Err(_) => 0,
        };
        let margin = (limit / MARGIN).clamp(MIN_MARGIN.min(limit / 2), MAX_MARGIN);
        limit.saturating_sub(margin).saturating_sub(open).saturating_sub(opening)
    }

    pub fn is_exhaustion(error: &std::io::Error) -> bool {
        let number = error.raw_os_error();
        number == Some(Errno::MFILE.raw_os_error()) || number == Some(Errno::NFILE.raw_os_error())
    }

    pub fn is_exhausted() -> bool {
        std::fs::File::open("/dev/null").is_err_and(|error| is_exhaustion(&error))
    }
}

#[cfg(not(unix))]
mod system {
    pub fn room(_: usize) -> usize {
        usize::MAX
    }

    pub fn is_exhaustion(_: &std::io::Error) -> bool {
        false
    }

    pub fn is_exhausted() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let descriptors = Arc::new(Descriptors::default());
        let held: Vec<_> = (0..SLICE).map_while(|_| descriptors.try_acquire()).collect();
        assert!(!held.is_empty());
        assert_eq!(descriptors.taken.load(Ordering::Relaxed), held.len());
        drop(held);
        assert_eq!(descriptors.taken.load(Ordering::Relaxed), 0);
        descriptors.mark_exhausted();
        assert!(descriptors.try_acquire().is_some(), "what is open is counted again");
    }

    #[tokio::test]
    async fn who_keeps_connections_is_asked_for_them() {
        let descriptors = Descriptors::default();
        let wanted = descriptors.shortage();
        let asked = async {
            tokio::task::yield_now().await;
            let waiter = descriptors.register_waiter();
            waiter.request_cleanup();
            assert!(descriptors.has_waiters());
        };
        tokio::join!(wanted, asked);
        assert!(!descriptors.has_waiters());
    }
}
