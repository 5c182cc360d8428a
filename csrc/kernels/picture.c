/* Pictures moved by a linear map, and samples mixed in pairs. */

/* ---- warp: x (samples, h, w, c), m (samples, 6); t->outer is h ---- */

enum { FILL_CONSTANT, FILL_NEAREST, FILL_REFLECT, FILL_WRAP };
enum { LOCATED = 128 };              /* pixels of a row located at a time */

/* Where pixels of an output row lie in x: the pixel above and left, and how far from it. */
typedef struct { int32_t row[LOCATED], col[LOCATED]; REAL down[LOCATED], right[LOCATED]; } places;

/* Far outside every picture, so that any number, NaN too, becomes an index. */
INLINE double bounded(double x) { return x > -0x1p30 ? x < 0x1p30 ? x : 0x1p30 : -0x1p30; }

/* Pixels (row, first + i), i < n: at (m0 row + m1 col + m2, m3 row + m4 col + m5), in double. */
static void locate(const REAL *m, int64_t row, int64_t first, int64_t n, bool nearest, places *at) {
    const double down = (double)m[0] * (double)row, right = (double)m[3] * (double)row;
    const double by_col[2] = {(double)m[1], (double)m[4]}, shift[2] = {(double)m[2], (double)m[5]};
    for (int64_t i = 0; i < n; i++) {
        const double col = (double)(int32_t)(first + i);
        const double y = bounded(down + by_col[0] * col + shift[0]);
        const double x = bounded(right + by_col[1] * col + shift[1]);
        const double low_y = nearest ? rint(y) : floor(y), low_x = nearest ? rint(x) : floor(x);
        at->row[i] = (int32_t)low_y;
        at->col[i] = (int32_t)low_x;
        at->down[i] = (REAL)(y - low_y);
        at->right[i] = (REAL)(x - low_x);
    }
}

/* The index that i stands for among n, -1 for the constant. */
INLINE int64_t filled(int mode, int64_t i, int64_t n) {
    if (i >= 0 && i < n) return i;
    if (mode == FILL_CONSTANT) return -1;
    if (mode == FILL_NEAREST) return i < 0 ? 0 : n - 1;
    const int64_t period = mode == FILL_REFLECT ? 2 * n : n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

/* The pixels between which one lies, up to four: offsets in a sample, -1 for the constant, and weights. */
typedef struct { int64_t offset[4]; REAL weight[4]; } taps;

INLINE int taps_of(const places *at, int64_t i, int mode, bool nearest, int64_t h, int64_t w, int64_t c,
                   taps *t) {
    const int64_t y = at->row[i], x = at->col[i];
    if (nearest) {
        const int64_t row = filled(mode, y, h), col = filled(mode, x, w);
        t->offset[0] = row < 0 || col < 0 ? -1 : (row * w + col) * c;
        t->weight[0] = 1;
        return 1;
    }
    const REAL down = at->down[i], right = at->right[i];
    t->weight[0] = (1 - down) * (1 - right);
    t->weight[1] = (1 - down) * right;
    t->weight[2] = down * (1 - right);
    t->weight[3] = down * right;
    if (y >= 0 && y < h - 1 && x >= 0 && x < w - 1) {
        const int64_t offset = (y * w + x) * c;
        t->offset[0] = offset;
        t->offset[1] = offset + c;
        t->offset[2] = offset + w * c;
        t->offset[3] = offset + (w + 1) * c;
        return 4;
    }
    for (int k = 0; k < 4; k++) {
        const int64_t row = filled(mode, y + k / 2, h), col = filled(mode, x + k % 2, w);
        t->offset[k] = row < 0 || col < 0 ? -1 : (row * w + col) * c;
    }
    return 4;
}

/* Runs the body for every output pixel of sample s: its number p, its taps and their count. */
#define FOR_PIXELS(t, s, p, tap, count, ...) \
    do { \
        const int64_t h_ = (t)->outer, w_ = (t)->out[0].lead / h_, c_ = (t)->out[0].cols; \
        const REAL *m_ = (const REAL *)(t)->in[1].p + (s) * (t)->in[1].ld; \
        const int mode_ = (int)(t)->attr[0]; \
        const bool nearest_ = (t)->attr[2] != 0; \
        places at_; \
        for (int64_t row_ = 0; row_ < h_; row_++) \
            for (int64_t first_ = 0, n_; first_ < w_; first_ += n_) { \
                n_ = w_ - first_ < LOCATED ? w_ - first_ : LOCATED; \
                locate(m_, row_, first_, n_, nearest_, &at_); \
                for (int64_t i_ = 0; i_ < n_; i_++) { \
                    const int64_t p = row_ * w_ + first_ + i_; \
                    taps tap; \
                    const int count = taps_of(&at_, i_, mode_, nearest_, h_, w_, c_, &tap); \
                    __VA_ARGS__ \
                } \
            } \
    } while (0)

/* x, m -> samples [lo, hi) of out (samples, h, w, c) */
static void k_warp(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t cols = t->out[0].cols, size = t->out[0].lead * cols;
    const REAL fill = (REAL)t->attr[1];
    for (int64_t s = lo; s < hi; s++) {
        const REAL *x = (const REAL *)t->in[0].p + s * size;
        REAL *out = (REAL *)t->out[0].p + s * size;
        FOR_PIXELS(t, s, p, tap, count, {
            for (int64_t c = 0; c < cols; c++) {
                REAL sum = 0;
                for (int k = 0; k < count; k++)
                    sum += tap.weight[k] * (tap.offset[k] < 0 ? fill : x[tap.offset[k] + c]);
                out[p * cols + c] = sum;
            }
        });
    }
}

/* dy, m -> samples [lo, hi) of dx (samples, h, w, c): what each pixel gave, in the order of the output */
static void k_warp_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t cols = t->out[0].cols, size = t->out[0].lead * cols;
    for (int64_t s = lo; s < hi; s++) {
        const REAL *dy = (const REAL *)t->in[0].p + s * size;
        REAL *dx = (REAL *)t->out[0].p + s * size;
        memset(dx, 0, (size_t)size * sizeof(REAL));
        FOR_PIXELS(t, s, p, tap, count, {
            for (int k = 0; k < count; k++)
                for (int64_t c = 0; c < cols && tap.offset[k] >= 0; c++)
                    dx[tap.offset[k] + c] += tap.weight[k] * dy[p * cols + c];
        });
    }
}

/* ---- mix ---- */

/* Two uniform numbers in (0, 1): the attempt's counter of one sample. */
static void draw_pair(const fnn_step *step, double key, int64_t sample, uint32_t attempt, double *u) {
    uint32_t v[4] = {attempt, (uint32_t)sample, (uint32_t)step->epoch, draw_key(key, sample)};
    philox_4x32(v, (uint32_t)step->seed, (uint32_t)(step->seed >> 32));
    for (int i = 0; i < 2; i++)
        u[i] = ((double)(((uint64_t)v[2 * i + 1] << 32 | v[2 * i]) >> 12) + 0.5) * 0x1p-52;
}

/* Beta(alpha, alpha). alpha <= 1: Johnk's method (Metrika 8, 1964), in logarithms, for powers of 1 / alpha
 * may be too small. alpha > 1: R. C. H. Cheng's algorithm BB (Communications of the ACM 21, 1978). */
static double draw_beta(const fnn_step *step, double key, int64_t sample, double alpha) {
    const double ratio = 1 / sqrt(alpha), gamma = alpha + sqrt(alpha);
    for (uint32_t attempt = 0;; attempt++) {
        double u[2];
        draw_pair(step, key, sample, attempt, u);
        if (alpha <= 1) {
            const double a = log(u[0]) / alpha, b = log(u[1]) / alpha, most = a > b ? a : b;
            const double sum = most + log(exp(a - most) + exp(b - most));
            if (sum <= 0) return exp(a - sum);
        } else {
            const double v = ratio * log(u[0] / (1 - u[0])), w = alpha * exp(v), z = u[0] * u[0] * u[1];
            const double r = gamma * v - 1.3862943611198906;   /* log 4 */
            const double least = r + 2 * alpha * log(2 * alpha / (alpha + w));
            if (least >= log(z)) return w / (alpha + w);
        }
    }
}

/* x (samples, n) -> samples [lo, hi) of out (samples, n) = l x[s] + (1 - l) x[partner], the partner of s
 * being samples - 1 - s and l drawn with the smaller of both global indices */
static void k_mix(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    for (int64_t s = lo; s < hi; s++) {
        const int64_t partner = t->step->rows - 1 - s, a = t->step->sample[s], b = t->step->sample[partner];
        const double share = s == partner ? 1 : draw_beta(t->step, t->attr[1], a < b ? a : b, t->attr[0]);
        const V own = v_set1((REAL)share), other = v_set1((REAL)(1 - share));
        for (int64_t r = 0; r < in->lead; r++) {
            const REAL *x = (const REAL *)in->p + (s * in->lead + r) * in->ld;
            const REAL *y = (const REAL *)in->p + (partner * in->lead + r) * in->ld;
            REAL *out = (REAL *)to->p + (s * to->lead + r) * to->ld;
            FOR_VECTORS(in->cols, i, { STOREV(out + i, v_fma(own, LOADV(x + i), other * LOADV(y + i))); });
        }
    }
}
/* A pair mixes back with the same share. */
#define k_mix_grad k_mix
