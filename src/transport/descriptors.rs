//! How many connections the process has file descriptors for.
//!
//! At `ulimit -n 1024`, 4,000 calls at once gave 297 "Too many open files" and 4,725 retries, and the rest of the program
//! could open nothing meanwhile. So connections take what is left after everything else and a margin, and whoever finds
//! nothing left waits in line.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// What is open is counted again after so many new connections: the rest of the program opens things too.
const SLICE: usize = 64;

/// The descriptors of the process, as the thread that connects sees them. The Python module has one such thread; where
/// there are several, each takes the others' connections for something else's.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// Connections that are open or about to be.
    taken: AtomicUsize,
    /// Those of them that are open.
    open: AtomicUsize,
    /// So many may be, until what is open is counted again.
    allowed: AtomicUsize,
    waiting: AtomicUsize,
    changed: Notify,
    /// Told to whoever keeps idle connections, when somebody waits.
    wanted: Notify,
}

thread_local! {
    static DESCRIPTORS: Arc<Descriptors> = Arc::default();
}

/// One connection's descriptor; given back when dropped.
#[derive(Debug)]
pub(super) struct Descriptor {
    of: Arc<Descriptors>,
    is_open: bool,
}

/// Waits for a descriptor, for as long as it lives.
pub(super) struct InNeed<'a>(&'a Descriptors);

impl Descriptors {
    pub fn of_this_thread() -> Arc<Self> {
        DESCRIPTORS.with(Arc::clone)
    }

    /// A descriptor for a connection, if there is one left.
    pub fn take(self: &Arc<Self>) -> Option<Descriptor> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken >= self.allowed.load(Ordering::Relaxed) {
            // The rest has no descriptor yet, and will.
            let coming = taken.saturating_sub(self.open.load(Ordering::Relaxed));
            let room = system::room(coming).min(SLICE);
            self.allowed.store(taken.saturating_add(room), Ordering::Relaxed);
            if room == 0 {
                return None;
            }
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(Descriptor { of: self.clone(), is_open: false })
    }

    /// Says that the system has refused one: nothing is left until what is open has been counted again.
    pub fn refuse(&self) {
        self.allowed.store(0, Ordering::Relaxed);
    }

    /// Somebody waits for one.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Begins to wait for one.
    pub fn need(&self) -> InNeed<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        InNeed(self)
    }

    /// Until one was given back.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Until somebody waits for one.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Has whoever keeps idle connections look at them now.
    pub fn look(&self) {
        self.wanted.notify_waiters();
    }

    /// What a call that waited in vain says.
    pub fn describe(&self) -> String {
        let taken = self.taken.load(Ordering::Relaxed);
        format!("the process has no file descriptor left for it (ulimit -n; {taken} connections are open)")
    }
}

impl Descriptor {
    /// Its connection has been made.
    pub fn open(&mut self) {
        self.of.open.fetch_add(usize::from(!self.is_open), Ordering::Relaxed);
        self.is_open = true;
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.of.open.fetch_sub(usize::from(self.is_open), Ordering::Relaxed);
        self.of.taken.fetch_sub(1, Ordering::Relaxed);
        self.of.changed.notify_one();
    }
}

impl InNeed<'_> {
    /// Asks whoever keeps idle connections to close some.
    pub fn ask(&self) {
        self.0.look();
    }
}

impl Drop for InNeed<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        // The next one need not wait for a change that this one has seen.
        self.0.changed.notify_one();
    }
}

/// Whether an error says that no descriptor was left.
pub(super) fn is_exhaustion(error: &std::io::Error) -> bool {
    system::is_exhaustion(error)
}

/// Whether none is left now: what fails for that reason does not always say so, such as a look-up.
pub(super) fn is_exhausted() -> bool {
    system::is_exhausted()
}

#[cfg(unix)]
mod system {
    use rustix::io::Errno;
    use rustix::process::{Resource, getrlimit};

    /// Of what the process may open, this part is left to others, and within these bounds.
    const MARGIN: usize = 8;
    const LEAST_MARGIN: usize = 16;
    const MOST_MARGIN: usize = 256;

    /// How many more connections may be opened beside those that are `coming`.
    pub fn room(coming: usize) -> usize {
        let Some(limit) = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()) else {
            return usize::MAX;
        };
        let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        let open = match std::fs::read_dir(folder) {
            Ok(entries) => entries.count(),
            Err(error) if is_exhaustion(&error) => limit,
            // Where that cannot be counted, the margin has to do.
            Err(_) => 0,
        };
        let margin = (limit / MARGIN).clamp(LEAST_MARGIN.min(limit / 2), MOST_MARGIN);
        limit.saturating_sub(margin).saturating_sub(open).saturating_sub(coming)
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
        let held: Vec<_> = (0..SLICE).map_while(|_| descriptors.take()).collect();
        assert!(!held.is_empty());
        assert_eq!(descriptors.taken.load(Ordering::Relaxed), held.len());
        drop(held);
        assert_eq!(descriptors.taken.load(Ordering::Relaxed), 0);
        descriptors.refuse();
        assert!(descriptors.take().is_some(), "what is open is counted again");
    }

    #[tokio::test]
    async fn who_keeps_connections_is_asked_for_them() {
        let descriptors = Descriptors::default();
        let wanted = descriptors.wanted();
        let asked = async {
            tokio::task::yield_now().await;
            let need = descriptors.need();
            need.ask();
            assert!(descriptors.is_short());
        };
        tokio::join!(wanted, asked);
        assert!(!descriptors.is_short());
    }
}
