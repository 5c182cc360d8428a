/* Normalisation: over the last dimension of each row, and moments of columns over all rows of a batch. Means
 * come first and deviations from them second, so a mean far from zero costs no digits.
 */

/* total = the sum of `term` over n contiguous elements, four vectors side by side. The term is a V at place
 * i, read by LOADV; beyond the end it does not count. */
#define SUM_VECTORS(total, n, i, term) \
    do { \
        V sum_[4] = {{0}}; \
        int64_t i = 0; \
        const int64_t n_ = (n); \
        for (; i + 4 * VL <= n_;) { \
            const int PART_ = VL, left_ = VL; \
            (void)left_; \
            _Pragma("GCC unroll 4") \
            for (int j_ = 0; j_ < 4; j_++, i += VL) sum_[j_] += (term); \
        } \
        for (; i + VL <= n_; i += VL) { \
            const int PART_ = VL, left_ = VL; \
            (void)left_; \
            sum_[0] += (term); \
        } \
        if (i < n_) { \
            const int PART_ = 0, left_ = (int)(n_ - i); \
            sum_[0] += v_where(v_first_lanes(left_), (term)); \
        } \
        (total) = v_sum((sum_[0] + sum_[1]) + (sum_[2] + sum_[3])); \
    } while (0)

INLINE V v_squared(V x) { return x * x; }

/* x (rows, n) -> y (rows, n) = (x - mean) / sqrt(variance + epsilon), scale (rows, 1) = 1 / sqrt(variance +
 * epsilon); rows [lo, hi) */
static void k_layer_norm(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t n = t->in[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *x = (const REAL *)t->in[0].p + r * t->in[0].ld;
        REAL *y = (REAL *)t->out[0].p + r * t->out[0].ld;
        REAL sum, squares;
        SUM_VECTORS(sum, n, i, LOADV(x + i));
        const V mean = v_set1(sum / (REAL)n);
        SUM_VECTORS(squares, n, i, v_squared(LOADV(x + i) - mean));
        const REAL scale = (REAL)(1 / sqrt((double)squares / (double)n + t->attr[0]));
        EACH_VECTOR(n, i, { STOREV(y + i, (LOADV(x + i) - mean) * scale); });
        ((REAL *)t->out[1].p)[r * t->out[1].ld] = scale;
    }
}

/* dy (rows, n), y (rows, n), scale (rows, 1) -> dx (rows, n) = scale (dy - mean(dy) - y mean(dy y)); rows
 * [lo, hi) */
static void k_layer_norm_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t n = t->in[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *dy = (const REAL *)t->in[0].p + r * t->in[0].ld;
        const REAL *y = (const REAL *)t->in[1].p + r * t->in[1].ld;
        const REAL scale = ((const REAL *)t->in[2].p)[r * t->in[2].ld];
        REAL *dx = (REAL *)t->out[0].p + r * t->out[0].ld;
        REAL sum, product;
        SUM_VECTORS(sum, n, i, LOADV(dy + i));
        SUM_VECTORS(product, n, i, LOADV(dy + i) * LOADV(y + i));
        const V mean = v_set1(sum / (REAL)n), slope = v_set1(-product / (REAL)n);
        EACH_VECTOR(n, i, { STOREV(dx + i, v_fma(slope, LOADV(y + i), LOADV(dy + i) - mean) * scale); });
    }
}

enum {
    STRIP = 8,                       /* vectors of columns side by side */
    SUMMED = 64                      /* rows that are summed before they join the total */
};

/* total (count vectors) = sum over rows of x, or of (x - mean)^2 where mean is given; `left` columns count */
INLINE void sum_strip(const int count, const REAL *x, int64_t rows, int64_t ld, int64_t left, const V *mean,
                      V *total) {
    for (int j = 0; j < count; j++) total[j] = (V){0};
    for (int64_t first = 0; first < rows; first += SUMMED) {
        const int64_t last = first + SUMMED < rows ? first + SUMMED : rows;
        V sum[STRIP] = {{0}};
        for (int64_t r = first; r < last; r++)
#pragma GCC unroll 8
            for (int j = 0; j < count; j++) {
                const REAL *at = x + r * ld + j * VL;
                const V v = count == STRIP || left >= VL ? v_load(at) : v_loadn(at, (int)left);
                sum[j] = mean ? v_fma(v - mean[j], v - mean[j], sum[j]) : sum[j] + v;
            }
        for (int j = 0; j < count; j++) total[j] += sum[j];
    }
}

/* x (rows, n) -> columns [0, count vectors) of mean, variance (n) */
INLINE void moments_strip(const int count, const REAL *x, int64_t rows, int64_t ld, int64_t left, REAL *mean,
                          REAL *variance) {
    V sum[STRIP], middle[STRIP];
    sum_strip(count, x, rows, ld, left, NULL, sum);
    for (int j = 0; j < count; j++) middle[j] = sum[j] / (REAL)rows;
    sum_strip(count, x, rows, ld, left, middle, sum);
    for (int j = 0; j < count; j++) {
        const V v = sum[j] / (REAL)rows;
        if (count == STRIP || left >= VL) {
            v_store(mean + j * VL, middle[j]);
            v_store(variance + j * VL, v);
        } else {
            v_storen(mean, middle[j], (int)left);
            v_storen(variance, v, (int)left);
        }
    }
}

/* x (rows, n), all rows of the batch -> columns [lo, hi) of mean (n), variance (n) of the population. A
 * column's sums are the same whatever the range. */
static void k_batch_moments(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t rows = t->step->rows * t->in[0].lead, ld = t->in[0].ld;
    const REAL *x = t->in[0].p;
    REAL *mean = t->out[0].p, *variance = t->out[1].p;
    int64_t c = lo;
    for (; c + STRIP * VL <= hi; c += STRIP * VL)
        moments_strip(STRIP, x + c, rows, ld, STRIP * VL, mean + c, variance + c);
    for (; c < hi; c += VL) moments_strip(1, x + c, rows, ld, hi - c, mean + c, variance + c);
}

/* d mean (n), d variance (n), x (rows, n), mean (n) -> rows [lo, hi) of dx (rows, n) = (d mean + 2 d variance
 * (x - mean)) / all rows of the batch */
static void k_batch_moments_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t n = t->out[0].cols;
    const V share = v_set1((REAL)(1 / (double)(t->step->rows * t->out[0].lead)));
    const REAL *by_mean = t->in[0].p, *by_variance = t->in[1].p, *mean = t->in[3].p;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *x = (const REAL *)t->in[2].p + r * t->in[2].ld;
        REAL *dx = (REAL *)t->out[0].p + r * t->out[0].ld;
        EACH_VECTOR(n, i, {
            const V slope = R(2.0) * LOADV(by_variance + i);
            STOREV(dx + i, v_fma(slope, LOADV(x + i) - LOADV(mean + i), LOADV(by_mean + i)) * share);
        });
    }
}
