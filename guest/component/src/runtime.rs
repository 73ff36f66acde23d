//! What the standard library does elsewhere: memory, and the end after a panic.

use core::alloc::Layout;
use core::panic::PanicInfo;

use dlmalloc::GlobalDlmalloc;

#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

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
