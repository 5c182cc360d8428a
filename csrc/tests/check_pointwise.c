/* Activations, softmax, losses and metrics of one table against formulas in long double, and their
 * gradients against differences of those: tails, gaps between rows, odd addresses, ranges, work in place;
 * the same bits for a value or a row alone as among others. */
#include "kernel_check.h"

typedef long double exact;

#define SIZES (long long)rows, (long long)cols

static int64_t gap(void) { return random_below(2) * random_below(9); }
static int shift(void) { return (int)random_below(VL); }
static exact between(exact lo, exact hi) { return lo + (hi - lo) * ((exact)random_bits() / 2147483648.0L); }

/* Matrices at odd addresses, some with gaps between their rows. */
static matrix random_at_odds(int64_t rows, int64_t cols) {
    return matrix_random(rows, cols, cols + gap(), shift());
}
static matrix new_at_odds(int64_t rows, int64_t cols) {
    return matrix_new(rows, cols, cols + gap(), shift());
}

/* With one of Newton's steps: emulators' logarithms are wrong in places that differences show. */
static exact exact_log(exact x) {
    const exact y = logl(x);
    return y + (x * expl(-y) - 1);
}

/* Five-point difference, exact to about 1e-13 for the functions and arguments here. */
#define STEP_SIZE 0x1p-13L
#define SLOPE(f_at) \
    ((8 * (f_at(STEP_SIZE) - f_at(-STEP_SIZE)) - (f_at(2 * STEP_SIZE) - f_at(-2 * STEP_SIZE))) /  \
     (12 * STEP_SIZE))

/* Within `ulps` of the type's epsilon of `want`, relative to it or to `scale`; what is flushed to zero is
 * near. */
static bool near(REAL got, exact want, exact scale, double ulps) {
    if (isnan(want)) return isnan(got);
    const exact difference = 1e-12L * scale, flushed = REAL_BITS == 32 ? 0x1p-126L : 0x1p-1022L;
    return fabsl((exact)got - want) <= (exact)(ulps * epsilon) * (fabsl(want) + scale) + difference + flushed;
}

/* ---- activations ---- */

static const struct { int op, grad; double attr; bool from_x; double clip; } activations[] = {
    {OP_step, OP_step_grad, 0, true, 0},
    {OP_step, OP_step_grad, 1, true, 0},
    {OP_step, OP_step_grad, 1, true, 2.5},
    {OP_sigmoid, OP_sigmoid_grad, 0, false, 0},
    {OP_hard_sigmoid, OP_hard_sigmoid_grad, 0, false, 0},
    {OP_tanh, OP_tanh_grad, 0, false, 0},
    {OP_relu, OP_relu_grad, 0, false, 0},
    {OP_leaky_relu, OP_leaky_relu_grad, 0.2, true, 0},
    {OP_elu, OP_elu_grad, 1, true, 0},
    {OP_elu, OP_elu_grad, 0.7, true, 0},
    {OP_selu, OP_selu_grad, 0, false, 0},
    {OP_gelu, OP_gelu_grad, 0, true, 0},
    {OP_gelu, OP_gelu_grad, 1, true, 0},
    {OP_silu, OP_silu_grad, 0, true, 0},
    {OP_mish, OP_mish_grad, 0, true, 0},
    {OP_softplus, OP_softplus_grad, 0, true, 0},
    {OP_softsign, OP_softsign_grad, 0, false, 0},
};
enum { ACTIVATIONS = sizeof activations / sizeof activations[0] };

static exact activation(int op, exact x, double a) {
    const exact e = expl(-fabsl(x)), sigmoid = x > 0 ? 1 / (1 + e) : e / (1 + e);
    const exact softplus = fmaxl(x, 0) + log1pl(e);
    switch (op) {
    case OP_step: return x >= 0;
    case OP_sigmoid: return sigmoid;
    case OP_hard_sigmoid: return fminl(fmaxl(x + 3, 0), 6) / 6;
    case OP_tanh: return tanhl(x);
    case OP_relu: return fmaxl(x, 0);
    case OP_leaky_relu: return x > 0 ? x : (exact)(REAL)a * x;
    case OP_elu: return x > 0 ? x : (exact)(REAL)a * expm1l(x);
    case OP_selu: return 1.05070098735548049342L * (x > 0 ? x : 1.67326324235437728482L * expm1l(x));
    case OP_gelu:
        if (!a) return x * erfcl(-x / sqrtl(2)) / 2;
        return x / (1 + expl(-2 * sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x)));
    case OP_silu: return x * sigmoid;
    case OP_mish: return x * tanhl(softplus);
    case OP_softplus: return softplus;
    default: return x / (1 + fabsl(x)); /* softsign */
    }
}

static exact activation_slope(int op, exact x, double a, double clip) {
#define AT_X(h) activation(op, x + (h), a)
    return op == OP_step ? (exact)a * (clip == 0 || fabsl(x) <= clip) : SLOPE(AT_X);
#undef AT_X
}

/* Away from the kinks of the functions by more than their differences reach. */
static REAL smooth_argument(void) {
    for (;;) {
        const REAL x = (REAL)between(-9, 9);
        if (fabs(x) > 0.01 && fabs(fabs(x) - 3) > 0.01) return x;
    }
}
static matrix smooth_matrix(int64_t rows, int64_t cols) {
    matrix m = random_at_odds(rows, cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) m.p[r * m.ld + c] = smooth_argument();
    return m;
}

static void check_activation(int i, int64_t rows, int64_t cols) {
    const int op = activations[i].op, grad = activations[i].grad;
    const double a = activations[i].attr, clip = activations[i].clip;
    const char *name = fnn_ops[op].name;
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    matrix x = smooth_matrix(rows, cols), y = new_at_odds(rows, cols);
    fnn_task t = {.in = {view_of(&x)}, .out = {view_of(&y)}, .n_in = 1, .attr = {a, clip}};
    table->run[op](&t, lo, hi, scratch);
    bool right = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < cols; c++) {
            const REAL at = x.p[r * x.ld + c], got = y.p[r * y.ld + c];
            right = right && near(got, activation(op, at, a), fminl(1, fabsl(at)) / 4, 8);
        }
    CHECK(right, "%s(%g) %lld x %lld", name, a, SIZES);
    CHECK(matrix_intact(&y, lo, hi), "%s %lld x %lld", name, SIZES);

    matrix place = matrix_copy(&x);
    t.out[0] = t.in[0] = view_of(&place);
    table->run[op](&t, lo, hi, scratch);
    bool equal = true, alone = true;
    for (int64_t r = lo; r < hi; r++) {
        equal = equal && same(place.p + r * place.ld, y.p + r * y.ld, cols);
        for (int64_t c = 0; c < cols; c++) {
            REAL one;
            t.in[0] = (fnn_view){x.p + r * x.ld + c, 1, 1, 1};
            t.out[0] = (fnn_view){&one, 1, 1, 1};
            table->run[op](&t, 0, 1, scratch);
            alone = alone && same(&one, y.p + r * y.ld + c, 1);
        }
    }
    CHECK(equal, "%s in place %lld x %lld", name, SIZES);
    CHECK(alone, "%s alone %lld x %lld", name, SIZES);

    t.in[0] = view_of(&x);
    t.out[0] = view_of(&y);
    table->run[op](&t, 0, rows, scratch);
    matrix dy = random_at_odds(rows, cols), dx = new_at_odds(rows, cols);
    t = (fnn_task){.in = {view_of(&dy), view_of(activations[i].from_x ? &x : &y)}, .out = {view_of(&dx)},
                   .n_in = 2, .attr = {a, clip}};
    table->run[grad](&t, lo, hi, scratch);
    right = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < cols; c++) {
            const exact seed = dy.p[r * dy.ld + c];
            const exact want = seed * activation_slope(op, x.p[r * x.ld + c], a, clip);
            right = right && near(dx.p[r * dx.ld + c], want, fabsl(seed), 8);
        }
    CHECK(right, "%s_grad(%g) %lld x %lld", name, a, SIZES);
    CHECK(matrix_intact(&dx, lo, hi), "%s_grad %lld x %lld", name, SIZES);
    matrix over = matrix_copy(&dy);
    t.out[0] = t.in[0] = view_of(&over);
    table->run[grad](&t, lo, hi, scratch);
    equal = true;
    for (int64_t r = lo; r < hi; r++) equal = equal && same(over.p + r * over.ld, dx.p + r * dx.ld, cols);
    CHECK(equal, "%s_grad in place %lld x %lld", name, SIZES);
    fnn_free(x.all); fnn_free(y.all); fnn_free(place.all); fnn_free(dy.all); fnn_free(dx.all); fnn_free(over.all);
}

/* Far out the limits hold, NaN stays NaN, and slopes are finite. */
static void check_activation_edges(int i) {
    const int op = activations[i].op;
    const double a = activations[i].attr, clip = activations[i].clip;
    const double huge = REAL_BITS == 32 ? 1e30 : 1e300;
    REAL x[] = {0, (REAL)-0.0, (REAL)1e-30, (REAL)-1e-30, 100, -100, 10000, -10000, (REAL)huge, (REAL)-huge,
                (REAL)NAN};
    enum { COUNT = sizeof x / sizeof x[0] };
    REAL y[COUNT], dy[COUNT], dx[COUNT];
    for (int k = 0; k < COUNT; k++) dy[k] = 1;
    fnn_task t = {.in = {{x, COUNT, COUNT, 1}}, .out = {{y, COUNT, COUNT, 1}}, .n_in = 1, .attr = {a, clip}};
    table->run[op](&t, 0, 1, scratch);
    t = (fnn_task){.in = {{dy, COUNT, COUNT, 1}, {activations[i].from_x ? x : y, COUNT, COUNT, 1}},
                   .out = {{dx, COUNT, COUNT, 1}}, .n_in = 2, .attr = {a, clip}};
    table->run[activations[i].grad](&t, 0, 1, scratch);
    for (int k = 0; k < COUNT - 1; k++) {
        CHECK(near(y[k], activation(op, x[k], a), 0, 4), "%s(%g) = %g", fnn_ops[op].name,
              (double)x[k], (double)y[k]);
        CHECK(dx[k] >= -0.2 && dx[k] <= 2, "%s'(%g) = %g", fnn_ops[op].name, (double)x[k], (double)dx[k]);
    }
    CHECK(op == OP_step || isnan(y[COUNT - 1]), "%s(NaN) = %g", fnn_ops[op].name, (double)y[COUNT - 1]);
}

/* ---- softmax ---- */

static exact sum_of_exp(const REAL *x, int64_t n, exact top) {
    exact sum = 0;
    for (int64_t c = 0; c < n; c++) sum += expl(x[c] - top);
    return sum;
}
static exact largest(const REAL *x, int64_t n) {
    exact top = x[0];
    for (int64_t c = 1; c < n; c++) top = fmaxl(top, x[c]);
    return top;
}

static void check_softmax(bool logarithmic, int64_t rows, int64_t cols, double spread) {
    const int op = logarithmic ? OP_log_softmax : OP_softmax;
    const int grad = logarithmic ? OP_log_softmax_grad : OP_softmax_grad;
    const char *name = fnn_ops[op].name;
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    matrix x = random_at_odds(rows, cols), y = new_at_odds(rows, cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) x.p[r * x.ld + c] *= (REAL)spread;
    fnn_task t = {.in = {view_of(&x)}, .out = {view_of(&y)}, .n_in = 1};
    table->run[op](&t, lo, hi, scratch);
    matrix dy = random_at_odds(rows, cols), dx = new_at_odds(rows, cols);
    fnn_task back = {.in = {view_of(&dy), view_of(&y)}, .out = {view_of(&dx)}, .n_in = 2};
    table->run[grad](&back, lo, hi, scratch);
    bool right = true, slope = true, alone = true;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *row = x.p + r * x.ld, *seed = dy.p + r * dy.ld;
        const exact top = largest(row, cols), sum = sum_of_exp(row, cols, top);
        exact dot = 0;
        for (int64_t c = 0; c < cols; c++) dot += seed[c] * (logarithmic ? 1 : expl(row[c] - top) / sum);
        for (int64_t c = 0; c < cols; c++) {
            const exact p = expl(row[c] - top) / sum, u = row[c] - top;
            const exact rounded = fabsl(u) + 1; /* x - top is rounded before exp */
            const exact want = logarithmic ? u - exact_log(sum) : p;
            const exact want_dx = logarithmic ? seed[c] - p * dot : p * (seed[c] - dot);
            right = right && near(y.p[r * y.ld + c], want, logarithmic ? 1 : p * rounded, 8);
            const exact size = p * (exact)cols * rounded + (exact)epsilon;
            slope = slope && near(dx.p[r * dx.ld + c], want_dx, size, 8);
        }
        matrix one = matrix_new(1, cols, cols, shift());
        t.in[0].p = x.p + r * x.ld;
        t.out[0] = view_of(&one);
        table->run[op](&t, 0, 1, scratch);
        alone = alone && same(one.p, y.p + r * y.ld, cols) && matrix_intact(&one, 0, 1);
        fnn_free(one.all);
    }
    CHECK(right, "%s %lld x %lld, spread %g", name, SIZES, spread);
    CHECK(slope, "%s_grad %lld x %lld, spread %g", name, SIZES, spread);
    CHECK(alone, "%s alone %lld x %lld", name, SIZES);
    CHECK(matrix_intact(&y, lo, hi) && matrix_intact(&dx, lo, hi), "%s %lld x %lld", name, SIZES);
    matrix place = matrix_copy(&x), over = matrix_copy(&dy);
    t.in[0] = t.out[0] = view_of(&place);
    back.in[0] = back.out[0] = view_of(&over);
    table->run[op](&t, lo, hi, scratch);
    table->run[grad](&back, lo, hi, scratch);
    bool equal = true;
    for (int64_t r = lo; r < hi; r++)
        equal = equal && same(place.p + r * place.ld, y.p + r * y.ld, cols) &&
                same(over.p + r * over.ld, dx.p + r * dx.ld, cols);
    CHECK(equal, "%s in place %lld x %lld", name, SIZES);
    fnn_free(x.all); fnn_free(y.all); fnn_free(dy.all); fnn_free(dx.all); fnn_free(place.all); fnn_free(over.all);
}

/* ---- losses and metrics ---- */

typedef enum { REGRESSION, PROBABILITIES, DISTRIBUTION, LOGITS, CLASSES } domain;
static const struct { int op, grad; double attr; domain domain; bool sparse; } losses[] = {
    {OP_squared_error, OP_squared_error_grad, 0, REGRESSION, false},
    {OP_absolute_error, OP_absolute_error_grad, 0, REGRESSION, false},
    {OP_huber, OP_huber_grad, 0.75, REGRESSION, false},
    {OP_bce, OP_bce_grad, 0, PROBABILITIES, false},
    {OP_bce_logits, OP_bce_logits_grad, 0, LOGITS, false},
    {OP_cce, OP_cce_grad, 0, DISTRIBUTION, false},
    {OP_cce_logits, OP_cce_logits_grad, 0, LOGITS, false},
    {OP_scce, OP_scce_grad, 0, DISTRIBUTION, true},
    {OP_scce_logits, OP_scce_logits_grad, 0, LOGITS, true},
    {OP_binary_accuracy, -1, 0.5, CLASSES, false},
    {OP_categorical_accuracy, -1, 0, CLASSES, false},
    {OP_sparse_categorical_accuracy, -1, 0, CLASSES, true},
};
enum { LOSSES = sizeof losses / sizeof losses[0] };

static const exact clip_low = (REAL)1e-7, clip_high = (REAL)(1 - 1e-7);
static exact clip(exact p) { return fminl(fmaxl(p, clip_low), clip_high); }
static int64_t argmax(const exact *x, int64_t n) {
    int64_t at = 0;
    for (int64_t c = 1; c < n; c++) if (x[c] > x[at]) at = c;
    return at;
}

/* The loss of one row: p (n), t (n). */
static exact loss_of(int op, double a, const exact *p, const exact *t, int64_t n) {
    exact sum = 0, total = 0, top = p[0];
    for (int64_t c = 0; c < n; c++) { total += p[c]; top = fmaxl(top, p[c]); }
    for (int64_t c = 0; c < n; c++) {
        const exact e = fabsl(p[c] - t[c]);
        switch (op) {
        case OP_squared_error: sum += e * e / n; break;
        case OP_absolute_error: sum += e / n; break;
        case OP_huber: sum += (e <= a ? e * e / 2 : a * e - a * a / 2) / n; break;
        case OP_bce: sum -= (t[c] * exact_log(clip(p[c])) + (1 - t[c]) * exact_log(1 - clip(p[c]))) / n; break;
        case OP_bce_logits: sum += (log1pl(expl(-fabsl(p[c]))) + fmaxl(p[c], 0) - p[c] * t[c]) / n; break;
        case OP_cce: case OP_scce: sum -= t[c] ? t[c] * exact_log(clip(p[c] / total)) : 0; break;
        case OP_binary_accuracy: sum += (exact)((p[c] > (exact)a) == (t[c] != 0)) / n; break;
        case OP_cce_logits: case OP_scce_logits: sum += expl(p[c] - top); break;
        }
    }
    if (op == OP_cce_logits || op == OP_scce_logits) {
        const exact log_sum = exact_log(sum) + top;
        sum = 0;
        for (int64_t c = 0; c < n; c++) sum += t[c] * (log_sum - p[c]);
    }
    const bool accuracy = op == OP_categorical_accuracy || op == OP_sparse_categorical_accuracy;
    return accuracy ? argmax(p, n) == argmax(t, n) : sum;
}

/* The same with h added to p[c]. */
static exact loss_beside(int op, double a, exact *p, const exact *t, int64_t n, int64_t c, exact h) {
    const exact at = p[c];
    p[c] = at + h;
    const exact loss = loss_of(op, a, p, t, n);
    p[c] = at;
    return loss;
}

/* Predictions and targets of a domain, off the kinks; some probabilities lie beyond a clip. */
static void draw_row(domain domain, REAL *p, REAL *t, int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        switch (domain) {
        case REGRESSION:
            t[c] = (REAL)between(-2, 2);
            do p[c] = (REAL)between(-2, 2);
            while (fabs(p[c] - t[c]) < 0.01 || fabs(fabs(p[c] - t[c]) - 0.75) < 0.01);
            break;
        case PROBABILITIES:
            t[c] = (REAL)(random_below(2) ? between(0, 1) : random_below(2));
            p[c] = (REAL)(random_below(8) ? between(0.25, 0.75) : random_below(2) ? -0.02 : 1.02);
            break;
        case DISTRIBUTION:
            t[c] = (REAL)(random_below(2) ? between(0, 1) : 0);
            p[c] = (REAL)(random_below(8) || !c ? between(0.3, 1) : -0.01);
            break;
        case LOGITS:
            t[c] = (REAL)between(0, 1);
            p[c] = (REAL)between(-6, 6);
            break;
        default: /* few values, so that there are equals */
            t[c] = (REAL)random_below(2);
            p[c] = (REAL)(random_below(4) / 4.0);
        }
    }
}

static void check_loss(int i, int64_t rows, int64_t cols) {
    const int op = losses[i].op, grad = losses[i].grad;
    const double a = losses[i].attr;
    const char *name = fnn_ops[op].name;
    const bool two = fnn_ops[op].outputs == 2;
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    const int64_t ldp = cols + gap(), ldt = cols + gap(), ldq = cols + gap(), ldd = cols + gap();
    matrix p = matrix_random(rows, cols, ldp, shift()), t = matrix_random(rows, cols, ldt, shift());
    matrix loss = matrix_new(rows, 1, 1, shift()), q = matrix_new(rows, cols, ldq, shift());
    matrix seed = matrix_random(rows, 1, 1, shift()), dp = matrix_new(rows, cols, ldd, shift());
    int32_t *labels = malloc((size_t)rows * sizeof *labels);
    exact *pe = malloc((size_t)cols * sizeof *pe), *te = malloc((size_t)cols * sizeof *te);
    if (!labels || !pe || !te) exit(2);
    for (int64_t r = 0; r < rows; r++) {
        draw_row(losses[i].domain, p.p + r * p.ld, t.p + r * t.ld, cols);
        labels[r] = (int32_t)random_below(cols);
        for (int64_t c = 0; losses[i].sparse && c < cols; c++) t.p[r * t.ld + c] = c == labels[r];
    }
    const fnn_view target = losses[i].sparse ? (fnn_view){labels, 1, 1, 1} : view_of(&t);
    fnn_task task = {.in = {view_of(&p), target}, .out = {view_of(&loss), view_of(&q)}, .n_in = 2,
                     .attr = {a}};
    table->run[op](&task, lo, hi, scratch);
    if (grad >= 0) {
        fnn_task back = {.in = {view_of(&seed), view_of(two ? &q : &p), target}, .out = {view_of(&dp)},
                         .n_in = 3, .attr = {a}};
        table->run[grad](&back, lo, hi, scratch);
    }
    bool right = true, probable = true, slope = true, alone = true;
    for (int64_t r = lo; r < hi; r++) {
        exact top = 0, total = 0, weight = 0;
        for (int64_t c = 0; c < cols; c++) {
            pe[c] = p.p[r * p.ld + c];
            te[c] = t.p[r * t.ld + c];
            top = c ? fmaxl(top, pe[c]) : pe[c];
            weight += fabsl(te[c]);
        }
        for (int64_t c = 0; c < cols; c++) total += expl(pe[c] - top);
        right = right && near(loss.p[r], loss_of(op, a, pe, te, cols), grad < 0 ? 0 : 1 + weight, 16);
        for (int64_t c = 0; two && c < cols; c++) {
            const exact want = op == OP_bce_logits ? 1 / (1 + expl(-pe[c])) : expl(pe[c] - top) / total;
            probable = probable && near(q.p[r * q.ld + c], want, want, 16);
        }
        for (int64_t c = 0; grad >= 0 && c < cols; c++) {
            if (c % (1 + cols / 12) && c < cols - 1) continue; /* a difference costs whole rows of the loss */
#define AT_P(h) loss_beside(op, a, pe, te, cols, c, (h))
            const exact want = seed.p[r] * SLOPE(AT_P);
#undef AT_P
            slope = slope && near(dp.p[r * dp.ld + c], want, fabsl(seed.p[r]) * (1 + weight), 16);
        }
        REAL one;
        task.in[0].p = p.p + r * p.ld;
        task.in[1].p = losses[i].sparse ? (void *)(labels + r) : t.p + r * t.ld;
        task.out[0].p = &one;
        task.out[1].p = q.p + r * q.ld;
        table->run[op](&task, 0, 1, scratch);
        alone = alone && same(&one, loss.p + r, 1);
    }
    CHECK(right, "%s %lld x %lld", name, SIZES);
    CHECK(probable, "%s %lld x %lld", name, SIZES);
    CHECK(slope, "%s_grad %lld x %lld", name, SIZES);
    CHECK(alone, "%s alone %lld x %lld", name, SIZES);
    CHECK(matrix_intact(&loss, lo, hi), "%s %lld x %lld", name, SIZES);
    CHECK(matrix_intact(&q, two ? lo : 0, two ? hi : 0), "%s %lld x %lld", name, SIZES);
    CHECK(matrix_intact(&dp, grad < 0 ? 0 : lo, grad < 0 ? 0 : hi), "%s_grad %lld x %lld", name, SIZES);
    fnn_free(p.all); fnn_free(t.all); fnn_free(loss.all); fnn_free(q.all); fnn_free(seed.all); fnn_free(dp.all);
    free(labels); free(pe); free(te);
}

/* A NaN among the predictions, and a label that names no column, give NaN in their row and nowhere else. */
static void check_loss_nan(int i, int64_t cols) {
    enum { ROWS = 5, NAN_ROW = 1, LABEL_ROW = 3 };
    if (losses[i].grad < 0) return;
    const char *name = fnn_ops[losses[i].op].name;
    matrix p = matrix_new(ROWS, cols, cols, 0), t = matrix_new(ROWS, cols, cols, 0);
    matrix q = matrix_new(ROWS, cols, cols, 0), dp = matrix_new(ROWS, cols, cols, 0);
    matrix loss = matrix_new(ROWS, 1, 1, 0), seed = matrix_random(ROWS, 1, 1, 0);
    for (int64_t r = 0; r < ROWS; r++) draw_row(losses[i].domain, p.p + r * cols, t.p + r * cols, cols);
    p.p[NAN_ROW * cols + random_below(cols)] = (REAL)NAN;
    int32_t labels[ROWS] = {0, 0, 0, random_below(2) ? -1 : (int32_t)cols, 0};
    const fnn_view target = losses[i].sparse ? (fnn_view){labels, 1, 1, 1} : view_of(&t);
    fnn_task task = {.in = {view_of(&p), target}, .out = {view_of(&loss), view_of(&q)}, .n_in = 2,
                     .attr = {losses[i].attr}};
    table->run[losses[i].op](&task, 0, ROWS, scratch);
    task = (fnn_task){.in = {view_of(&seed), view_of(fnn_ops[losses[i].op].outputs == 2 ? &q : &p), target},
                      .out = {view_of(&dp)}, .n_in = 3, .attr = {losses[i].attr}};
    table->run[losses[i].grad](&task, 0, ROWS, scratch);
    for (int64_t r = 0; r < ROWS; r++) {
        const bool lost = r == NAN_ROW || (losses[i].sparse && r == LABEL_ROW);
        CHECK((isnan(loss.p[r]) != 0) == lost, "%s of row %lld = %g", name, (long long)r, (double)loss.p[r]);
        CHECK(!isnan(dp.p[r * cols]) || lost, "%s_grad of row %lld", name, (long long)r);
        if (losses[i].sparse && r == LABEL_ROW) CHECK(isnan(dp.p[r * cols]), "%s_grad", name);
    }
    fnn_free(p.all); fnn_free(t.all); fnn_free(loss.all); fnn_free(q.all); fnn_free(seed.all); fnn_free(dp.all);
}

static void check_cols(int64_t cols) {
    for (int i = 0; i < ACTIVATIONS; i++) check_activation(i, 1 + random_below(4), cols);
    const double spreads[] = {1, 20, 10000};
    for (int k = 0; k < 3; k++)
        for (int logarithmic = 0; logarithmic < 2; logarithmic++)
            check_softmax(logarithmic, 1 + random_below(2 * VL + 2), cols, spreads[k]);
    for (int i = 0; i < LOSSES; i++) {
        check_loss(i, 1 + random_below(2 * VL + 2), cols);
        check_loss_nan(i, cols);
    }
}

int main(void) {
    fnn_fp_enter();
    for (int i = 0; i < ACTIVATIONS; i++) check_activation_edges(i);
    for (int64_t cols = 1; cols <= 40; cols++) check_cols(cols);
    for (int64_t k = 3; k <= 8; k++)
        for (int64_t d = -1; d <= 1; d++) check_cols(k * VL + d);
    check_cols(257);
    for (int k = 0; k < 20; k++)
        for (int i = 0; i < LOSSES; i++) check_loss(i, 1 + random_below(200), 1 + random_below(2) * 9);
    return summary("check_pointwise");
}
