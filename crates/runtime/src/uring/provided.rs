//! The ring of buffers provided to the kernel for receives (IORING_REGISTER_PBUF_RING, since
//! 5.19). It holds only a few at a time, so that a worker keeps receiving into the same memory;
//! the rest of the pool stays spare.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::buffers::{BUFFER_BYTES, Buffers};

use super::refused::{PROVIDED, Refused};
use super::ring::Ring;

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Places in the ring; a power of two. Of buffers that carry first messages, one page each is
/// touched; half as many places cost the same.
const ENTRIES: u16 = 64;

const BYTES: usize = ENTRIES as usize * size_of::<BufRingEntry>();

/// The shared ring and how much of it the kernel has.
pub(super) struct Provided {
    base: NonNull<BufRingEntry>,
    tail: u16,
    /// Buffers with the kernel.
    len: u16,
}

impl Provided {
    /// Maps a ring and registers it; it is empty.
    pub(super) fn register(ring: &Ring) -> Result<Self, Refused> {
        let bytes = std::num::NonZeroUsize::new(BYTES).expect("not empty by its constants");
        // SAFETY: an anonymous private mapping at an address of the kernel's choice aliases nothing.
        let base = unsafe {
            mmap_anonymous(
                None,
                bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE,
            )
        }
        .map_err(|errno| Refused::new("memory for provided buffers", errno.into()))?;
        let provided = Self {
            base: base.cast(),
            tail: 0,
            len: 0,
        };
        // SAFETY: the mapping is page-aligned, zeroed, of ENTRIES entries, and outlives the ring:
        // the driver drops the ring first.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                provided.base.as_ptr() as u64,
                ENTRIES,
                GROUP,
                0,
            )
        }
        .map_err(|error| Refused::new(PROVIDED, error))?;
        Ok(provided)
    }

    /// Buffers with the kernel.
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Notes that a completion took a buffer out.
    pub(super) fn taken(&mut self) {
        self.len -= 1;
    }

    /// Fills the ring up from the pool. Tells how many the kernel has.
    pub(super) fn stock(&mut self, buffers: &mut Buffers) -> usize {
        let before = self.tail;
        while self.len < ENTRIES {
            let Some(id) = buffers.take_for_driver() else {
                break;
            };
            let index = usize::from(self.tail % ENTRIES);
            // SAFETY: the index is below ENTRIES, so the entry lies in the mapping. The kernel does
            // not read it before the tail below passes it, and no reference to it is kept.
            let entry = unsafe { &mut *self.base.add(index).as_ptr() };
            entry.set_addr(buffers.address(id).as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id.0);
            self.tail = self.tail.wrapping_add(1);
            self.len += 1;
        }
        if self.tail != before {
            // SAFETY: `tail` is given the first entry of a live, initialised ring, and the field it
            // points to is a 16-bit word that the kernel only reads.
            let tail = unsafe {
                let tail = BufRingEntry::tail(self.base.as_ptr());
                AtomicU16::from_ptr(tail.cast_mut())
            };
            // Release: the entries are written before the kernel can see the new tail.
            tail.store(self.tail, Ordering::Release);
        }
        self.len()
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: mapped by `register` with this length; the ring that used it is closed.
        let _ = unsafe { munmap(self.base.cast::<libc::c_void>(), BYTES) };
    }
}
