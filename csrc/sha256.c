/* SHA-256 (FIPS 180-4): the checksum of model files. */
#include "internal.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turn(uint32_t x, int by) { return x >> by | x << (32 - by); }

/* One round, after which the eight words have moved on by one place: a is now called h. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                   \
    h += (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (g ^ (e & (f ^ g))) + rounds[i] + w[i];                \
    d += h;                                                                                                \
    h += (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) | (c & (a | b)))

static void mix_portably(uint32_t state[8], const unsigned char *block, size_t blocks) {
    for (; blocks > 0; blocks--, block += 64) {
        uint32_t w[64];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
                   block[4 * i + 3];
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
                   (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 64; i += 8) {
            ROUND(a, b, c, d, e, f, g, h, i);
            ROUND(h, a, b, c, d, e, f, g, i + 1);
            ROUND(g, h, a, b, c, d, e, f, i + 2);
            ROUND(f, g, h, a, b, c, d, e, i + 3);
            ROUND(e, f, g, h, a, b, c, d, i + 4);
            ROUND(d, e, f, g, h, a, b, c, i + 5);
            ROUND(c, d, e, f, g, h, a, b, i + 6);
            ROUND(b, c, d, e, f, g, h, a, i + 7);
        }
        state[0] += a; state[1] += b; state[2] += c; state[3] += d;
        state[4] += e; state[5] += f; state[6] += g; state[7] += h;
    }
}

#if defined(__x86_64__)

/* By the SHA extensions (Intel 64 and IA-32 Architectures SDM, volume 2), four rounds at a time. They want the words
 * as (f, e, b, a) and (h, g, d, c), from the lowest to the highest. */
__attribute__((target("sha,sse4.1"))) static void mix_by_cpu(uint32_t state[8], const unsigned char *block, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    const __m128i abcd = _mm_loadu_si128((const __m128i *)state), efgh = _mm_loadu_si128((const __m128i *)(state + 4));
    const __m128i badc = _mm_shuffle_epi32(abcd, 0xB1), hgfe = _mm_shuffle_epi32(efgh, 0x1B);
    __m128i feba = _mm_alignr_epi8(badc, hgfe, 8), hgdc = _mm_blend_epi16(hgfe, badc, 0xF0);
    for (; blocks > 0; blocks--, block += 64) {
        const __m128i feba_before = feba, hgdc_before = hgdc;
        __m128i w[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i *const now = &w[i % 4];
            if (i < 4) {
                *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
            } else {
                const __m128i last = w[(i + 3) % 4], sevenths = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
                *now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) % 4]), sevenths), last);
            }
            const __m128i add = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *)(rounds + 4 * i)));
            hgdc = _mm_sha256rnds2_epu32(hgdc, feba, add);
            feba = _mm_sha256rnds2_epu32(feba, hgdc, _mm_shuffle_epi32(add, 0x0E));
        }
        feba = _mm_add_epi32(feba, feba_before);
        hgdc = _mm_add_epi32(hgdc, hgdc_before);
    }
    const __m128i abef = _mm_shuffle_epi32(feba, 0x1B), ghcd = _mm_shuffle_epi32(hgdc, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(abef, ghcd, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(ghcd, abef, 8));
}

/* Asked once: a virtual machine takes microseconds to answer. */
static bool cpu_mixes(void) {
    static int known;                /* 1: it does not, 2: it does */
    unsigned eax, ebx, ecx, edx;
    const int before = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (before) return before == 2;
    const bool does = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_SSE4_1) &&
                      __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA);
    __atomic_store_n(&known, 1 + does, __ATOMIC_RELAXED);
    return does;
}

#else
#define mix_by_cpu mix_portably
static bool cpu_mixes(void) { return false; }
#endif

void fnn_sha256_mix(uint32_t state[8], const unsigned char *blocks, size_t n, bool portably) {
    if (!portably && cpu_mixes()) mix_by_cpu(state, blocks, n);
    else mix_portably(state, blocks, n);
}

void fnn_sha256_begin(fnn_sha256 *s) {
    *s = (fnn_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                                0x5be0cd19}};
}

void fnn_sha256_add(fnn_sha256 *s, const void *bytes, size_t n) {
    const unsigned char *from = bytes;
    size_t held = s->bytes % 64;
    s->bytes += n;
    while (n > 0) {
        if (held == 0 && n >= 64) {
            fnn_sha256_mix(s->state, from, n / 64, false);
            from += n / 64 * 64;
            n %= 64;
            continue;
        }
        const size_t part = 64 - held < n ? 64 - held : n;
        memcpy(s->block + held, from, part);
        from += part;
        n -= part;
        held = (held + part) % 64;
        if (held == 0) fnn_sha256_mix(s->state, s->block, 1, false);
    }
}

void fnn_sha256_end(fnn_sha256 *s, char digits[64]) {
    static const char hex[] = "0123456789abcdef";
    const uint64_t bits = s->bytes * 8;
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(bits >> (56 - 8 * i));
    fnn_sha256_add(s, "\x80", 1);
    while (s->bytes % 64 != 56) fnn_sha256_add(s, "", 1);
    fnn_sha256_add(s, length, sizeof length);
    for (int i = 0; i < 64; i++) digits[i] = hex[s->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
}
