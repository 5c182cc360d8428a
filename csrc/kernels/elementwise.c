/* Bias, sums over rows, penalties, clipping: one pass over memory each. */

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

/* x (rows, n), all rows of the batch -> columns [lo, hi) of out (n), each summed from the first row to the
 * last, then multiplied by `scale` */
INLINE void sum_columns(const fnn_task *t, int64_t lo, int64_t hi, const bool scaled, REAL scale) {
    const int64_t rows = t->step->rows * t->in[0].lead, ld = t->in[0].ld;
    const REAL *x = t->in[0].p;
    REAL *out = t->out[0].p;
    int64_t c = lo;
    for (; c + 4 * VL <= hi; c += 4 * VL) {
        V sum[4] = {{0}};
        for (int64_t r = 0; r < rows; r++)
            for (int j = 0; j < 4; j++) sum[j] += v_load(x + r * ld + c + j * VL);
        for (int j = 0; j < 4; j++) v_store(out + c + j * VL, scaled ? sum[j] * scale : sum[j]);
    }
    FOR_VECTORS(hi - c, i, {
        V sum = {0};
        for (int64_t r = 0; r < rows; r++) sum += LOADV(x + r * ld + c + i);
        STOREV(out + c + i, scaled ? sum * scale : sum);
    });
}
static void k_sum_rows(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    sum_columns(t, lo, hi, false, 1);
}
static void k_mean_rows(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    sum_columns(t, lo, hi, true, (REAL)(1.0 / (double)(t->step->rows * t->in[0].lead)));
}
/* d (n) -> rows [lo, hi) of out (rows, n) = d / rows of the batch */
static void k_mean_rows_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const REAL *d = t->in[0].p;
    const V share = v_set1((REAL)(1.0 / (double)(t->step->rows * to->lead)));
    for (int64_t r = lo; r < hi; r++) {
        REAL *out = (REAL *)to->p + r * to->ld;
        FOR_VECTORS(to->cols, i, { STOREV(out + i, LOADV(d + i) * share); });
    }
}

/* weight (samples) -> rows [lo, hi) of out (rows, n): loss_weight * weight / (samples * elements a sample) */
static void k_loss_seed(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const REAL *weight = t->in[0].p;
    const double scale = t->attr[0] / ((double)t->step->whole * (double)(to->lead * to->cols));
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

/* Are the n numbers from p on finite? The exponent of others is all ones. */
static bool all_finite(const void *p, int64_t n) {
    const REAL *x = p;
    const VI exponent = (VI)v_set1((REAL)INFINITY);
    VI bad = {0};
    FOR_VECTORS(n, i, { bad |= ((VI)LOADV(x + i) & exponent) == exponent; });
    INT any = 0;
    for (int j = 0; j < VL; j++) any |= bad[j];
    return any == 0;
}
