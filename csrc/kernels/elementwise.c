/* Sums, products, penalties, clipping, dropout: one pass over memory each. */

#include "../philox.h"

/* ---- rows of matrices ---- */

/* x (rows, n), bias (n) -> out (rows, n); out may be x */
static void k_bias_add(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const REAL *bias = t->in[1].p;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *x = (const REAL *)t->in[0].p + r * t->in[0].ld;
        REAL *out = (REAL *)t->out[0].p + r * t->out[0].ld;
        FOR_VECTORS(t->out[0].cols, i, { STOREV(out + i, LOADV(x + i) + LOADV(bias + i)); });
    }
}

/* Elements in a run of the two inputs and the output: a row, or all rows where none has a gap after its end.
 */
INLINE int64_t run_length(const fnn_task *t, int64_t rows) {
    const int64_t cols = t->out[0].cols;
    const bool flat = t->in[0].ld == cols && t->in[1].ld == cols && t->out[0].ld == cols;
    return flat ? rows * cols : cols;
}

#define BINARY(name, operator) \
    /* a (rows, n), b (rows, n) -> out (rows, n); out may be a or b */ \
    static void k_##name(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) { \
        (void)scratch; \
        lo *= t->out[0].lead; \
        hi *= t->out[0].lead; \
        const int64_t n = run_length(t, hi - lo), runs = (hi - lo) * t->out[0].cols / n; \
        for (int64_t r = lo; r < lo + runs; r++) { \
            const REAL *a = (const REAL *)t->in[0].p + r * t->in[0].ld, \
                       *b = (const REAL *)t->in[1].p + r * t->in[1].ld; \
            REAL *out = (REAL *)t->out[0].p + r * t->out[0].ld; \
            FOR_VECTORS(n, i, { STOREV(out + i, LOADV(a + i) operator LOADV(b + i)); }); \
        } \
    }
BINARY(add, +)
BINARY(multiply, *)

/* x (rows, n), all rows of the batch -> columns [lo, hi) of out (n), each summed from the first row to the
 * last */
static void k_sum_rows(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t rows = t->step->rows * t->in[0].lead, ld = t->in[0].ld;
    const REAL *x = t->in[0].p;
    REAL *out = t->out[0].p;
    int64_t c = lo;
    for (; c + 4 * VL <= hi; c += 4 * VL) {
        V sum[4] = {{0}};
        for (int64_t r = 0; r < rows; r++)
            for (int j = 0; j < 4; j++) sum[j] += v_load(x + r * ld + c + j * VL);
        for (int j = 0; j < 4; j++) v_store(out + c + j * VL, sum[j]);
    }
    FOR_VECTORS(hi - c, i, {
        V sum = {0};
        for (int64_t r = 0; r < rows; r++) sum += LOADV(x + r * ld + c + i);
        STOREV(out + c + i, sum);
    });
}

/* weight (samples) -> rows [lo, hi) of out (rows, n): loss_weight * weight / (samples * elements a sample) */
static void k_loss_seed(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const REAL *weight = t->in[0].p;
    const double scale = t->attr[0] / ((double)t->step->rows * (double)(to->lead * to->cols));
    for (int64_t r = lo; r < hi; r++) {
        const REAL seed = (REAL)(scale * (double)weight[r / to->lead * t->in[0].ld]);
        REAL *out = (REAL *)to->p + r * to->ld;
        for (int64_t c = 0; c < to->cols; c++) out[c] = seed;
    }
}

/* ---- elements of parameters and gradients ---- */

/* g (n), w (n) -> out (n) = g + l1 sign(w) + 2 l2 w; out may be g */
INLINE void penalty_grad_flat(const REAL *g, const REAL *w, REAL *out, double l1, double l2, int64_t n) {
    const V one = v_set1((REAL)l1), two = v_set1((REAL)(2 * l2)), zero = {0};
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V sign = v_select(x == zero, zero, v_copysign(one, x));
        STOREV(out + i, v_fma(two, x, LOADV(g + i) + sign));
    });
}

/* g (n), w (n) -> elements [lo, hi) of out (n) */
static void k_penalty_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    penalty_grad_flat((const REAL *)t->in[0].p + lo, (const REAL *)t->in[1].p + lo, (REAL *)t->out[0].p + lo,
                      t->attr[0], t->attr[1], hi - lo);
}

/* x (n) -> sum of |x| and of x^2: eight interleaved sums in double, then the sums from first to last */
static void absolute_and_square(const REAL *x, int64_t n, double *absolute, double *square) {
    double a[8] = {0}, s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) {
            const double v = (double)x[i + j];
            a[j] += __builtin_fabs(v);
            s[j] += v * v;
        }
    for (int j = 0; i + j < n; j++) {
        const double v = (double)x[i + j];
        a[j] += __builtin_fabs(v);
        s[j] += v * v;
    }
    *absolute = *square = 0;
    for (int j = 0; j < 8; j++) { *absolute += a[j]; *square += s[j]; }
}

/* w (all of the layout; padding is zero) -> out (1) = l1 sum |w| + l2 sum w^2 */
static void k_penalty(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)lo; (void)hi; (void)scratch;
    double absolute, square;
    absolute_and_square(t->in[0].p, t->layout.size, &absolute, &square);
    *(REAL *)t->out[0].p = (REAL)(t->attr[0] * absolute + t->attr[1] * square);
}

/* g (all of the layout; padding is zero) -> out (1) = sum g^2 */
static void k_sum_squares(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)lo; (void)hi; (void)scratch;
    double absolute, square;
    absolute_and_square(t->in[0].p, t->layout.size, &absolute, &square);
    *(REAL *)t->out[0].p = (REAL)square;
}

/* g (n) -> elements [lo, hi) of out (n), each brought into [-clip, clip]; NaN stays; out may be g */
static void k_clip_value(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const REAL *g = (const REAL *)t->in[0].p + lo;
    REAL *out = (REAL *)t->out[0].p + lo;
    const V clip = v_set1((REAL)t->attr[0]);
    FOR_VECTORS(hi - lo, i, { STOREV(out + i, v_min(clip, v_max(-clip, LOADV(g + i)))); });
}

/* g (n), s (1), the sum of its squares -> elements [lo, hi) of out (n) = g clip / max(sqrt(s), clip); NaN
 * stays; out may be g */
static void k_clip_norm(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const REAL *g = (const REAL *)t->in[0].p + lo;
    REAL *out = (REAL *)t->out[0].p + lo;
    const double clip = t->attr[0], norm = sqrt((double)*(const REAL *)t->in[1].p);
    const V factor = v_set1((REAL)(norm <= clip ? 1 : clip / norm));
    FOR_VECTORS(hi - lo, i, { STOREV(out + i, LOADV(g + i) * factor); });
}

/* ---- dropout ---- */

enum { WORDS = VBYTES / 8, DROP = 64 }; /* lanes of 64 bits; counters at a time, four elements each */

INLINE VW mul_words(VW x, uint32_t y) { return v_mul32(x, (VW){0} + y); }

/* bits (4 * count, rounded up to whole vectors) of the counters from `block` on of one sample */
static void drop_bits(const fnn_task *t, int64_t sample, uint32_t block, uint32_t count, uint32_t *bits) {
    const VW zero = {0}, low = zero + 0xFFFFFFFFu;
    const VW c1 = zero + (uint64_t)sample, c2 = zero + t->step->epoch;
    const VW c3 = zero + ((uint64_t)t->attr[1] | (uint64_t)sample >> 32 << 16);
    VW start = zero + block;
    for (uint32_t j = 0; j < WORDS; j++) start[j] += j;
    for (uint32_t i = 0; i < count; i += WORDS) {
        VW v[4] = {start + i, c1, c2, c3};
        PHILOX_ROUNDS(VW, mul_words, v, (uint32_t)t->step->seed, (uint32_t)(t->step->seed >> 32));
        const VW first = (v[0] & low) | v[1] << 32, second = (v[2] & low) | v[3] << 32;
        for (uint32_t j = 0; j < WORDS; j++, bits += 4) {
            bits[0] = (uint32_t)first[j];
            bits[1] = (uint32_t)(first[j] >> 32);
            bits[2] = (uint32_t)second[j];
            bits[3] = (uint32_t)(second[j] >> 32);
        }
    }
}

/* x (rows, n) -> out (rows, n) = x / (1 - rate) where kept, else 0; out may be x. Element e of a sample is
 * kept by lane e % 4 of the counter (e / 4, sample, epoch, key). */
static void k_dropout(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const uint32_t limit = (uint32_t)ceil(t->attr[0] * 0x1p24);   /* kept: 24 random bits reach it */
    const REAL scale = (REAL)(1 / (1 - t->attr[0]));
    _Alignas(FNN_ALIGN) uint32_t bits[DROP * 4];
    for (int64_t r = lo; r < hi; r++) {
        const REAL *x = (const REAL *)in->p + r * in->ld;
        REAL *out = (REAL *)to->p + r * to->ld;
        const int64_t sample = t->step->sample[r / to->lead], row = r % to->lead * to->cols;
        for (int64_t c = 0; c < to->cols;) {
            const int64_t skip = (row + c) % 4, room = DROP * 4 - skip;
            const int64_t n = to->cols - c < room ? to->cols - c : room;
            drop_bits(t, sample, (uint32_t)((row + c) / 4), (uint32_t)((skip + n + 3) / 4), bits);
#pragma GCC ivdep
            for (int64_t i = 0; i < n; i++) out[c + i] = bits[skip + i] >> 8 >= limit ? x[c + i] * scale : 0;
            c += n;
        }
    }
}
