/* Dropout and draws for samples. Element e of a sample takes lane e % 4 of the counter (e / 4, sample, epoch,
 * key), so a draw depends on neither the batch, its order nor the threads. Both types see the same 32 bits.
 */

#include "../normal.h"
#include "../philox.h"

enum { WORDS = VBYTES / 8, DRAWN = 64 }; /* lanes of 64 bits; counters at a time, four elements each */

INLINE VW mul_words(VW x, uint32_t y) { return v_mul32(x, (VW){0} + y); }

/* The last counter word: sample indices have up to 40 bits, keys 16. */
INLINE uint32_t draw_key(double key, int64_t sample) {
    return (uint32_t)key | (uint32_t)((uint64_t)sample >> 32 << 16);
}

/* bits (4 * count, rounded up to whole vectors) of the counters from `block` on of one sample */
static void draw_bits(const fnn_step *step, double key, int64_t sample, uint32_t block, uint32_t count,
                      uint32_t *bits) {
    const VW zero = {0}, low = zero + 0xFFFFFFFFu;
    const VW c1 = zero + (uint64_t)sample, c2 = zero + step->epoch, c3 = zero + draw_key(key, sample);
    VW start = zero + block;
    for (uint32_t j = 0; j < WORDS; j++) start[j] += j;
    for (uint32_t i = 0; i < count; i += WORDS) {
        VW v[4] = {start + i, c1, c2, c3};
        PHILOX_ROUNDS(VW, mul_words, v, (uint32_t)step->seed, (uint32_t)(step->seed >> 32));
        const VW first = (v[0] & low) | v[1] << 32, second = (v[2] & low) | v[3] << 32;
        for (uint32_t j = 0; j < WORDS; j++, bits += 4) {
            bits[0] = (uint32_t)first[j];
            bits[1] = (uint32_t)(first[j] >> 32);
            bits[2] = (uint32_t)second[j];
            bits[3] = (uint32_t)(second[j] >> 32);
        }
    }
}

/* Runs the body for pieces of rows [lo, hi) of `view`: n elements of row r from column c on, which have the
 * random words drawn[0..n). */
#define FOR_DRAWS(t, key, view, lo, hi, r, c, n, drawn, ...) \
    do { \
        _Alignas(FNN_ALIGN) uint32_t bits_[DRAWN * 4]; \
        for (int64_t r = (lo); r < (hi); r++) { \
            const int64_t sample_ = (t)->step->sample[r / (view)->lead]; \
            const int64_t row_ = r % (view)->lead * (view)->cols; \
            for (int64_t c = 0, n; c < (view)->cols; c += n) { \
                const int64_t skip_ = (row_ + c) % 4, room_ = DRAWN * 4 - skip_, left_ = (view)->cols - c; \
                n = left_ < room_ ? left_ : room_; \
                draw_bits((t)->step, (key), sample_, (uint32_t)((row_ + c) / 4), \
                          (uint32_t)((skip_ + n + 3) / 4), bits_); \
                const uint32_t *drawn = bits_ + skip_; \
                __VA_ARGS__ \
            } \
        } \
    } while (0)

/* x (rows, n) -> out (rows, n) = x / (1 - rate) where kept, else 0; out may be x; rows [lo, hi) */
static void k_dropout(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const uint32_t limit = (uint32_t)ceil(t->attr[0] * 0x1p24);   /* kept: 24 random bits reach it */
    const REAL scale = (REAL)(1 / (1 - t->attr[0]));
    FOR_DRAWS(t, t->attr[1], to, lo, hi, r, c, n, drawn, {
        const REAL *x = (const REAL *)in->p + r * in->ld + c;
        REAL *out = (REAL *)to->p + r * to->ld + c;
        INDEPENDENT
        for (int64_t i = 0; i < n; i++) out[i] = drawn[i] >> 8 >= limit ? x[i] * scale : 0;
    });
}

/* The word as a signed number, its order kept: what vectors turn into doubles. */
INLINE double centred(uint32_t word) { return (double)(int32_t)(word ^ 0x80000000u); }

/* -> out (samples, n) = low + (high - low) u, u in [0, 1) of 32 bits, never high itself; samples [lo, hi) */
static void k_random_uniform(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const double low = t->attr[0], range = t->attr[1] - t->attr[0];
    const REAL high = (REAL)t->attr[1];
    REAL below = (REAL)(REAL_BITS == 32 ? nextafterf((float)high, -INFINITY) : nextafter(high, -INFINITY));
    if (high == 0) below = -SMALLEST_NORMAL;
    if (range == 0) below = high;
    FOR_DRAWS(t, t->attr[2], to, lo * to->lead, hi * to->lead, r, c, n, drawn, {
        REAL *out = (REAL *)to->p + r * to->ld + c;
        INDEPENDENT
        for (int64_t i = 0; i < n; i++) {
            const REAL x = (REAL)(low + range * ((centred(drawn[i]) + 0x1p31) * 0x1p-32));
            out[i] = x < high ? x : below;
        }
    });
}

/* -> out (samples, n) = mean + stddev z, z the normal quantile at (word + 1/2) / 2^32; samples [lo, hi) */
static void k_random_normal(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const double mean = t->attr[0], stddev = t->attr[1];
    double q[DRAWN * 4], z[DRAWN * 4], tail[DRAWN * 4];
    int at[DRAWN * 4];
    FOR_DRAWS(t, t->attr[2], to, lo * to->lead, hi * to->lead, r, c, n, drawn, {
        REAL *out = (REAL *)to->p + r * to->ld + c;
        for (int64_t i = 0; i < n; i++) q[i] = (centred(drawn[i]) + 0.5) * 0x1p-32;
        for (int64_t i = 0; i < n; i++) z[i] = normal_middle(q[i]);
        /* One in seven is outside: these together once more, as q is at least 2^-33 away from 1/2. */
        int tails = 0;
        for (int64_t i = 0; i < n; i++) {
            at[tails] = (int)i;
            tails += fabs(q[i]) > 0.425;
        }
        for (int j = 0; j < tails; j++) tail[j] = 0.5 - fabs(q[at[j]]);
        for (int j = 0; j < tails; j++) tail[j] = normal_tail(sqrt(-log_portable(tail[j])));
        for (int j = 0; j < tails; j++) z[at[j]] = copysign(tail[j], q[at[j]]);
        for (int64_t i = 0; i < n; i++) out[i] = (REAL)(mean + stddev * z[i]);
    });
}
