//! The worker's receive buffers: memory that grows in slabs when many connections wait for slow
//! peers and never moves. Every buffer is in exactly one place: spare, with the driver, or leased;
//! a debug build follows each and counts them every turn.

use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// Bytes of one buffer. A reply of 16 KiB would fill a buffer of that size, so that an empty receive
/// follows: 0.94 of the CPU time. 64 KiB is no better, and each stalled direction holds one or two.
pub(crate) const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers mapped at a time.
const SLAB_BUFFERS: usize = 64;

/// Spare buffers whose memory stays resident when the pool is trimmed.
const SPARE_RESIDENT: usize = 128;

/// Buffers whose memory one trim gives back: 32 MiB, a few milliseconds of work.
const TRIM_MAX: usize = 1024;

/// The number of a buffer; fits the kernel's 16-bit buffer ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(pub(crate) u16);

/// The pool of one worker.
pub(crate) struct Buffers {
    slabs: Vec<NonNull<u8>>,
    /// Spare buffers whose memory is resident; the last one back is the first one out, since it is
    /// warm.
    spare: Vec<BufferId>,
    /// Spare buffers whose memory was given back to the system.
    cold: Vec<BufferId>,
    buffers_max: usize,
    #[cfg(debug_assertions)]
    places: Vec<Place>,
}

/// Where a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Spare,
    Driver,
    Leased,
}

impl Buffers {
    /// A pool of at most `buffers_max` buffers; none is mapped yet.
    pub(crate) fn new(buffers_max: usize) -> Self {
        Self {
            slabs: Vec::new(),
            spare: Vec::new(),
            cold: Vec::new(),
            buffers_max: buffers_max.clamp(SLAB_BUFFERS, usize::from(u16::MAX) + 1),
            #[cfg(debug_assertions)]
            places: Vec::new(),
        }
    }

    /// Takes a spare buffer for the driver to receive into, mapping more where the limit allows.
    pub(crate) fn take_for_driver(&mut self) -> Option<BufferId> {
        self.has_spare();
        let id = self.spare.pop()?;
        self.moved(id, Place::Spare, Place::Driver);
        Some(id)
    }

    /// Takes a buffer back from the driver that it has not filled.
    pub(crate) fn put_back(&mut self, id: BufferId) {
        self.moved(id, Place::Driver, Place::Spare);
        self.spare.push(id);
    }

    /// Whether a buffer can be taken, mapping more where the limit allows.
    pub(crate) fn has_spare(&mut self) -> bool {
        if self.spare.is_empty() {
            self.spare.extend(self.cold.pop());
        }
        if self.spare.is_empty() {
            self.grow();
        }
        !self.spare.is_empty()
    }

    /// Notes that the driver filled a buffer and hands it to the connection's side.
    pub(crate) fn lease(&mut self, id: BufferId) {
        self.moved(id, Place::Driver, Place::Leased);
    }

    /// Takes a leased buffer back.
    pub(crate) fn give_back(&mut self, id: BufferId) {
        self.moved(id, Place::Leased, Place::Spare);
        self.spare.push(id);
    }

    /// Gives memory back to the system that a burst has left behind. Called now and then, never
    /// while bytes move.
    pub(crate) fn trim(&mut self) {
        let surplus = self
            .spare
            .len()
            .saturating_sub(SPARE_RESIDENT)
            .min(TRIM_MAX);
        for id in self.spare.drain(..surplus).collect::<Vec<_>>() {
            // SAFETY: the range is one whole buffer of a live mapping, and it is spare: neither
            // the kernel nor a lease refers to its contents.
            let _ = unsafe {
                madvise(
                    self.address(id).cast(),
                    BUFFER_BYTES,
                    MmapAdvise::MADV_DONTNEED,
                )
            };
            self.cold.push(id);
        }
    }

    /// The first byte of a buffer. It stays there until the pool is dropped.
    pub(crate) fn address(&self, id: BufferId) -> NonNull<u8> {
        let index = usize::from(id.0);
        // SAFETY: ids are only made by `grow`, so the slab exists and holds SLAB_BUFFERS buffers of
        // BUFFER_BYTES; the offset stays inside its one mapping.
        unsafe { self.slabs[index / SLAB_BUFFERS].add(index % SLAB_BUFFERS * BUFFER_BYTES) }
    }

    /// The memory of a buffer that is with the driver, for it to fill.
    pub(crate) fn space(&mut self, id: BufferId) -> &mut [u8] {
        self.moved(id, Place::Driver, Place::Driver);
        // SAFETY: the buffer was taken for the driver: it is BUFFER_BYTES of mapped memory that
        // nobody else refers to, and the driver has given it to no operation of the kernel.
        unsafe { std::slice::from_raw_parts_mut(self.address(id).as_ptr(), BUFFER_BYTES) }
    }

    /// A part of a leased buffer that is being sent.
    pub(crate) fn bytes(&self, id: BufferId, start: usize, len: usize) -> &[u8] {
        assert!(start + len <= BUFFER_BYTES, "a part lies in its buffer");
        // SAFETY: the range lies in one buffer of a live mapping, and nobody writes into a buffer
        // that is leased.
        unsafe { std::slice::from_raw_parts(self.address(id).add(start).as_ptr(), len) }
    }

    /// How many buffers are leased. Debug builds only, as [`Buffers::audit`].
    pub(crate) fn leased(&self) -> usize {
        #[cfg(debug_assertions)]
        let leased = self.places.iter().filter(|place| **place == Place::Leased);
        #[cfg(not(debug_assertions))]
        let leased = std::iter::empty::<Place>();
        leased.count()
    }

    /// Checks that every buffer is where it was last put. Debug builds only: the release build
    /// keeps no record to check.
    pub(crate) fn audit(&self, with_driver: usize) {
        #[cfg(debug_assertions)]
        {
            let count = |place| self.places.iter().filter(|other| **other == place).count();
            assert_eq!(
                count(Place::Spare),
                self.spare.len() + self.cold.len(),
                "spare buffers"
            );
            assert_eq!(count(Place::Driver), with_driver, "buffers with the driver");
            let known = count(Place::Spare) + count(Place::Driver) + count(Place::Leased);
            assert_eq!(known, self.slabs.len() * SLAB_BUFFERS, "all buffers");
        }
        let _ = with_driver;
    }

    /// Gives up the memory without unmapping it: something may still write there.
    pub(crate) fn leak(&mut self) {
        self.slabs.clear();
        self.spare.clear();
        self.cold.clear();
    }

    fn grow(&mut self) {
        let have = self.slabs.len() * SLAB_BUFFERS;
        if have + SLAB_BUFFERS > self.buffers_max {
            return;
        }
        let bytes = std::num::NonZeroUsize::new(SLAB_BUFFERS * BUFFER_BYTES)
            .expect("a slab is not empty by its constants");
        // SAFETY: an anonymous private mapping at an address of the kernel's choice aliases nothing.
        let slab = unsafe {
            mmap_anonymous(
                None,
                bytes,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE,
            )
        };
        // Out of memory is like out of buffers: the receive waits for one to come back.
        let Ok(slab) = slab else { return };
        self.slabs.push(slab.cast());
        // Lowest on top, so that a quiet worker keeps using the same few.
        for index in (have..have + SLAB_BUFFERS).rev() {
            self.spare.push(BufferId(index as u16));
            #[cfg(debug_assertions)]
            self.places.push(Place::Spare);
        }
    }

    /// Follows a buffer from place to place in a debug build.
    fn moved(&mut self, id: BufferId, from: Place, to: Place) {
        #[cfg(debug_assertions)]
        {
            let here = &mut self.places[usize::from(id.0)];
            assert_eq!(*here, from, "{id:?} on its way to {to:?}");
            *here = to;
        }
        let _ = (id, from, to);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        for slab in &self.slabs {
            // SAFETY: the mapping was made by `grow` with this length and is dropped once; the
            // runtime drops the pool after its driver, when no operation is in flight.
            let _ = unsafe { munmap(slab.cast(), SLAB_BUFFERS * BUFFER_BYTES) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_grows_up_to_its_limit_and_no_further() {
        let mut buffers = Buffers::new(2 * SLAB_BUFFERS);
        let taken: Vec<_> = std::iter::from_fn(|| buffers.take_for_driver()).collect();
        assert_eq!(taken.len(), 2 * SLAB_BUFFERS);
        buffers.audit(taken.len());
        buffers.lease(taken[0]);
        buffers.give_back(taken[0]);
        assert_eq!(buffers.take_for_driver(), Some(taken[0]));
    }

    #[test]
    fn after_a_burst_the_same_few_buffers_are_used_and_the_rest_is_given_back() {
        let mut buffers = Buffers::new(2 * (SPARE_RESIDENT + TRIM_MAX));
        let burst: Vec<_> = (0..SPARE_RESIDENT + TRIM_MAX)
            .map(|_| buffers.take_for_driver().unwrap())
            .collect();
        for id in burst {
            buffers.lease(id);
            buffers.give_back(id);
        }
        let warm = buffers.take_for_driver().unwrap();
        for _ in 0..10 {
            buffers.lease(warm);
            buffers.give_back(warm);
            assert_eq!(buffers.take_for_driver(), Some(warm));
        }
        buffers.trim();
        assert_eq!(buffers.cold.len(), TRIM_MAX - 1);
        buffers.audit(1);
    }

    #[test]
    fn buffers_do_not_overlap() {
        let mut buffers = Buffers::new(2 * SLAB_BUFFERS);
        let ids: Vec<_> = std::iter::from_fn(|| buffers.take_for_driver()).collect();
        let mut addresses: Vec<usize> = ids
            .into_iter()
            .map(|id| buffers.address(id).as_ptr() as usize)
            .collect();
        addresses.sort_unstable();
        assert!(
            addresses
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= BUFFER_BYTES)
        );
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "on its way to Spare")]
    fn a_buffer_cannot_come_back_twice() {
        let mut buffers = Buffers::new(SLAB_BUFFERS);
        let id = buffers.take_for_driver().unwrap();
        buffers.lease(id);
        buffers.give_back(id);
        buffers.give_back(id);
    }
}
