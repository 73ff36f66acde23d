//! What the standard library does elsewhere: memory, and the end after a panic.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::{Cell, UnsafeCell};
use core::panic::PanicInfo;
use core::ptr::{null_mut, with_exposed_provenance_mut};

use dlmalloc::{Allocator, Dlmalloc};

#[global_allocator]
static HEAP: Heap =
    Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Memory { is_begun: Cell::new(false) })));

/// The heap of a component, which has one thread.
struct Heap(UnsafeCell<Dlmalloc<Memory>>);

// SAFETY: there is one thread.
#[expect(unsafe_code, reason = "a static must be Sync")]
unsafe impl Sync for Heap {}

// SAFETY: the allocator behind it keeps the contract; nothing else refers to it, and no call of it calls it again.
#[expect(unsafe_code, reason = "allocating is unsafe")]
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this function, which is that of the one behind it.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this function, which is that of the one behind it.
        unsafe { (*self.0.get()).free(pointer, layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this function, which is that of the one behind it.
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this function, which is that of the one behind it.
        unsafe { (*self.0.get()).realloc(pointer, layout.size(), layout.align(), size) }
    }
}

/// Where the heap gets its memory from: first from what the linker left over of the initial one. Growing costs the host a call
/// to its system, and another one when the instance ends.
struct Memory {
    is_begun: Cell<bool>,
}

impl Memory {
    /// What is left of the initial memory, if that is enough. Asked before the memory grows.
    fn rest(&self, size: usize) -> Option<(usize, usize)> {
        if self.is_begun.replace(true) {
            return None;
        }
        let base = (&raw const __heap_base).addr();
        let rest = (memory_size::<0>() * PAGE).checked_sub(base)?;
        (rest >= size).then_some((base, rest))
    }

    fn grow(size: usize) -> Option<(usize, usize)> {
        let pages = size.div_ceil(PAGE);
        let before = memory_grow::<0>(pages);
        (before != usize::MAX).then_some((before * PAGE, pages * PAGE))
    }
}

const PAGE: usize = 64 * 1024;

#[expect(unsafe_code, reason = "foreign blocks are unsafe; of this one only the address is used")]
unsafe extern "C" {
    /// Where the program's own memory ends, as the linker says.
    static __heap_base: u8;
}

// SAFETY: what it gives is given once, and is at the end of the program's memory or behind it.
#[expect(unsafe_code, reason = "the trait is unsafe")]
unsafe impl Allocator for Memory {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let given = self.rest(size).or_else(|| Self::grow(size));
        given.map_or((null_mut(), 0, 0), |(base, size)| (with_exposed_provenance_mut(base), size, 0))
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

// `memcmp` and its kin, which the compiler calls and the standard library would link.
#[link(name = "c")]
#[expect(unsafe_code, reason = "foreign blocks are unsafe; this one declares nothing")]
unsafe extern "C" {}

/// Ends the instance. No message: whatever was wrong might be in it.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Gives the host memory for what it passes in (the canonical ABI's `realloc`).
///
/// # Safety
///
/// `old` is null, or was given by this function for `old_size` bytes with the same `align`, a power of two.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the canonical ABI fixes the name and deals in raw pointers")]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    if new_size == 0 {
        return core::ptr::without_provenance_mut(align);
    }
    let Ok(layout) = Layout::from_size_align(old_size.max(1), align) else {
        core::arch::wasm32::unreachable()
    };
    let new = if old_size == 0 {
        let Ok(layout) = Layout::from_size_align(new_size, align) else { core::arch::wasm32::unreachable() };
        // SAFETY: the size isn't 0.
        unsafe { alloc::alloc::alloc(layout) }
    } else {
        // SAFETY: `old` was allocated with this layout, as the caller promises, and the new size isn't 0.
        unsafe { alloc::alloc::realloc(old, layout, new_size) }
    };
    if new.is_null() { core::arch::wasm32::unreachable() } else { new }
}
