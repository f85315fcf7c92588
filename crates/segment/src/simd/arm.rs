//! The inner loops on 64-bit ARM, where NEON is always present.

use std::arch::aarch64::*;

/// `Σ (code − 128) × query` over the shorter of the two.
pub(super) fn neon(codes: &[u8], query: &[i8]) -> i32 {
    let n = codes.len().min(query.len());
    let whole = n / 16 * 16;
    // SAFETY: NEON is part of the target.
    let sum = unsafe { whole_blocks(&codes[..whole], &query[..whole]) };
    sum + super::scalar(&codes[whole..n], &query[whole..n])
}

/// # Safety
/// Both slices have the same length, a multiple of 16.
#[target_feature(enable = "neon")]
unsafe fn whole_blocks(codes: &[u8], query: &[i8]) -> i32 {
    let bias = vdupq_n_u8(0x80);
    let mut sum = vdupq_n_s32(0);
    for at in (0..codes.len()).step_by(16) {
        // SAFETY: at + 16 <= length of both.
        let (c, q) = unsafe { (vld1q_u8(codes.as_ptr().add(at)), vld1q_s8(query.as_ptr().add(at))) };
        let c = vreinterpretq_s8_u8(veorq_u8(c, bias));
        // A product fits in 16 bits, but the sum of two may not: each pair is added in 32 bits.
        sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(c), vget_low_s8(q)));
        sum = vpadalq_s16(sum, vmull_high_s8(c, q));
    }
    vaddvq_s32(sum)
}
