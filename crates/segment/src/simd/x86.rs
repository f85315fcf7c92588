//! The inner loops on x86-64: AVX2, and AVX-512 with VNNI.

use super::Signed;
use std::arch::x86_64::*;

#[inline]
pub(super) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64).take(PREFETCHED_LINES) {
        // SAFETY: prefetching is a hint that has no effect the program can observe, and the address is that of a valid
        // byte.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Prefetching more lines than this costs more than it saves.
const PREFETCHED_LINES: usize = 8;

pub(super) fn l2_squared_avx2(a: &[f32], b: &[f32]) -> f32 {
    assert!(has_avx2());
    // SAFETY: the feature is present, as asserted above.
    unsafe { l2_squared_avx2_inner(a, b) }
}

pub(super) fn l2_squared_avx512(a: &[f32], b: &[f32]) -> f32 {
    assert!(has_vnni());
    // SAFETY: the feature is present, as asserted above.
    unsafe { l2_squared_avx512_inner(a, b) }
}

#[target_feature(enable = "avx2")]
fn l2_squared_avx2_inner(a: &[f32], b: &[f32]) -> f32 {
    super::l2_squared_plain(a, b)
}

#[target_feature(enable = "avx512f")]
fn l2_squared_avx512_inner(a: &[f32], b: &[f32]) -> f32 {
    super::l2_squared_plain(a, b)
}

pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

pub(super) fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

pub(super) fn avx2(codes: &[u8], query: &[i8]) -> i32 {
    assert!(has_avx2());
    // SAFETY: the feature is present, as asserted above.
    unsafe { avx2_inner(codes, query) }
}

pub(super) fn vnni(codes: &[u8], query: &[i8]) -> i32 {
    assert!(has_vnni());
    // SAFETY: the features are present, as asserted above.
    unsafe { vnni_inner(codes, query) }
}

#[target_feature(enable = "avx2")]
fn avx2_inner(codes: &[u8], query: &[i8]) -> i32 {
    let n = codes.len().min(query.len());
    let whole = n / 16 * 16;
    let mut sum = _mm256_setzero_si256();
    let bias = _mm256_set1_epi16(128);
    for at in (0..whole).step_by(16) {
        // SAFETY: at + 16 <= whole <= length of both.
        let (c, q) =
            unsafe { (_mm_loadu_si128(codes.as_ptr().add(at).cast()), _mm_loadu_si128(query.as_ptr().add(at).cast())) };
        // Widened to 16 bits, because multiplying bytes directly saturates.
        let c = _mm256_sub_epi16(_mm256_cvtepu8_epi16(c), bias);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(c, _mm256_cvtepi8_epi16(q)));
    }
    let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b1110>(half));
    let one = _mm_add_epi32(pair, _mm_shuffle_epi32::<0b01>(pair));
    _mm_cvtsi128_si32(one) + super::scalar(&codes[whole..n], &query[whole..n])
}

pub(super) fn four_dots_vnni(rows: [&[u8]; 4], query: &Signed) -> [i32; 4] {
    assert!(has_vnni());
    let n = query.len();
    if rows.iter().any(|row| row.len() < n) {
        return super::one_by_one(vnni, rows, query);
    }
    // SAFETY: the features are present, as asserted above; every row is at least as long as the query.
    unsafe { four_dots_vnni_inner(rows, query) }
}

/// # Safety
/// Every row is at least as long as the query.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn four_dots_vnni_inner(rows: [&[u8]; 4], query: &Signed) -> [i32; 4] {
    let n = query.len();
    let [mut a, mut b, mut c, mut d] = [_mm512_setzero_si512(); 4];
    for at in (0..n).step_by(64) {
        let left = n - at;
        let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        // SAFETY: masked lanes are not read; the others lie below n, and no row is shorter than n.
        unsafe {
            let q = _mm512_maskz_loadu_epi8(mask, query.values.as_ptr().add(at));
            let code = |row: &[u8]| _mm512_maskz_loadu_epi8(mask, row.as_ptr().add(at).cast());
            a = _mm512_dpbusd_epi32(a, code(rows[0]), q);
            b = _mm512_dpbusd_epi32(b, code(rows[1]), q);
            c = _mm512_dpbusd_epi32(c, code(rows[2]), q);
            d = _mm512_dpbusd_epi32(d, code(rows[3]), q);
        }
    }
    // Each 128 bits of `all` hold a part of the four sums.
    let pair = |x, y| _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
    let (ab, cd) = (pair(a, b), pair(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    let four = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let mut sums = [0i32; 4];
    // SAFETY: the sixteen bytes are a local array.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), four) };
    sums.map(|sum| sum - 128 * query.sum)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn vnni_inner(codes: &[u8], query: &[i8]) -> i32 {
    let n = codes.len().min(query.len());
    let mut sum = _mm512_setzero_si512();
    // The bias is removed at the end: 128 × the query's sum, accumulated in parallel.
    let mut off = _mm512_setzero_si512();
    let bias = _mm512_set1_epi8(i8::MIN);
    for at in (0..n).step_by(64) {
        let left = n - at;
        let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        // SAFETY: masked lanes are not read; the others lie below n in both.
        let (c, q) = unsafe {
            (
                _mm512_maskz_loadu_epi8(mask, codes.as_ptr().add(at).cast()),
                _mm512_maskz_loadu_epi8(mask, query.as_ptr().add(at).cast()),
            )
        };
        sum = _mm512_dpbusd_epi32(sum, c, q);
        off = _mm512_dpbusd_epi32(off, bias, q);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(sum, off))
}
