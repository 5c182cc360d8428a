/* One vector type for all kernels, from GCC's vector extensions; REAL_BITS (32 or 64) and the compiler's target pick it.
 *
 * Arithmetic and comparisons are the language's own operators on V (a comparison gives VI, all ones where true). What has no
 * operator stands below: portable loops first, overwritten by an instruction set that has better.
 * Tails: v_loadn and v_storen are the only places that know about them.
 * FNN_WIDE=1 builds 64-byte vectors from whatever the target has, so that the wide tiles are tested everywhere.
 */
#ifndef FASTNN_SIMD_H
#define FASTNN_SIMD_H

#include <stdint.h>
#include <string.h>
#include <math.h>

#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__AVX512BW__)
#include <immintrin.h>
#define SIMD_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define SIMD_AVX2 1
#elif defined(__SSE2__)
#include <emmintrin.h>
#define SIMD_SSE2 1
#elif defined(__aarch64__)
#include <arm_neon.h>
#define SIMD_NEON 1
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define SIMD_WASM 1
#endif

#if defined(FNN_WIDE) || defined(SIMD_AVX512)
#define VBYTES 64
#elif defined(SIMD_AVX2)
#define VBYTES 32
#else
#define VBYTES 16
#endif
#if defined(FNN_WIDE)
#undef SIMD_AVX512
#undef SIMD_AVX2
#undef SIMD_SSE2
#undef SIMD_NEON
#undef SIMD_WASM
#endif

#if REAL_BITS == 32
typedef float REAL;
typedef int32_t INT;
typedef uint32_t UINT;
#define R(x) x##f                 /* a constant of the kernel's type */
#elif REAL_BITS == 64
typedef double REAL;
typedef int64_t INT;
typedef uint64_t UINT;
#define R(x) x
#endif

#if defined(__MINGW64__) && !defined(__clang__) && VBYTES > 16 && !defined(FNN_UNALIGNED_MOVES)
#error "GCC does not align the stack of 64-bit Windows for such vectors: see csrc/Makefile, or take Clang"
#endif
typedef REAL V __attribute__((vector_size(VBYTES)));
typedef INT VI __attribute__((vector_size(VBYTES)));
typedef UINT VN __attribute__((vector_size(VBYTES)));
typedef uint64_t VW __attribute__((vector_size(VBYTES)));
typedef REAL VU __attribute__((vector_size(VBYTES), aligned(sizeof(REAL)), may_alias));
enum { VL = VBYTES / (int)sizeof(REAL) };
#define INLINE static inline __attribute__((always_inline))
#define OUTLINE static __attribute__((noinline))
/* What many kernels call: one function for all of them in WebAssembly, where the size of the module counts. */
#if defined(__wasm__)
#define SHARED OUTLINE __attribute__((unused))
#else
#define SHARED INLINE
#endif

/* Before a loop whose iterations do not depend on each other, though its pointers do not say so. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

INLINE V v_load(const REAL *p) { return *(const VU *)p; }
INLINE void v_store(REAL *p, V x) { *(VU *)p = x; }
INLINE V v_set1(REAL x) { return x - (V){0}; }   /* a splat; -0 stays -0 */
INLINE VI v_set1i(INT x) { return x - (VI){0}; }
INLINE V v_select(VI mask, V a, V b) { return (V)((mask & (VI)a) | (~mask & (VI)b)); }
INLINE V v_abs(V x) { return (V)((VI)x & v_set1i((INT)(~(UINT)0 >> 1))); }
INLINE V v_copysign(V x, V sign) {
    VI top = v_set1i((INT)((UINT)1 << (REAL_BITS - 1)));
    return (V)(((VI)x & ~top) | ((VI)sign & top));
}

/* ---- x86 with AVX-512 ---- */
/* v_mul32: the low 32 bits of each 64-bit lane, multiplied to 64. */
#if defined(SIMD_AVX512)
INLINE VW v_mul32(VW a, VW b) { return (VW)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#if REAL_BITS == 32
INLINE V v_fma(V a, V b, V c) { return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE V v_sqrt(V a) { return (V)_mm512_sqrt_ps((__m512)a); }
INLINE V v_max(V a, V b) { return (V)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE V v_min(V a, V b) { return (V)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE V v_loadn(const REAL *p, int n) { return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void v_storen(REAL *p, V x, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x); }
#else
INLINE V v_fma(V a, V b, V c) { return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE V v_sqrt(V a) { return (V)_mm512_sqrt_pd((__m512d)a); }
INLINE V v_max(V a, V b) { return (V)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE V v_min(V a, V b) { return (V)_mm512_min_pd((__m512d)a, (__m512d)b); }
INLINE V v_loadn(const REAL *p, int n) { return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
INLINE void v_storen(REAL *p, V x, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)x); }
#endif

/* ---- x86 with AVX2 and FMA ---- */
#elif defined(SIMD_AVX2)
INLINE VW v_mul32(VW a, VW b) { return (VW)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#if REAL_BITS == 32
INLINE __m256i v_first(int n) {
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones + 8 - n));
}
INLINE V v_fma(V a, V b, V c) { return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE V v_sqrt(V a) { return (V)_mm256_sqrt_ps((__m256)a); }
INLINE V v_max(V a, V b) { return (V)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE V v_min(V a, V b) { return (V)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE V v_loadn(const REAL *p, int n) { return (V)_mm256_maskload_ps(p, v_first(n)); }
INLINE void v_storen(REAL *p, V x, int n) { _mm256_maskstore_ps(p, v_first(n), (__m256)x); }
#else
INLINE __m256i v_first(int n) {
    static const int64_t ones[8] = {-1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones + 4 - n));
}
INLINE V v_fma(V a, V b, V c) { return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE V v_sqrt(V a) { return (V)_mm256_sqrt_pd((__m256d)a); }
INLINE V v_max(V a, V b) { return (V)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE V v_min(V a, V b) { return (V)_mm256_min_pd((__m256d)a, (__m256d)b); }
INLINE V v_loadn(const REAL *p, int n) { return (V)_mm256_maskload_pd(p, v_first(n)); }
INLINE void v_storen(REAL *p, V x, int n) { _mm256_maskstore_pd(p, v_first(n), (__m256d)x); }
#endif

/* ---- everything else ---- */
#else
#if defined(SIMD_SSE2)
INLINE VW v_mul32(VW a, VW b) { return (VW)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
INLINE VW v_mul32(VW a, VW b) { return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu); }
#endif
#if defined(SIMD_WASM)   /* a memcpy of unknown size is a call out of the module */
SHARED V v_loadn(const REAL *p, int n) {
    V x = {0};
    for (int i = 0; i < VL && i < n; i++) x[i] = p[i];
    return x;
}
SHARED void v_storen(REAL *p, V x, int n) {
    for (int i = 0; i < VL && i < n; i++) p[i] = x[i];
}
#else
INLINE V v_loadn(const REAL *p, int n) { V x = {0}; memcpy(&x, p, (size_t)n * sizeof(REAL)); return x; }
INLINE void v_storen(REAL *p, V x, int n) { memcpy(p, &x, (size_t)n * sizeof(REAL)); }
#endif
#if defined(SIMD_NEON) && REAL_BITS == 32
INLINE V v_fma(V a, V b, V c) { return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE V v_sqrt(V a) { return (V)vsqrtq_f32((float32x4_t)a); }
#elif defined(SIMD_NEON)
INLINE V v_fma(V a, V b, V c) { return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
INLINE V v_sqrt(V a) { return (V)vsqrtq_f64((float64x2_t)a); }
#elif defined(SIMD_SSE2)
/* No fused multiply-add before FMA3: two roundings. */
INLINE V v_fma(V a, V b, V c) { return a * b + c; }
#if REAL_BITS == 32
INLINE V v_sqrt(V a) { return (V)_mm_sqrt_ps((__m128)a); }
#else
INLINE V v_sqrt(V a) { return (V)_mm_sqrt_pd((__m128d)a); }
#endif
#elif defined(SIMD_WASM)
INLINE V v_fma(V a, V b, V c) { return a * b + c; }
#if REAL_BITS == 32
INLINE V v_sqrt(V a) { return (V)wasm_f32x4_sqrt((v128_t)a); }
#else
INLINE V v_sqrt(V a) { return (V)wasm_f64x2_sqrt((v128_t)a); }
#endif
#else
#if defined(__FMA__) || defined(__aarch64__)
INLINE V v_fma(V a, V b, V c) { for (int i = 0; i < VL; i++) c[i] = REAL_BITS == 32 ? (REAL)__builtin_fmaf((float)a[i], (float)b[i], (float)c[i]) : (REAL)__builtin_fma(a[i], b[i], c[i]); return c; }
#else
INLINE V v_fma(V a, V b, V c) { return a * b + c; }
#endif
INLINE V v_sqrt(V a) { for (int i = 0; i < VL; i++) a[i] = (REAL)sqrt((double)a[i]); return a; }
#endif
/* As x86's max and min: the second operand where either is NaN. */
#if defined(SIMD_WASM) && REAL_BITS == 32
INLINE V v_max(V a, V b) { return (V)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
INLINE V v_min(V a, V b) { return (V)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
#else
INLINE V v_max(V a, V b) { return v_select(a > b, a, b); }
INLINE V v_min(V a, V b) { return v_select(a < b, a, b); }
#endif
#endif

/* Lanes of a and, from VL on, of b. */
#if defined(__clang__)
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (VI){__VA_ARGS__})
#endif

#if REAL_BITS == 32
/* ---- pairs of 16-bit numbers, one pair a lane, the first in the low half ---- */
typedef int8_t VB __attribute__((vector_size(VBYTES / 2), aligned(1), may_alias));
typedef int16_t VS __attribute__((vector_size(VBYTES)));
typedef int16_t VSU __attribute__((vector_size(VBYTES / 2), aligned(2), may_alias));
typedef INT VIU __attribute__((vector_size(VBYTES), aligned(1), may_alias));

INLINE VI v_load_pairs(const int16_t *p) { return *(const VIU *)p; }
INLINE void v_store_pairs(int16_t *p, VI x) { *(VIU *)p = x; }
INLINE VI v_widen(const int8_t *p) {   /* GCC 12 converts half a register at a time */
#if defined(SIMD_AVX512)
    return (VI)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
#elif defined(SIMD_AVX2)
    return (VI)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
#else
    return (VI)__builtin_convertvector(*(const VB *)p, VS);
#endif
}
/* The pair at p in every lane. An instruction of its own, as GCC 12 would unpack it in scalar registers. */
INLINE VI v_set1_pair(const int16_t *p) {
#if defined(SIMD_AVX512)
    return (VI)_mm512_broadcastss_ps(_mm_load_ss((const float *)(const void *)p));
#elif defined(SIMD_AVX2)
    return (VI)_mm256_broadcast_ss((const float *)(const void *)p);
#else
    INT pair;
    memcpy(&pair, p, sizeof pair);
    return v_set1i(pair);
#endif
}
/* The low halves of all lanes, one after the other. */
INLINE void v_store_low(int16_t *p, VI x) { *(VSU *)p = __builtin_convertvector(x, VSU); }
/* acc + a[0] b[0] + a[1] b[1], exact up to 2^31. */
INLINE VI v_dp16(VI acc, VI a, VI b) {
#if defined(SIMD_AVX512)
    return acc + (VI)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(SIMD_AVX2)
    return acc + (VI)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(SIMD_SSE2)
    return acc + (VI)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(SIMD_WASM)
    return acc + (VI)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
#else
    return acc + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}
/* acc + a[1] b[1] + a[0] b[0] of bfloat16, rounded after each addition. */
INLINE V v_dpbf16(V acc, VI a, VI b) {
#if defined(SIMD_AVX512) && defined(__AVX512BF16__)
    return (V)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
#else
    const VI high = v_set1i((INT)0xFFFF0000u);
    return v_fma((V)(a << 16), (V)(b << 16), v_fma((V)(a & high), (V)(b & high), acc));
#endif
}
/* To the nearest bfloat16, ties to even, in the high half of the lane; a NaN stays one. */
INLINE VI v_round_bf16(V x) {
    const VI bits = (VI)x, odd = bits >> 16 & 1, up = (VI)((VN)bits + (VN)(odd + 0x7FFF));   /* some NaN wrap around */
    return (VI)v_select(x == x, (V)up, (V)(bits | 0x400000)) & (INT)0xFFFF0000u;
}
/* Pairs of bfloat16: a lane of `low` and the same lane of `high`. */
INLINE VI v_round_pairs(V low, V high) {
#if defined(SIMD_AVX512) && defined(__AVX512BF16__)
    const VS turns = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (VI)_mm512_permutexvar_epi16((__m512i)turns, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
#else
    return (v_round_bf16(low) >> 16 & 0xFFFF) | v_round_bf16(high);
#endif
}
/* Pairs of bfloat16: lanes 0 and 1, 2 and 3, … of `first`, then those of `second`. */
INLINE VI v_round_row(V first, V second) {
#if defined(SIMD_AVX512) && defined(__AVX512BF16__)
    return (VI)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
#else
    const VI a = v_round_bf16(first), b = v_round_bf16(second);
#if VBYTES == 64
    const VI even = PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
             odd = PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VBYTES == 32
    const VI even = PICK(a, b, 0, 2, 4, 6, 8, 10, 12, 14), odd = PICK(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    const VI even = PICK(a, b, 0, 2, 4, 6), odd = PICK(a, b, 1, 3, 5, 7);
#endif
    return (even >> 16 & 0xFFFF) | odd;
#endif
}
#endif

/* x = join(x, the lanes of x a half, a quarter, ... further on), until lane 0 has met all lanes. */
#define JOIN_(x, join, ...) ((x) = join(x, PICK(x, x, __VA_ARGS__)))
#if VBYTES * 8 / REAL_BITS == 16
#define JOIN_LANES(x, join) \
    (JOIN_(x, join, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7), \
     JOIN_(x, join, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11), \
     JOIN_(x, join, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13), \
     JOIN_(x, join, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14))
#elif VBYTES * 8 / REAL_BITS == 8
#define JOIN_LANES(x, join) \
    (JOIN_(x, join, 4, 5, 6, 7, 0, 1, 2, 3), JOIN_(x, join, 2, 3, 0, 1, 6, 7, 4, 5), JOIN_(x, join, 1, 0, 3, 2, 5, 4, 7, 6))
#elif VBYTES * 8 / REAL_BITS == 4
#define JOIN_LANES(x, join) (JOIN_(x, join, 2, 3, 0, 1), JOIN_(x, join, 1, 0, 3, 2))
#else
#define JOIN_LANES(x, join) JOIN_(x, join, 1, 0)
#endif
INLINE V v_add_(V a, V b) { return a + b; }
/* The sum of all lanes, in one fixed order: halves are added until one lane is left. */
INLINE REAL v_sum(V x) {
    JOIN_LANES(x, v_add_);
    return x[0];
}
INLINE REAL v_largest(V x) {
    JOIN_LANES(x, v_max);
    return x[0];
}

/* Runs `body` over n contiguous elements: full vectors, then one partial one. `LOADV(p)` and `STOREV(p, x)` inside the body
 * read and write at the current place. */
#define FOR_VECTORS(n, i, ...)                                               \
    do {                                                                     \
        int64_t i = 0, n_ = (n);                                             \
        for (; i + VL <= n_; i += VL) {                                      \
            const int PART_ = VL;                                            \
            const int left_ = VL; (void)left_;                               \
            __VA_ARGS__                                                      \
        }                                                                    \
        if (i < n_) {                                                        \
            const int PART_ = 0;                                             \
            const int left_ = (int)(n_ - i);                                 \
            __VA_ARGS__                                                      \
        }                                                                    \
    } while (0)
/* The same with one copy of `body`, which asks at each vector whether it is a whole one: where the body is long. */
#define EACH_VECTOR(n, i, ...)                                               \
    do {                                                                     \
        for (int64_t i = 0, n_ = (n); i < n_; i += VL) {                     \
            const int left_ = n_ - i < VL ? (int)(n_ - i) : VL, PART_ = left_; \
            (void)PART_;                                                     \
            __VA_ARGS__                                                      \
        }                                                                    \
    } while (0)
#define LOADV(p) (PART_ == VL ? v_load(p) : v_loadn((p), left_))
#define STOREV(p, x) (PART_ == VL ? v_store((p), (x)) : v_storen((p), (x), left_))

#endif
