/* softmax and log_softmax over the last dimension, for rows [lo, hi) of views (rows, cols).
 *
 *   k_<op>       in[0] x, out[0] y
 *   k_<op>_grad  in[0] dy, in[1] y, out[0] dx
 *
 * out[0] may be in[0]. The largest element is subtracted first, so exp cannot overflow; a row's result
 * depends on that row alone, and its sums have a fixed order.
 */

/* What a row's softmax rests on: its largest element and the sum of exp(x - top). */
typedef struct { REAL top, sum; } row_sums;

/* a (n), b (n) */
INLINE REAL row_dot(const REAL *a, const REAL *b, int64_t n) {
    V sum = ZERO;
    EACH_VECTOR(n, i, { sum = v_fma(LOADV(a + i), LOADV(b + i), sum); });
    return v_sum(sum);
}
INLINE REAL row_total(const REAL *a, int64_t n) {
    V sum = ZERO;
    EACH_VECTOR(n, i, { sum += LOADV(a + i); });
    return v_sum(sum);
}
INLINE REAL row_top(const REAL *x, int64_t n) {
    V top = -V_INF;
    EACH_VECTOR(n, i, {
        V u = LOADV(x + i);
        if (PART_ != VL) u = v_select(v_first_lanes(left_), u, -V_INF);
        top = v_max(top, u);
    });
    return v_largest(top);
}
INLINE REAL log_of(REAL x) { return v_log(v_set1(x))[0]; }

/* What becomes of x in a row of softmax (y = exp(x - top) / sum) and of log_softmax (y = x - top -
 * log(sum)). */
enum { PLAIN, LOGARITHMIC };

/* x (cols), y (cols), held in `count` vectors: cols in ((count - 1) VL, count VL]. */
enum { HELD = 4 };
INLINE row_sums softmax_held(const int mode, const int count, const REAL *x, REAL *y, int64_t cols) {
    const int left = (int)(cols - (count - 1) * VL);
    V u[HELD], e[HELD];
    for (int i = 0; i < count - 1; i++) u[i] = v_load(x + i * VL);
    u[count - 1] = v_select(v_first_lanes(left), v_loadn(x + (count - 1) * VL, left), -V_INF);
    V top = u[0];
    for (int i = 1; i < count; i++) top = v_max(top, u[i]);
    row_sums s = {.top = v_largest(top)};
    V sum = ZERO;
    for (int i = 0; i < count; i++) {
        u[i] -= s.top;
        e[i] = v_exp_negative(u[i]);
        sum += e[i];
    }
    s.sum = v_sum(sum);
    V factor = v_set1(R(1.0) / s.sum), shift = mode == LOGARITHMIC ? v_set1(log_of(s.sum)) : ZERO;
    for (int i = 0; i < count; i++) {
        V v = mode == LOGARITHMIC ? u[i] - shift : e[i] * factor;
        if (i < count - 1) v_store(y + i * VL, v);
        else v_storen(y + i * VL, v, left);
    }
    return s;
}

/* x (cols), y (cols) */
INLINE row_sums softmax_long(const int mode, const REAL *x, REAL *y, int64_t cols) {
    row_sums s = {.top = row_top(x, cols)};
    V sum = ZERO;
    EACH_VECTOR(cols, i, {
        V e = v_exp_negative(LOADV(x + i) - s.top);
        sum += PART_ == VL ? e : v_where(v_first_lanes(left_), e);
        if (mode == PLAIN) STOREV(y + i, e);
    });
    s.sum = v_sum(sum);
    V factor = v_set1(R(1.0) / s.sum), shift = mode == LOGARITHMIC ? v_set1(log_of(s.sum)) : ZERO;
    EACH_VECTOR(cols, i, {
        V v = mode == LOGARITHMIC ? LOADV(x + i) - s.top - shift : LOADV(y + i) * factor;
        STOREV(y + i, v);
    });
    return s;
}

OUTLINE row_sums softmax_line(const int mode, const REAL *x, REAL *y, int64_t cols) {
    if (cols <= VL) return softmax_held(mode, 1, x, y, cols);
    if (cols <= 2 * VL) return softmax_held(mode, 2, x, y, cols);
    if (cols <= 3 * VL) return softmax_held(mode, 3, x, y, cols);
    if (cols <= HELD * VL) return softmax_held(mode, HELD, x, y, cols);
    return softmax_long(mode, x, y, cols);
}

/* VL rows of few columns side by side, a row in each lane: no sums across lanes, no lane idle. All sums
 * are added in the order of softmax_line's, so a row gives the same bits either way. */
enum { GROUP_COLS = 16 };
typedef struct { V top, sum, x[GROUP_COLS]; } group; /* x: less top */

/* Element c of VL rows, ld apart. */
INLINE V across_rows(const REAL *p, int64_t ld) {
    V x;
    for (int r = 0; r < VL; r++) x[r] = p[r * ld];
    return x;
}
INLINE void store_across_rows(REAL *p, int64_t ld, V x) {
    for (int r = 0; r < VL; r++) p[r * ld] = x[r];
}
/* The sum of VL partial sums in the order of v_sum. */
INLINE V sum_of_parts(V *part) {
    for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

/* x (VL, cols) ld ldx, y (VL, cols) ld ldy */
OUTLINE void softmax_group(const int mode, group *g, const REAL *x, int64_t ldx, REAL *y, int64_t ldy,
                          int64_t cols) {
    V e[GROUP_COLS], part[VL];
    g->top = -V_INF;
    for (int64_t c = 0; c < cols; c++) {
        g->x[c] = across_rows(x + c, ldx);
        g->top = v_max(g->top, g->x[c]);
    }
    for (int i = 0; i < VL; i++) part[i] = ZERO;
    for (int64_t c = 0; c < cols; c++) {
        g->x[c] -= g->top;
        e[c] = v_exp_negative(g->x[c]);
        part[c % VL] += e[c];
    }
    g->sum = sum_of_parts(part);
    const V factor = R(1.0) / g->sum, shift = mode == LOGARITHMIC ? v_log(g->sum) : ZERO;
    for (int64_t c = 0; c < cols; c++)
        store_across_rows(y + c, ldy, mode == LOGARITHMIC ? g->x[c] - shift : e[c] * factor);
}

#define AT(view, r) ((REAL *)(view).p + (r) * (view).ld) /* row r of a view */

INLINE void softmax_rows(const int mode, const fnn_task *t, int64_t lo, int64_t hi) {
    const fnn_view *x = &t->in[0], *y = &t->out[0];
    int64_t r = lo;
    group g;
    for (; y->cols <= GROUP_COLS && r + VL <= hi; r += VL)
        softmax_group(mode, &g, AT(*x, r), x->ld, AT(*y, r), y->ld, y->cols);
    for (; r < hi; r++) softmax_line(mode, AT(*x, r), AT(*y, r), y->cols);
}
static void k_softmax(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    softmax_rows(PLAIN, t, lo, hi);
}
static void k_log_softmax(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    softmax_rows(LOGARITHMIC, t, lo, hi);
}

/* dx = y (dy - sum(dy y)) */
static void k_softmax_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t cols = t->out[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *dy = AT(t->in[0], r), *y = AT(t->in[1], r);
        REAL *dx = AT(t->out[0], r);
        V sum = v_set1(row_dot(dy, y, cols));
        EACH_VECTOR(cols, i, { STOREV(dx + i, LOADV(y + i) * (LOADV(dy + i) - sum)); });
    }
}

/* dx = dy - exp(y) sum(dy) */
static void k_log_softmax_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t cols = t->out[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *dy = AT(t->in[0], r), *y = AT(t->in[1], r);
        REAL *dx = AT(t->out[0], r);
        V sum = v_set1(row_total(dy, cols));
        EACH_VECTOR(cols, i, { STOREV(dx + i, v_fma(-v_exp_negative(LOADV(y + i)), sum, LOADV(dy + i))); });
    }
}
