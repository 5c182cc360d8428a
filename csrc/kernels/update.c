/* Optimizer updates with Keras 3's formulas: parameter, moments and gradient of n contiguous elements each.
 * `prepare` turns the attributes, the learning rate and the count of updates into the coefficients of one
 * step.
 *
 * Where gradient and moments are zero, as in a kernel's padding, no update moves a parameter from zero: a
 * denominator that would be 0 (epsilon 0) is lifted to the smallest normal number.
 */

#if REAL_BITS == 32
#define TINY 0x1p-126f
#else
#define TINY 0x1p-1022
#endif
/* The larger one, x where it is NaN. */
INLINE V at_least(REAL floor, V x) { return v_max(v_set1(floor), x); }

/* b to the power n, n >= 0 */
static double power(double b, int64_t n) {
    double result = 1;
    for (; n; n >>= 1, b *= b)
        if (n & 1) result *= b;
    return result;
}

/* ---- SGD ---- */
enum { SGD_LR, SGD_DECAY, SGD_MOMENTUM, SGD_NESTEROV };

static void sgd_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)iteration;
    coef[SGD_LR] = lr;
    coef[SGD_DECAY] = lr * attr[2];
    coef[SGD_MOMENTUM] = attr[0];
    coef[SGD_NESTEROV] = attr[1];
}

INLINE void sgd(const bool momentum, const bool nesterov, const double *coef, REAL *w, REAL *velocity,
                const REAL *g, int64_t n) {
    const V lr = v_set1((REAL)coef[SGD_LR]), decay = v_set1((REAL)-coef[SGD_DECAY]),
            mu = v_set1((REAL)coef[SGD_MOMENTUM]);
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V step = -lr * LOADV(g + i);
        x = v_fma(decay, x, x);
        if (momentum) {
            V v = v_fma(mu, LOADV(velocity + i), step);
            STOREV(velocity + i, v);
            step = nesterov ? v_fma(mu, v, step) : v;
        }
        STOREV(w + i, x + step);
    });
}

static void sgd_flat(const double *coef, void *w, void *s0, void *s1, void *s2, const void *g, int64_t n) {
    (void)s1; (void)s2;
    if (coef[SGD_MOMENTUM] == 0) sgd(false, false, coef, w, NULL, g, n);
    else if (coef[SGD_NESTEROV] == 0) sgd(true, false, coef, w, s0, g, n);
    else sgd(true, true, coef, w, s0, g, n);
}

/* ---- RMSprop: the epsilon stands inside the root ---- */
enum { RMS_LR, RMS_DECAY, RMS_RHO, RMS_REST, RMS_MOMENTUM, RMS_EPSILON, RMS_CENTERED };

static void rmsprop_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)iteration;
    coef[RMS_LR] = lr;
    coef[RMS_DECAY] = lr * attr[4];
    coef[RMS_RHO] = attr[0];
    coef[RMS_REST] = 1 - attr[0];
    coef[RMS_MOMENTUM] = attr[1];
    coef[RMS_EPSILON] = attr[2];
    coef[RMS_CENTERED] = attr[3];
}

INLINE void rmsprop(const bool momentum, const bool centered, const double *coef, REAL *w, REAL *square,
                    REAL *velocity, REAL *mean, const REAL *g, int64_t n) {
    const V lr = v_set1((REAL)coef[RMS_LR]), decay = v_set1((REAL)-coef[RMS_DECAY]),
            rho = v_set1((REAL)coef[RMS_RHO]);
    const V rest = v_set1((REAL)coef[RMS_REST]), mu = v_set1((REAL)coef[RMS_MOMENTUM]);
    const V epsilon = v_set1((REAL)coef[RMS_EPSILON]);
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V d = LOADV(g + i);
        x = v_fma(decay, x, x);
        V v = v_fma(rho, LOADV(square + i), rest * (d * d));
        STOREV(square + i, v);
        if (centered) {
            V a = v_fma(rho, LOADV(mean + i), rest * d);
            STOREV(mean + i, a);
            v = at_least(0, v_fma(-a, a, v));   /* a variance: rounding may leave it below zero */
        }
        V step = lr * d / v_sqrt(at_least(TINY, v + epsilon));
        if (momentum) {
            step = v_fma(mu, LOADV(velocity + i), step);
            STOREV(velocity + i, step);
        }
        STOREV(w + i, x - step);
    });
}

static void rmsprop_flat(const double *coef, void *w, void *s0, void *s1, void *s2, const void *g,
                         int64_t n) {
    const bool momentum = coef[RMS_MOMENTUM] > 0, centered = coef[RMS_CENTERED] != 0;
    if (momentum && centered) rmsprop(true, true, coef, w, s0, s1, s2, g, n);
    else if (momentum) rmsprop(true, false, coef, w, s0, s1, NULL, g, n);
    else if (centered) rmsprop(false, true, coef, w, s0, NULL, s2, g, n);
    else rmsprop(false, false, coef, w, s0, NULL, NULL, g, n);
}

/* ---- Adam: the epsilon stands outside the root, both bias corrections in the step size ---- */
enum { ADAM_STEP, ADAM_DECAY, ADAM_REST_1, ADAM_REST_2, ADAM_EPSILON, ADAM_AMSGRAD };

static void adam_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    coef[ADAM_STEP] = lr * sqrt(1 - power(attr[1], iteration)) / (1 - power(attr[0], iteration));
    coef[ADAM_DECAY] = lr * attr[4];
    coef[ADAM_REST_1] = 1 - attr[0];
    coef[ADAM_REST_2] = 1 - attr[1];
    coef[ADAM_EPSILON] = attr[2];
    coef[ADAM_AMSGRAD] = attr[3];
}

INLINE void adam(const bool amsgrad, const double *coef, REAL *w, REAL *first, REAL *second, REAL *largest,
                 const REAL *g, int64_t n) {
    const V step = v_set1((REAL)coef[ADAM_STEP]), decay = v_set1((REAL)-coef[ADAM_DECAY]);
    const V rest_1 = v_set1((REAL)coef[ADAM_REST_1]), rest_2 = v_set1((REAL)coef[ADAM_REST_2]);
    const V epsilon = v_set1((REAL)coef[ADAM_EPSILON]);
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V d = LOADV(g + i);
        V m = LOADV(first + i);
        V v = LOADV(second + i);
        x = v_fma(decay, x, x);
        m = v_fma(d - m, rest_1, m);
        v = v_fma(v_fma(d, d, -v), rest_2, v);
        STOREV(first + i, m);
        STOREV(second + i, v);
        if (amsgrad) {
            v = v_max(LOADV(largest + i), v);
            STOREV(largest + i, v);
        }
        STOREV(w + i, x - m * step / at_least(TINY, v_sqrt(v) + epsilon));
    });
}

static void adam_flat(const double *coef, void *w, void *s0, void *s1, void *s2, const void *g, int64_t n) {
    if (coef[ADAM_AMSGRAD] == 0) adam(false, coef, w, s0, s1, NULL, g, n);
    else adam(true, coef, w, s0, s1, s2, g, n);
}

/* ---- not fused: parameter t->w, gradient in[1]; elements [lo, hi) ---- */
static void update_range(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    REAL *s[FNN_MAX_SLOTS];
    for (int i = 0; i < FNN_MAX_SLOTS; i++) s[i] = t->slot[i] ? (REAL *)t->slot[i] + lo : NULL;
    t->update(t->coef, (REAL *)t->w + lo, s[0], s[1], s[2], (const REAL *)t->in[1].p + lo, hi - lo);
}
#define k_sgd update_range
#define k_rmsprop update_range
#define k_adam update_range
