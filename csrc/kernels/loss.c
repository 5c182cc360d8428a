/* Losses and metrics of each row, and the losses' gradients, for rows [lo, hi) of a prediction (rows, cols).
 *
 *   k_<op>        in[0] prediction p or logits x (rows, cols), in[1] target (rows, cols) or int32 labels
 *                 (rows), out[0] loss (rows); *_logits: out[1] probabilities (rows, cols)
 *   k_<op>_grad   in[0] seed (rows), in[1] p, or of *_logits the probabilities (rows, cols), in[2] target
 *                 or labels, out[0] dp or dx (rows, cols)
 *
 * No output is an input. Loss, seed and labels are contiguous. The seed is the gradient by a row's loss.
 * Formulas are those of Keras 3, with its epsilon; the gradients are the exact derivatives, clipping and
 * normalisation included. A label outside [0, cols) gives NaN.
 */

#define EPSILON ((REAL)1e-7)
#define PROBABILITY_MAX ((REAL)(1 - 1e-7))
INLINE V clip_probability(V p) { return v_min(v_set1(PROBABILITY_MAX), v_max(v_set1(EPSILON), p)); }
INLINE VI unclipped(V p) { return (p >= v_set1(EPSILON)) & (p <= v_set1(PROBABILITY_MAX)); }

INLINE REAL *rows_of(const fnn_view *v) { return (REAL *)v->p; } /* (rows), contiguous */
/* The label of row r, -1 where it names no column. */
INLINE int64_t label_of(const fnn_view *labels, int64_t r, int64_t cols) {
    int64_t label = ((const int32_t *)labels->p)[r];
    return label < cols && label >= 0 ? label : -1;
}
INLINE bool is_column(const fnn_view *v) { return v->cols == 1 && v->ld == 1; }

/* ---- means over the columns of a function of (p, t) ---- */

/* k_<op>: loss = mean of an expression in p, t and the attribute a. A column is treated as one run, to the
 * same bits. */
#define MEAN(op, ...)                                                                              \
    static void k_##op(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {              \
        (void)scratch;                                                                             \
        const V a = v_set1((REAL)task->attr[0]);                                                   \
        (void)a;                                                                                   \
        const fnn_view *in = task->in;                                                             \
        REAL *loss = rows_of(&task->out[0]);                                                       \
        if (is_column(&in[0]) && is_column(&in[1])) {                                              \
            const REAL *pp = AT(in[0], lo), *tp = AT(in[1], lo);                                   \
            EACH_VECTOR(hi - lo, i, {                                                              \
                const V p = LOADV(pp + i);                                                         \
                const V t = LOADV(tp + i);                                                         \
                STOREV(loss + lo + i, (__VA_ARGS__));                                              \
            });                                                                                    \
            return;                                                                                \
        }                                                                                          \
        for (int64_t r = lo; r < hi; r++) {                                                        \
            const REAL *pp = AT(in[0], r), *tp = AT(in[1], r);                                     \
            V sum = ZERO;                                                                          \
            EACH_VECTOR(in[0].cols, i, {                                                           \
                const V p = LOADV(pp + i);                                                         \
                const V t = LOADV(tp + i);                                                         \
                const V f = (__VA_ARGS__);                                                         \
                sum += PART_ == VL ? f : v_where(v_first_lanes(left_), f);                         \
            });                                                                                    \
            loss[r] = v_sum(sum) / (REAL)in[0].cols;                                               \
        }                                                                                          \
    }
/* k_<op>_grad: dp = seed / cols times an expression in p, t and a. */
#define MEAN_GRAD(op, ...)                                                                         \
    static void k_##op##_grad(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {       \
        (void)scratch;                                                                             \
        const V a = v_set1((REAL)task->attr[0]);                                                   \
        (void)a;                                                                                   \
        const fnn_view *in = task->in, *out = &task->out[0];                                       \
        const REAL *seed = rows_of(&in[0]);                                                        \
        if (is_column(&in[1]) && is_column(&in[2]) && is_column(out)) {                            \
            const REAL *pp = AT(in[1], lo), *tp = AT(in[2], lo);                                   \
            REAL *dp = AT(*out, lo);                                                               \
            EACH_VECTOR(hi - lo, i, {                                                              \
                const V p = LOADV(pp + i);                                                         \
                const V t = LOADV(tp + i);                                                         \
                STOREV(dp + i, LOADV(seed + lo + i) * (__VA_ARGS__));                              \
            });                                                                                    \
            return;                                                                                \
        }                                                                                          \
        for (int64_t r = lo; r < hi; r++) {                                                        \
            const REAL *pp = AT(in[1], r), *tp = AT(in[2], r);                                     \
            REAL *dp = AT(*out, r);                                                                \
            const V scale = v_set1(seed[r] / (REAL)out->cols);                                     \
            EACH_VECTOR(out->cols, i, {                                                            \
                const V p = LOADV(pp + i);                                                         \
                const V t = LOADV(tp + i);                                                         \
                STOREV(dp + i, scale * (__VA_ARGS__));                                             \
            });                                                                                    \
        }                                                                                          \
    }

MEAN(squared_error, (p - t) * (p - t))
MEAN_GRAD(squared_error, R(2.0) * (p - t))

MEAN(absolute_error, v_abs(p - t))
MEAN_GRAD(absolute_error, v_where(p > t, ONE) - v_where(p < t, ONE))

/* e^2 / 2 where |e| <= a, a |e| - a^2 / 2 beyond (Huber 1964) */
INLINE V huber(V e, V a) {
    V size = v_abs(e);
    return v_select(size <= a, R(0.5) * e * e, a * (size - R(0.5) * a));
}
MEAN(huber, huber(p - t, a))
MEAN_GRAD(huber, v_min(a, v_max(-a, p - t)))

/* -(t log(p) + (1 - t) log(1 - p)) with p clipped */
INLINE V cross_entropy(V p, V t) {
    V c = clip_probability(p);
    return -v_fma(t, v_log(c), (ONE - t) * v_log(ONE - c));
}
MEAN(bce, cross_entropy(p, t))
MEAN_GRAD(bce, v_where(unclipped(p), (p - t) / (p * (ONE - p))))

MEAN_GRAD(bce_logits, p - t)

MEAN(binary_accuracy, v_where(v_where(p > a, ONE) == t, ONE))
#undef MEAN
#undef MEAN_GRAD

/* Mean of log(1 + exp(x)) - x t; the probabilities share its exponential. */
INLINE V cross_entropy_logits(V x, V t, V *probability) {
    V e = v_exp_negative(-v_abs(x));
    *probability = v_sigmoid_from(x, e);
    return v_fma(-x, t, v_max(ZERO, x)) + v_log1p_finite(e);
}
static void k_bce_logits(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in, *out = task->out;
    REAL *loss = rows_of(&out[0]);
    V probability;
    if (is_column(&in[0]) && is_column(&in[1]) && is_column(&out[1])) {
        const REAL *x = AT(in[0], lo), *t = AT(in[1], lo);
        REAL *q = AT(out[1], lo);
        EACH_VECTOR(hi - lo, i, {
            STOREV(loss + lo + i, cross_entropy_logits(LOADV(x + i), LOADV(t + i), &probability));
            STOREV(q + i, probability);
        });
        return;
    }
    for (int64_t r = lo; r < hi; r++) {
        const REAL *x = AT(in[0], r), *t = AT(in[1], r);
        REAL *q = AT(out[1], r);
        V sum = ZERO;
        EACH_VECTOR(in[0].cols, i, {
            V f = cross_entropy_logits(LOADV(x + i), LOADV(t + i), &probability);
            sum += PART_ == VL ? f : v_where(v_first_lanes(left_), f);
            STOREV(q + i, probability);
        });
        loss[r] = v_sum(sum) / (REAL)in[0].cols;
    }
}

/* ---- crossentropies over classes ---- */

/* -sum t log(clip(q)), q = p / sum(p) */
static void k_cce(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    REAL *loss = rows_of(&task->out[0]);
    const int64_t cols = in[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *p = AT(in[0], r), *t = AT(in[1], r);
        const REAL total = row_total(p, cols);
        V sum = ZERO;
        EACH_VECTOR(cols, i, {
            V q = clip_probability(LOADV(p + i) / total);
            sum = v_fma(LOADV(t + i), v_log(q), sum);
        });
        loss[r] = -v_sum(sum);
    }
}
/* With g = -t / q, 0 where q is clipped: dp = seed (g - sum(g q)) / sum(p). */
static void k_cce_grad(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    const REAL *seed = rows_of(&in[0]);
    const int64_t cols = in[1].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *p = AT(in[1], r), *t = AT(in[2], r);
        REAL *dp = AT(task->out[0], r);
        const REAL total = row_total(p, cols);
        V sum = ZERO;
        EACH_VECTOR(cols, i, { sum += v_where(unclipped(LOADV(p + i) / total), LOADV(t + i)); });
        const V kept = v_set1(v_sum(sum)), scale = v_set1(seed[r] / total);
        EACH_VECTOR(cols, i, {
            V q = LOADV(p + i) / total;
            STOREV(dp + i, scale * (kept - v_where(unclipped(q), LOADV(t + i) / q)));
        });
    }
}

/* As cce, t being 1 at the label. The labels' shares wait in `loss` for one vectorised logarithm. */
static void k_scce(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    REAL *loss = rows_of(&task->out[0]);
    const int64_t cols = in[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *p = AT(in[0], r);
        const int64_t label = label_of(&in[1], r, cols);
        loss[r] = label < 0 ? (REAL)NAN : p[label] / row_total(p, cols);
    }
    EACH_VECTOR(hi - lo, i, { STOREV(loss + lo + i, -v_log(clip_probability(LOADV(loss + lo + i)))); });
}
static void k_scce_grad(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    const REAL *seed = rows_of(&in[0]);
    const int64_t cols = in[1].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *p = AT(in[1], r);
        REAL *dp = AT(task->out[0], r);
        const int64_t label = label_of(&in[2], r, cols);
        const REAL total = row_total(p, cols), q = label < 0 ? (REAL)NAN : p[label] / total;
        const REAL scale = q < EPSILON || q > PROBABILITY_MAX ? 0 : label < 0 ? q : seed[r] / total;
        EACH_VECTOR(cols, i, { STOREV(dp + i, v_set1(scale)); });
        if (label >= 0 && scale != 0) dp[label] = scale * (R(1.0) - R(1.0) / q);
    }
}

/* sum t (log(sum(exp(x - top))) - (x - top)) */
static void k_cce_logits(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    REAL *loss = rows_of(&task->out[0]);
    const fnn_view *q = &task->out[1];
    const int64_t cols = in[0].cols;
    int64_t r = lo;
    for (; cols <= GROUP_COLS && r + VL <= hi; r += VL) {
        group g;
        V part[VL];
        softmax_group(PLAIN, &g, AT(in[0], r), in[0].ld, AT(*q, r), q->ld, cols);
        const REAL *t = AT(in[1], r);
        const V log_sum = v_log(g.sum);
        for (int i = 0; i < VL; i++) part[i] = ZERO;
        for (int64_t c = 0; c < cols; c++)
            part[c % VL] = v_fma(across_rows(t + c, in[1].ld), log_sum - g.x[c], part[c % VL]);
        v_store(loss + r, sum_of_parts(part));
    }
    for (; r < hi; r++) {
        const REAL *x = AT(in[0], r), *t = AT(in[1], r);
        const row_sums s = softmax_line(PLAIN, x, AT(*q, r), cols);
        const REAL log_sum = log_of(s.sum);
        V sum = ZERO;
        EACH_VECTOR(cols, i, { sum = v_fma(LOADV(t + i), log_sum - (LOADV(x + i) - s.top), sum); });
        loss[r] = v_sum(sum);
    }
}
/* dx = seed (q sum(t) - t) */
static void k_cce_logits_grad(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    const REAL *seed = rows_of(&in[0]);
    const int64_t cols = in[1].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *q = AT(in[1], r), *t = AT(in[2], r);
        REAL *dx = AT(task->out[0], r);
        const V total = v_set1(row_total(t, cols)), scale = v_set1(seed[r]);
        EACH_VECTOR(cols, i, { STOREV(dx + i, scale * v_fma(LOADV(q + i), total, -LOADV(t + i))); });
    }
}

/* As cce_logits; the labels' logits wait in `loss`. */
static void k_scce_logits(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    REAL *loss = rows_of(&task->out[0]);
    const fnn_view *q = &task->out[1];
    const int64_t cols = in[0].cols;
    for (int64_t r = lo; r < hi; r++) {
        const int64_t label = label_of(&in[1], r, cols);
        loss[r] = label < 0 ? (REAL)NAN : AT(in[0], r)[label];
    }
    int64_t r = lo;
    for (; cols <= GROUP_COLS && r + VL <= hi; r += VL) {
        group g;
        softmax_group(PLAIN, &g, AT(in[0], r), in[0].ld, AT(*q, r), q->ld, cols);
        v_store(loss + r, v_log(g.sum) - (v_load(loss + r) - g.top));
    }
    for (; r < hi; r++) {
        const row_sums s = softmax_line(PLAIN, AT(in[0], r), AT(*q, r), cols);
        loss[r] = log_of(s.sum) - (loss[r] - s.top);
    }
}
static void k_scce_logits_grad(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    const int64_t cols = in[1].cols;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *q = AT(in[1], r);
        REAL *dx = AT(task->out[0], r);
        const int64_t label = label_of(&in[2], r, cols);
        const REAL seed = label < 0 ? (REAL)NAN : rows_of(&in[0])[r], at_label = label < 0 ? 0 : q[label];
        EACH_VECTOR(cols, i, { STOREV(dx + i, seed * LOADV(q + i)); });
        if (label >= 0) dx[label] = seed * (at_label - R(1.0));
    }
}

/* ---- accuracies: 1 where the largest elements (the first of equals) agree ---- */

/* x (n) */
INLINE int64_t row_argmax(const REAL *x, int64_t n) {
    const V top = v_set1(row_top(x, n));
    const VI none = v_set1i((INT)((UINT)~(UINT)0 >> 1));
    VI best = none;
    VI at = v_lanes();
    EACH_VECTOR(n, i, {
        VI hit = (LOADV(x + i) == top) & (best == none);
        best = (hit & at) | (~hit & best);
        at += VL;
    });
    INT first = best[0];
    for (int i = 1; i < VL; i++) first = best[i] < first ? best[i] : first;
    return first < n ? first : 0;
}

static void k_categorical_accuracy(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    REAL *loss = rows_of(&task->out[0]);
    for (int64_t r = lo; r < hi; r++)
        loss[r] = row_argmax(AT(in[0], r), in[0].cols) == row_argmax(AT(in[1], r), in[0].cols);
}

static void k_sparse_categorical_accuracy(const fnn_task *task, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = task->in;
    REAL *loss = rows_of(&task->out[0]);
    for (int64_t r = lo; r < hi; r++)
        loss[r] = row_argmax(AT(in[0], r), in[0].cols) == ((const int32_t *)in[1].p)[r];
}

#undef ZERO
#undef ONE
#undef AT
