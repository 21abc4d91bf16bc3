//! Descriptors that a forked child must not keep.
//!
//! A lock on a file's byte belongs to the open file, which parent and child share after a fork: while the child had the
//! descriptor, the lock would outlive the parent. So the child closes it before it does anything else.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Maximum number of registered descriptors.
const PLACES: usize = 128;
const FREE: i32 = -1;
/// The place is taken, and its descriptor not yet written.
const TAKEN: i32 = -2;

struct Place {
    descriptor: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

/// Read by a handler in a child, where no lock may be waited for.
static REGISTERED: [Place; PLACES] =
    [const { Place { descriptor: AtomicI32::new(FREE), device: AtomicU64::new(0), inode: AtomicU64::new(0) } }; PLACES];
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// Returns the number of forks between this process and the first one of its ancestors that registered a descriptor.
#[inline]
pub fn fork_epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

/// Identity of an open file: a number of a device and the number of a file on it.
pub(super) fn identity(descriptor: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let status = rustix::fs::fstat(descriptor)?;
    Ok((status.st_dev, status.st_ino))
}

/// A descriptor that is closed in forked children.
#[derive(Debug)]
pub(super) struct Registration(usize);

impl Registration {
    /// Registers a descriptor. A fork of another thread between its opening and this line leaves the child with a copy.
    ///
    /// # Errors
    ///
    /// Too many are registered, or the descriptor is not open.
    pub(super) fn new(descriptor: &OwnedFd) -> io::Result<Self> {
        watch_forks();
        let (device, inode) = identity(as_fd(descriptor))?;
        let claim = |place: &Place| {
            place.descriptor.compare_exchange(FREE, TAKEN, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        let index =
            REGISTERED.iter().position(claim).ok_or_else(|| io::Error::other("too many shared files are open"))?;
        let place = &REGISTERED[index];
        place.device.store(device, Ordering::Relaxed);
        place.inode.store(inode, Ordering::Relaxed);
        place.descriptor.store(descriptor.as_raw_fd(), Ordering::Release);
        Ok(Self(index))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        REGISTERED[self.0].descriptor.store(FREE, Ordering::Release);
    }
}

fn as_fd(descriptor: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(descriptor)
}

fn watch_forks() {
    static WATCHED: Once = Once::new();
    extern "C" fn in_child() {
        EPOCH.fetch_add(1, Ordering::Relaxed);
        for place in &REGISTERED {
            let descriptor = place.descriptor.swap(FREE, Ordering::Acquire);
            if descriptor >= 0 {
                close_if_same(descriptor, place);
            }
        }
    }
    // SAFETY: the handler uses atomics, `fstat` and `close`, all of which are allowed after a fork; it lives for ever, since
    // neither the program nor an extension module of Python is unloaded.
    WATCHED.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}

/// Closes a registered descriptor, unless the program closed it and the number stands for another file by now.
fn close_if_same(descriptor: i32, place: &Place) {
    use std::os::fd::FromRawFd;
    // SAFETY: what this makes is closed only if the number stands for the file that was registered. Its owner in the
    // parent's memory does not close it in the child: `SharedFile` looks at the epoch first.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let registered = (place.device.load(Ordering::Relaxed), place.inode.load(Ordering::Relaxed));
    if identity(as_fd(&owned)).is_ok_and(|identity| identity == registered) {
        drop(owned);
    } else {
        let _ = owned.into_raw_fd();
    }
}
