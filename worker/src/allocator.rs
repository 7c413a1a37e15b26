//! Allocator: one heap for all threads, so that what one of them frees another takes.
//!
//! Order: before a second thread starts, which would get a heap of its own.
//! Neighbours: none; main calls it.
#![allow(unsafe_code)] // mallopt(3) has no safe wrapper.

/// glibc gives each of many threads a heap of its own (up to 8 a core) and keeps what is freed there for that heap
/// alone. Rows are decoded on one thread, encoded on another and freed on a third, so that every heap grows to the
/// size of all that is open: with 64 open files and a limit of 160 MiB the process grew to 500 to 700 MiB, with two
/// heaps and one it stayed near the limit, with one lowest. Small pieces come from each thread's own cache before a
/// heap's lock is asked for; the processor time a record was the same.
///
/// False where the allocator is not glibc's, or does not know the setting.
pub fn share_one_heap() -> bool {
    set_one_heap()
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set_one_heap() -> bool {
    // SAFETY: mallopt takes two integers and touches no memory of ours.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) == 1 }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set_one_heap() -> bool {
    false
}
