/* Pictures moved by a linear map, and samples mixed in pairs. */

/* ---- warp: x (samples, h, w, c), m (samples, 6); t->outer is h ---- */

enum { FILL_CONSTANT, FILL_NEAREST, FILL_REFLECT, FILL_WRAP };
enum { LOCATED = 128 };              /* pixels of a row located at a time */

/* Where pixels of an output row lie in x: the pixel above and left, and how far from it. */
typedef struct { int32_t row[LOCATED], col[LOCATED]; REAL down[LOCATED], right[LOCATED]; } places;

/* Far outside every picture, so that any number, NaN too, becomes an index. */
INLINE double bounded(double x) { return x > -0x1p30 ? x < 0x1p30 ? x : 0x1p30 : -0x1p30; }

/* Pixels (row, first + i), i < n: at (m0 row + m1 col + m2, m3 row + m4 col + m5), in double. */
INLINE void locate(const bool nearest, const REAL *m, int64_t row, int64_t first, int64_t n, places *at) {
    const double down = (double)m[0] * (double)row, right = (double)m[3] * (double)row;
    const double by_col[2] = {(double)m[1], (double)m[4]}, shift[2] = {(double)m[2], (double)m[5]};
    const int32_t from = (int32_t)first;
    for (int i = 0; i < (int)n; i++) {
        const double col = (double)(from + i);
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
static int64_t filled(int mode, int64_t i, int64_t n) {
    if (i >= 0 && i < n) return i;
    if (mode == FILL_CONSTANT) return -1;
    if (mode == FILL_NEAREST) return i < 0 ? 0 : n - 1;
    const int64_t period = mode == FILL_REFLECT ? 2 * n : n;
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - 1 - i;
}

typedef struct { int mode; int64_t h, w, c; } picture;

/* Offset of a pixel in its sample, -1 for the constant. */
static int64_t pixel_at(const picture *p, int64_t row, int64_t col) {
    const int64_t r = filled(p->mode, row, p->h), c = filled(p->mode, col, p->w);
    return r < 0 || c < 0 ? -1 : (r * p->w + c) * p->c;
}

/* Offsets of the four pixels round a place: above left, above right, below left, below right. */
INLINE void pixels_round(const picture *p, const int64_t channels, int64_t row, int64_t col,
                         int64_t *offset) {
    if ((uint64_t)row < (uint64_t)(p->h - 1) && (uint64_t)col < (uint64_t)(p->w - 1)) {
        offset[0] = (row * p->w + col) * channels;
        offset[1] = offset[0] + channels;
        offset[2] = offset[0] + p->w * channels;
        offset[3] = offset[2] + channels;
    } else {
        for (int k = 0; k < 4; k++) offset[k] = pixel_at(p, row + k / 2, col + k % 2);
    }
}

/* x -> out, pixel by pixel: rows first, then between them */
INLINE void warp_row(const bool nearest, const int64_t channels, const picture *p, const places *at,
                     int64_t n, const REAL *x, REAL fill, REAL *out) {
    for (int64_t i = 0; i < n; i++, out += channels) {
        if (nearest) {
            const int64_t offset = pixel_at(p, at->row[i], at->col[i]);
            for (int64_t c = 0; c < channels; c++) out[c] = offset < 0 ? fill : x[offset + c];
            continue;
        }
        const REAL down = at->down[i], right = at->right[i];
        int64_t from[4];
        pixels_round(p, channels, at->row[i], at->col[i], from);
        if ((from[0] | from[1] | from[2] | from[3]) >= 0) {
            const REAL *a = x + from[0], *b = x + from[1], *d = x + from[2], *e = x + from[3];
            for (int64_t c = 0; c < channels; c++)
                out[c] = (1 - down) * ((1 - right) * a[c] + right * b[c]) +
                         down * ((1 - right) * d[c] + right * e[c]);
        } else {
            for (int64_t c = 0; c < channels; c++) {
                REAL v[4];
                for (int k = 0; k < 4; k++) v[k] = from[k] < 0 ? fill : x[from[k] + c];
                out[c] = (1 - down) * ((1 - right) * v[0] + right * v[1]) +
                         down * ((1 - right) * v[2] + right * v[3]);
            }
        }
    }
}

/* dy -> added to dx, in the order of the output's pixels */
INLINE void unwarp_row(const bool nearest, const int64_t channels, const picture *p, const places *at,
                       int64_t n, const REAL *dy, REAL *dx) {
    for (int64_t i = 0; i < n; i++, dy += channels) {
        int64_t to[4] = {0};
        REAL weight[4] = {1, 0, 0, 0};
        if (nearest) to[0] = pixel_at(p, at->row[i], at->col[i]);
        else {
            const REAL down = at->down[i], right = at->right[i];
            pixels_round(p, channels, at->row[i], at->col[i], to);
            weight[0] = (1 - down) * (1 - right);
            weight[1] = (1 - down) * right;
            weight[2] = down * (1 - right);
            weight[3] = down * right;
        }
        for (int k = 0; k < (nearest ? 1 : 4); k++) {
            if (to[k] < 0) continue;
            for (int64_t c = 0; c < channels; c++) dx[to[k] + c] += weight[k] * dy[c];
        }
    }
}

/* samples [lo, hi): x -> out, or backwards dy -> dx */
INLINE void warp(const bool nearest, const bool backward, const int64_t cols, const fnn_task *t, int64_t lo,
                 int64_t hi) {
    const int64_t size = t->out[0].lead * cols;
    const picture p = {(int)t->attr[0], t->outer, t->out[0].lead / t->outer, cols};
    places at;
    for (int64_t s = lo; s < hi; s++) {
        const REAL *from = (const REAL *)t->in[0].p + s * size;
        const REAL *m = (const REAL *)t->in[1].p + s * t->in[1].ld;
        REAL *to = (REAL *)t->out[0].p + s * size;
        if (backward) memset(to, 0, (size_t)size * sizeof(REAL));
        for (int64_t row = 0; row < p.h; row++)
            for (int64_t first = 0, n; first < p.w; first += n) {
                const int64_t here = (row * p.w + first) * cols;
                n = p.w - first < LOCATED ? p.w - first : LOCATED;
                locate(nearest, m, row, first, n, &at);
                if (backward) unwarp_row(nearest, cols, &p, &at, n, from + here, to);
                else warp_row(nearest, cols, &p, &at, n, from, (REAL)t->attr[1], to + here);
            }
    }
}

/* Grey pictures, the many of one channel, have loops of their own. */
#define WARP_AS(backward) \
    do { \
        const int64_t cols_ = t->out[0].cols; \
        if (t->attr[2] != 0) warp(true, backward, cols_, t, lo, hi); \
        else if (cols_ == 1) warp(false, backward, 1, t, lo, hi); \
        else warp(false, backward, cols_, t, lo, hi); \
    } while (0)

/* x, m -> samples [lo, hi) of out (samples, h, w, c) */
static void k_warp(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    WARP_AS(false);
}

/* dy, m -> samples [lo, hi) of dx (samples, h, w, c) */
static void k_warp_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    WARP_AS(true);
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
    for (uint32_t attempt = 0; attempt < 1000; attempt++) {   /* at least every second one is good */
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
    return 0.5;                      /* an alpha beyond all numbers */
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
