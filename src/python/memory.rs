//! The allocator of the Python module, and a hint that it needs.
//!
//! One thread of a call frees what the other allocates, which is where glibc's allocator costs most: it locks.
//! docs/decisions.md has the measurement. Tools that watch the heap need the system's allocator: `--cfg system_allocator`.

#[cfg(not(system_allocator))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Notes that this thread has allocated a block of `size` bytes for another thread to free. A large block makes the allocator
/// collect the earlier ones that are free by now, so that they are used again: by itself mimalloc looks for them after a
/// hundred blocks only, which may be a gigabyte, and the memory is then new to every cache and page table.
pub(super) fn allocated(size: usize) {
    #[cfg(not(system_allocator))]
    {
        unsafe extern "C" {
            fn mi_collect(force: bool);
        }
        /// Size from which blocks have pages of their own.
        const LARGE: usize = 128 * 1024;

        if size >= LARGE {
            // SAFETY: a function of the allocator's, which is linked in; any thread may call it at any time.
            unsafe { mi_collect(false) };
        }
    }
    #[cfg(system_allocator)]
    let _ = size;
}
