/* Optimizer updates with Keras 3's formulas (Rprop's are PyTorch's): parameter, moments and gradient of n
 * contiguous elements each. `prepare` turns the attributes, the learning rate and the count of updates into
 * the coefficients of one step.
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

/* ---- Adagrad: the slot holds the sum without its initial value, so that padding stays zero ---- */
enum { ADAGRAD_LR, ADAGRAD_DECAY, ADAGRAD_SHIFT };

static void adagrad_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)iteration;
    coef[ADAGRAD_LR] = lr;
    coef[ADAGRAD_DECAY] = lr * attr[2];
    coef[ADAGRAD_SHIFT] = attr[0] + attr[1];
}

static void adagrad_flat(const double *coef, void *w_, void *s0, void *s1, void *s2, const void *g_,
                         int64_t n) {
    (void)s1; (void)s2;
    REAL *w = w_, *sum = s0;
    const REAL *g = g_;
    const V lr = v_set1((REAL)coef[ADAGRAD_LR]), decay = v_set1((REAL)-coef[ADAGRAD_DECAY]);
    const V shift = v_set1((REAL)coef[ADAGRAD_SHIFT]);
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V d = LOADV(g + i);
        x = v_fma(decay, x, x);
        V v = v_fma(d, d, LOADV(sum + i));
        STOREV(sum + i, v);
        STOREV(w + i, x - lr * d / v_sqrt(at_least(TINY, v + shift)));
    });
}

/* ---- Adadelta ---- */
enum { ADADELTA_LR, ADADELTA_DECAY, ADADELTA_RHO, ADADELTA_REST, ADADELTA_EPSILON };

static void adadelta_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)iteration;
    coef[ADADELTA_LR] = lr;
    coef[ADADELTA_DECAY] = lr * attr[2];
    coef[ADADELTA_RHO] = attr[0];
    coef[ADADELTA_REST] = 1 - attr[0];
    coef[ADADELTA_EPSILON] = attr[1];
}

static void adadelta_flat(const double *coef, void *w_, void *s0, void *s1, void *s2, const void *g_,
                          int64_t n) {
    (void)s2;
    REAL *w = w_, *square = s0, *moved = s1;
    const REAL *g = g_;
    const V lr = v_set1((REAL)coef[ADADELTA_LR]), decay = v_set1((REAL)-coef[ADADELTA_DECAY]);
    const V rho = v_set1((REAL)coef[ADADELTA_RHO]), rest = v_set1((REAL)coef[ADADELTA_REST]);
    const V epsilon = v_set1((REAL)coef[ADADELTA_EPSILON]);
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V d = LOADV(g + i);
        V u = LOADV(moved + i);
        x = v_fma(decay, x, x);
        V v = v_fma(rho, LOADV(square + i), rest * (d * d));
        STOREV(square + i, v);
        V step = v_sqrt(u + epsilon) * d / v_sqrt(at_least(TINY, v + epsilon));
        STOREV(moved + i, v_fma(rho, u, rest * (step * step)));
        STOREV(w + i, v_fma(-lr, step, x));
    });
}

/* ---- Nadam: Adam with Nesterov's momentum, beta_1 growing as beta_1 (1 - 0.96^t / 2) ---- */
enum { NADAM_M, NADAM_G, NADAM_DECAY, NADAM_REST_1, NADAM_REST_2, NADAM_SPREAD, NADAM_EPSILON,
       NADAM_PRODUCT, NADAM_UPDATES };

static double nadam_momentum(double beta, int64_t t) { return beta * (1 - 0.5 * power(0.96, t)); }

/* The product of the momenta up to this update is carried on in the coefficients; a session that starts later multiplies
 * them in the same order, to the same bits. From the millionth on they are all beta_1, and one power: a file may name any
 * number of updates. */
enum { NADAM_MULTIPLIED = 1 << 20 };
static void nadam_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    const double beta_1 = attr[0], beta_2 = attr[1];
    const int64_t all = iteration < NADAM_MULTIPLIED ? iteration : NADAM_MULTIPLIED;
    int64_t done = (int64_t)coef[NADAM_UPDATES];
    if (done > all) done = 0;        /* the model went back */
    if (done == 0) coef[NADAM_PRODUCT] = 1;
    while (done < all) coef[NADAM_PRODUCT] *= nadam_momentum(beta_1, ++done);
    coef[NADAM_UPDATES] = (double)all;
    const double now = nadam_momentum(beta_1, iteration), then = nadam_momentum(beta_1, iteration + 1);
    const double product = coef[NADAM_PRODUCT] * power(beta_1, iteration - all);
    coef[NADAM_M] = lr * then / (1 - product * then);
    coef[NADAM_G] = lr * (1 - now) / (1 - product);
    coef[NADAM_DECAY] = lr * attr[3];
    coef[NADAM_REST_1] = 1 - beta_1;
    coef[NADAM_REST_2] = 1 - beta_2;
    coef[NADAM_SPREAD] = 1 / (1 - power(beta_2, iteration));
    coef[NADAM_EPSILON] = attr[2];
}

static void nadam_flat(const double *coef, void *w_, void *s0, void *s1, void *s2, const void *g_,
                       int64_t n) {
    (void)s2;
    REAL *w = w_, *first = s0, *second = s1;
    const REAL *g = g_;
    const V by_m = v_set1((REAL)coef[NADAM_M]), by_g = v_set1((REAL)coef[NADAM_G]);
    const V decay = v_set1((REAL)-coef[NADAM_DECAY]), spread = v_set1((REAL)coef[NADAM_SPREAD]);
    const V rest_1 = v_set1((REAL)coef[NADAM_REST_1]), rest_2 = v_set1((REAL)coef[NADAM_REST_2]);
    const V epsilon = v_set1((REAL)coef[NADAM_EPSILON]);
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
        V step = v_fma(by_m, m, by_g * d);
        STOREV(w + i, x - step / at_least(TINY, v_sqrt(v * spread) + epsilon));
    });
}

/* The sign of x times size; 0 and NaN stay. */
INLINE V signed_as(V x, V size) {
    return v_select(x > R(0.0), size, v_select(x < R(0.0), -size, x));
}

/* ---- Lion ---- */
enum { LION_LR, LION_DECAY, LION_BETA_1, LION_REST_1, LION_BETA_2, LION_REST_2 };

static void lion_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)iteration;
    coef[LION_LR] = lr;
    coef[LION_DECAY] = lr * attr[2];
    coef[LION_BETA_1] = attr[0];
    coef[LION_REST_1] = 1 - attr[0];
    coef[LION_BETA_2] = attr[1];
    coef[LION_REST_2] = 1 - attr[1];
}

static void lion_flat(const double *coef, void *w_, void *s0, void *s1, void *s2, const void *g_,
                      int64_t n) {
    (void)s1; (void)s2;
    REAL *w = w_, *first = s0;
    const REAL *g = g_;
    const V lr = v_set1((REAL)coef[LION_LR]), decay = v_set1((REAL)-coef[LION_DECAY]);
    const V beta_1 = v_set1((REAL)coef[LION_BETA_1]), rest_1 = v_set1((REAL)coef[LION_REST_1]);
    const V beta_2 = v_set1((REAL)coef[LION_BETA_2]), rest_2 = v_set1((REAL)coef[LION_REST_2]);
    FOR_VECTORS(n, i, {
        V x = LOADV(w + i);
        V d = LOADV(g + i);
        V m = LOADV(first + i);
        x = v_fma(decay, x, x);
        STOREV(first + i, v_fma(beta_2, m, rest_2 * d));
        STOREV(w + i, x - signed_as(v_fma(beta_1, m, rest_1 * d), lr));
    });
}

/* ---- Rprop: each element has its own step. A step of 0 has not begun; it begins as the learning rate, with
 * the first gradient that is not 0, so that padding stays zero ---- */
enum { RPROP_START, RPROP_MINUS, RPROP_PLUS, RPROP_MIN, RPROP_MAX };

static void rprop_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)iteration;
    coef[RPROP_START] = lr < attr[2] ? attr[2] : lr > attr[3] ? attr[3] : lr;
    coef[RPROP_MINUS] = attr[0];
    coef[RPROP_PLUS] = attr[1];
    coef[RPROP_MIN] = attr[2];
    coef[RPROP_MAX] = attr[3];
}

static void rprop_flat(const double *coef, void *w_, void *s0, void *s1, void *s2, const void *g_,
                       int64_t n) {
    (void)s2;
    REAL *w = w_, *last = s0, *size = s1;
    const REAL *g = g_;
    const V start = v_set1((REAL)coef[RPROP_START]), zero = {0};
    const V minus = v_set1((REAL)coef[RPROP_MINUS]), plus = v_set1((REAL)coef[RPROP_PLUS]);
    const V low = v_set1((REAL)coef[RPROP_MIN]), high = v_set1((REAL)coef[RPROP_MAX]);
    FOR_VECTORS(n, i, {
        V d = LOADV(g + i);
        V s = LOADV(size + i);
        V agree = signed_as(d, LOADV(last + i));
        s = v_select((s == zero) & (d != zero), start, s);
        s = v_select(agree > zero, v_min(high, s * plus), v_select(agree < zero, v_max(low, s * minus), s));
        d = v_select(agree < zero, zero, d);
        STOREV(size + i, s);
        STOREV(last + i, d);
        STOREV(w + i, LOADV(w + i) - signed_as(d, s));
    });
}

/* ---- moving average: state, not trained; the "gradient" is the value that it follows ---- */
enum { MOVING_KEPT, MOVING_REST };

static void moving_average_prepare(const double *attr, double lr, int64_t iteration, double *coef) {
    (void)lr; (void)iteration;
    coef[MOVING_KEPT] = attr[0];
    coef[MOVING_REST] = 1 - attr[0];
}

static void moving_average_flat(const double *coef, void *w_, void *s0, void *s1, void *s2,
                                const void *value_, int64_t n) {
    (void)s0; (void)s1; (void)s2;
    REAL *w = w_;
    const REAL *value = value_;
    const V kept = v_set1((REAL)coef[MOVING_KEPT]), rest = v_set1((REAL)coef[MOVING_REST]);
    FOR_VECTORS(n, i, { STOREV(w + i, v_fma(kept, LOADV(w + i), rest * LOADV(value + i))); });
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
#define k_adagrad update_range
#define k_adadelta update_range
#define k_nadam update_range
#define k_lion update_range
#define k_rprop update_range
#define k_moving_average update_range
