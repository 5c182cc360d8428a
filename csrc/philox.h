/* Philox 4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
 * as easy as 1, 2, 3" (SC 2011). */
#ifndef FASTNN_PHILOX_H
#define FASTNN_PHILOX_H

#include <stdint.h>

/* Turns counter v (4) into 128 random bits. T holds each word in the low half of 64 bits, alone or as the
 * lanes of a vector, and ignores the high one. mul(x, y) multiplies the low halves to 64 bits. */
#define PHILOX_ROUNDS(T, mul, v, key0, key1) \
    do { \
        uint32_t k0_ = (key0), k1_ = (key1); \
        for (int round_ = 0; round_ < 10; round_++, k0_ += 0x9E3779B9u, k1_ += 0xBB67AE85u) { \
            const T a_ = mul((v)[0], 0xD2511F53u), b_ = mul((v)[2], 0xCD9E8D57u); \
            (v)[0] = (b_ >> 32) ^ (v)[1] ^ (uint64_t)k0_; \
            (v)[1] = b_; \
            (v)[2] = (a_ >> 32) ^ (v)[3] ^ (uint64_t)k1_; \
            (v)[3] = a_; \
        } \
    } while (0)

static inline uint64_t philox_mul(uint64_t x, uint32_t y) { return (x & 0xFFFFFFFFu) * y; }

static inline void philox_4x32(uint32_t *v, uint32_t key0, uint32_t key1) {
    uint64_t w[4] = {v[0], v[1], v[2], v[3]};
    PHILOX_ROUNDS(uint64_t, philox_mul, w, key0, key1);
    for (int i = 0; i < 4; i++) v[i] = (uint32_t)w[i];
}

#endif
