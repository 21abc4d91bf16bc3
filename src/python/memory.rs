//! The allocator of the Python module, and what it has to be told.
//!
//! What one thread of a call allocates, the other frees, which is where glibc's allocator is at its dearest: it locks.
//! docs/decisions.md has the measurement. Tools that watch the heap want the system's: `--cfg system_allocator`.

#[cfg(not(system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// This thread has allocated a block of this size, for another thread to free. Of the large ones before it, those that are
/// free by now serve again: by itself mimalloc looks for them after a hundred blocks only, which may be a gigabyte, and the
/// memory is new to every cache and page table.
pub(super) fn allocated(size: usize) {
    #[cfg(not(system_allocator))]
    {
        unsafe extern "C" {
            fn mi_collect(force: bool);
        }
        /// From here on blocks have pages of their own.
        const LARGE: usize = 128 * 1024;

        if size >= LARGE {
            // SAFETY: a function of the allocator's, which is linked in; any thread may call it at any time.
            unsafe { mi_collect(false) };
        }
    }
    #[cfg(system_allocator)]
    let _ = size;
}
