/* Random numbers that are the same bits on every machine: integer arithmetic, and doubles made with + - * /
 * and sqrt only, each correctly rounded. This file must not be contracted or use a fused multiply-add. */
#include "internal.h"
#include "normal.h"
#include "philox.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "rng.c needs arithmetic in the type as written (32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* Last counter word of the draws below; dropout's stays below 2^24, so under one seed they share no block. */
#define DRAWS 0x80000000u

fnn_u32x4 fnn_philox(fnn_u32x4 counter, uint32_t key0, uint32_t key1) {
    philox_4x32(counter.v, key0, key1);
    return counter;
}

static uint64_t bits_of(double x) { uint64_t u; memcpy(&u, &x, sizeof u); return u; }
static double from_bits(uint64_t u) { double x; memcpy(&x, &u, sizeof x); return x; }

/* The largest double below x, x being neither 0 nor NaN. */
static double below(double x) { return from_bits(bits_of(x) + (x > 0 ? (uint64_t)-1 : 1)); }

static double draw(int distribution, double a, double b, uint64_t u) {
    if (distribution == FNN_UNIFORM) {
        double x = a + (b - a) * ((double)(u >> 11) * 0x1p-53);
        return x < b || a == b ? x : b != 0 ? below(b) : -DBL_MIN; /* where the sum was rounded up */
    }
    double p = ((double)(u >> 12) + 0.5) * 0x1p-52; /* never 0 or 1, and exact */
    if (distribution == FNN_NORMAL) return a + b * normal_quantile(p);
    /* Redrawing beyond two deviations is the same as drawing p between the two tails' probabilities. */
    const double tail = 0x1.74bcf82c9d860p-6; /* the distribution function at -2 */
    double z = normal_quantile(tail + p * (1 - 2 * tail));
    return a + b * (z < -2 ? -2 : z > 2 ? 2 : z);
}

int fnn_random(uint64_t seed, uint32_t stream, int distribution, double a, double b, double *out, int64_t n) {
    if (n < 0 || (n > 0 && !out) || !isfinite(a) || !isfinite(b)) return FNN_ERR_ARGUMENT;
    switch (distribution) {
    case FNN_UNIFORM: if (a > b || !isfinite(b - a)) return FNN_ERR_ARGUMENT; break;
    case FNN_NORMAL: case FNN_TRUNCATED_NORMAL: if (b < 0) return FNN_ERR_ARGUMENT; break;
    default: return FNN_ERR_ARGUMENT;
    }
    uint64_t fp = fnn_fp_enter(); /* whatever rounding the host has set */
    for (int64_t i = 0; i < n; i += 2) {
        uint64_t block = (uint64_t)i / 2;
        uint32_t v[4] = {(uint32_t)block, (uint32_t)(block >> 32), stream, DRAWS | (uint32_t)distribution};
        philox_4x32(v, (uint32_t)seed, (uint32_t)(seed >> 32));
        out[i] = draw(distribution, a, b, (uint64_t)v[1] << 32 | v[0]);
        if (i + 1 < n) out[i + 1] = draw(distribution, a, b, (uint64_t)v[3] << 32 | v[2]);
    }
    fnn_fp_restore(fp);
    return FNN_OK;
}

/* ---- permutation ---- */

/* Both halves of a 128-bit product, folded. */
static inline uint64_t fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
#else
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t mid = ah * bl + (al * bl >> 32), mid2 = al * bh + (uint32_t)mid;
    return (a * b) ^ (ah * bh + (mid >> 32) + (mid2 >> 32));
#endif
}

/* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, constants of Stafford's variant 13). */
static inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

/* What a permutation of [0, n) keyed by (seed, epoch) is made of. */
typedef struct { uint64_t n, add, times, low_mask, high_mask; int low, rounds; } network;

/* The fractions of the golden ratio and of sqrt(3), as odd numbers. */
static const uint64_t PHI = 0x9E3779B97F4A7C15ull, ROOT = 0xBB67AE8584CAA73Bull;

static network network_of(uint64_t seed, uint64_t epoch, int64_t n) {
    network f = {.n = (uint64_t)n, .add = mix(mix(seed) + PHI * epoch + PHI)};
    f.times = mix(f.add);
    if (n == 1) return f; /* no bits: 0 goes to 0 */
    int bits = 64 - __builtin_clzll((uint64_t)n - 1);
    f.low = bits / 2;
    f.low_mask = ((uint64_t)1 << f.low) - 1;
    f.high_mask = ((uint64_t)1 << (bits - f.low)) - 1;
    f.rounds = bits > 10 ? 6 : bits > 6 ? 8 : 24; /* halves of a few bits mix slowly */
    return f;
}

/* A Feistel network on the ceil(log2 n) bits of i: each round xors one half with a keyed function of the
 * other, so it is a bijection whatever that function is. Values that land beyond n go round again, fewer than
 * two times on average. */
static inline int64_t through(const network *f, int64_t i) {
    uint64_t x = (uint64_t)i;
    do {
        uint64_t l = x & f->low_mask, h = x >> f->low, a = f->add, t = f->times;
        for (int r = 0; r < f->rounds; r += 2) {
            l ^= fold(h ^ a, t) & f->low_mask;
            h ^= fold(l ^ (a + PHI), t + ROOT) & f->high_mask;
            a += 2 * PHI;
            t += 2 * ROOT;
        }
        x = h << f->low | l;
    } while (x >= f->n);
    return (int64_t)x;
}

int64_t fnn_permuted(uint64_t seed, uint64_t epoch, int64_t n, int64_t i) {
    if (i < 0 || i >= n) return -1;
    network f = network_of(seed, epoch, n);
    return through(&f, i);
}

/* ---- the order of a pass ---- */

/* A pass mixed within windows. Its samples, counted from `start` on, are cut into pieces; the order of the whole
 * pieces is shuffled, and `count` of them at a time are a window, within which the samples are shuffled. What is
 * less than a piece stands last; `start` moves from epoch to epoch, so that it is another part of the samples. */
typedef struct { int64_t size, count, whole, start; network pieces; } windows;

enum { PIECES = 32 };

static bool has_windows(const fnn_pass *pass) { return pass->shuffle > 1 && pass->shuffle < pass->n; }

static windows windows_of(const fnn_pass *pass) {
    windows w = {.count = pass->shuffle < PIECES ? pass->shuffle : PIECES};
    w.size = pass->shuffle / w.count;
    w.whole = pass->n / w.size;
    w.pieces = network_of(pass->seed, pass->epoch, w.whole);
    w.start = (int64_t)(mix(w.pieces.times) % (uint64_t)pass->n);
    return w;
}

static int64_t piece_start(const windows *w, int64_t n, int64_t i) {
    int64_t at = (i < w->whole ? through(&w->pieces, i) : w->whole) * w->size + w->start;
    return at < n ? at : at - n;
}

bool fnn_piece_of(const fnn_pass *pass, int64_t i, fnn_piece *piece) {
    if (!has_windows(pass)) return false;
    windows w = windows_of(pass);
    *piece = (fnn_piece){piece_start(&w, pass->n, i), w.size, w.count};
    if (i == w.whole) piece->size = pass->n - w.whole * w.size;
    return true;
}

static void mix_windows(const fnn_pass *pass, int64_t first, int64_t count, int64_t *samples) {
    const windows w = windows_of(pass);
    const int64_t n = pass->n, span = w.size * w.count;
    while (count > 0) {
        int64_t window = first / span, base = window * span;
        int64_t size = n - base < span ? n - base : span, end = base + size;
        const network f = network_of(mix(pass->seed + ROOT * (uint64_t)(window + 1)), pass->epoch, size);
        for (; count > 0 && first < end; first++, count--) {
            int64_t at = base + through(&f, first - base), sample = piece_start(&w, n, at / w.size) + at % w.size;
            *samples++ = sample < n ? sample : sample - n;
        }
    }
}

void fnn_order(const fnn_pass *pass, int64_t first, int64_t count, int64_t *samples) {
    if (pass->shuffle == 0) {
        for (int64_t i = 0; i < count; i++) samples[i] = first + i;
    } else if (has_windows(pass)) {
        mix_windows(pass, first, count, samples);
    } else {
        const network f = network_of(pass->seed, pass->epoch, pass->n);
        for (int64_t i = 0; i < count; i++) samples[i] = through(&f, first + i);
    }
}

/* Fisher and Yates's shuffle with the numbers of SplitMix64: for those who have room for the whole order, in a
 * fraction of the network's time. */
void fnn_shuffle(uint64_t seed, uint64_t epoch, int32_t *order, int64_t n) {
    uint64_t state = mix(mix(seed) + PHI * epoch + PHI);
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = (int64_t)((mix(state += PHI) >> 32) * (uint64_t)(i + 1) >> 32);
        order[i] = order[j];
        order[j] = (int32_t)i;
    }
}
