/* The perceptron: decisions p = w x + b of linear units, and the rule that moves a unit at its mistakes. Both
 * add in one order, so that what training saw last is what is decided later. */

/* The sum of a[i] b[i] over n contiguous elements. */
INLINE REAL perceptron_dot(const REAL *a, const REAL *b, int64_t n) {
    V s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        s0 = v_fma(v_load(a + i), v_load(b + i), s0);
        s1 = v_fma(v_load(a + i + VL), v_load(b + i + VL), s1);
        s2 = v_fma(v_load(a + i + 2 * VL), v_load(b + i + 2 * VL), s2);
        s3 = v_fma(v_load(a + i + 3 * VL), v_load(b + i + 3 * VL), s3);
    }
    FOR_VECTORS(n - i, k, { s0 = v_fma(LOADV(a + i + k), LOADV(b + i + k), s0); });
    return v_sum((s0 + s1) + (s2 + s3));
}

/* Decisions of rows [0, n): out (n, units). */
static void perceptron_decide(const fnn_perceptron *p, void *out) {
    const REAL *x = p->x, *w = p->weights, *bias = p->bias;
    const int64_t features = p->features, units = p->units;
    for (int64_t r = 0; r < p->n; r++)
        for (int64_t k = 0; k < units; k++)
            ((REAL *)out)[r * units + k] =
                perceptron_dot(w + k * features, x + r * features, features) + (bias ? bias[k] : 0);
}

/* Asks for a row that comes soon: the processor could not guess it. */
INLINE void perceptron_prefetch(const REAL *row, int64_t features) {
    const int64_t bytes = features * (int64_t)sizeof(REAL), most = 1024;
    for (int64_t at = 0; at < bytes && at < most; at += 64) __builtin_prefetch((const char *)row + at);
}

/* Moves weights towards 0 as far as all samples so far ask for, `total`, less what was `done`; none beyond 0. */
INLINE void perceptron_shrink(REAL *w, REAL *done, int64_t features, REAL total) {
    for (int64_t c = 0; c < features; c++) {
        const REAL before = w[c];
        if (before > 0) w[c] = before > total + done[c] ? before - (total + done[c]) : 0;
        else if (before < 0) w[c] = before < done[c] - total ? before + (total - done[c]) : 0;
        done[c] += w[c] - before;
    }
}

/* One epoch, in the order that is there. */
static void perceptron_learn(const fnn_perceptron *p, int64_t *mistakes, double *losses) {
    enum { AHEAD = 8 };
    const REAL *all = p->x;
    REAL *weights = p->weights, *bias = p->bias;
    const int64_t features = p->features, units = p->units, n = p->n;
    const int32_t *labels = p->labels, *order = p->order;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = order ? order[i] : i;
        const REAL *x = all + row * features;
        const int label = labels[row];
        if (order && i + AHEAD < n) perceptron_prefetch(all + order[i + AHEAD] * features, features);
        for (int64_t k = 0; k < units; k++) {
            if (!p->active[k]) continue;
            REAL *w = weights + k * features;
            const REAL decision = perceptron_dot(w, x, features) + (bias ? bias[k] : 0);
            const bool wanted = label == (units == 1 ? 1 : k), said = decision >= 0;
            if (p->l2 > 0) {
                const V kept = v_set1((REAL)(1 - p->l2));
                FOR_VECTORS(features, c, { STOREV(w + c, kept * LOADV(w + c)); });
            }
            if (wanted != said && p->rates[label] != 0) {
                const REAL move = (REAL)(wanted ? p->rates[label] : -p->rates[label]);
                FOR_VECTORS(features, c, { STOREV(w + c, v_fma(v_set1(move), LOADV(x + c), LOADV(w + c))); });
                if (bias) bias[k] += move;
                mistakes[k]++;
                losses[k] += fabs((double)decision);
            }
            if (p->l1 > 0)
                perceptron_shrink(w, (REAL *)p->l1_done + k * features, features,
                                  (REAL)(p->l1_before + p->l1 * (double)(i + 1)));
        }
    }
}
