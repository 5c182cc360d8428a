/* Work on rows, shape, penalty, clipping, dropout and optimizer kernels of one table against plain double
 * loops: tails, gaps between rows, odd addresses, ranges, work in place. */
#include "kernel_check.h"
#include "../philox.h"

static int64_t gap(void) { return random_below(2) * random_below(9); }
static int shift(void) { return (int)random_below(VL); }
static bool near(REAL got, double want, double magnitude, double ulps) {
    return fabs((double)got - want) <= ulps * epsilon * magnitude + 1e-300;
}
static void run(const fnn_task *t, int op, int64_t lo, int64_t hi) { table->run[op](t, lo, hi, scratch); }

/* in place and not */
static void check_bias_add(int64_t rows, int64_t cols, bool gaps) {
    matrix a = matrix_random(rows, cols, cols + (gaps ? 1 + gap() : 0), shift());
    matrix b = matrix_random(1, cols, cols, shift());
    matrix out = matrix_new(rows, cols, cols + (gaps ? gap() : 0), shift()), place = matrix_copy(&a);
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    const fnn_step step = {.rows = rows};
    fnn_task t = {.in = {view_of(&a), view_of(&b)}, .out = {view_of(&out)}, .n_in = 2, .step = &step};
    run(&t, OP_bias_add, lo, hi);
    bool right = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < cols; c++)
            right = right && out.p[r * out.ld + c] == a.p[r * a.ld + c] + b.p[c];
    CHECK(right, "%lld x %lld", (long long)rows, (long long)cols);
    CHECK(matrix_intact(&out, lo, hi), "%lld x %lld", (long long)rows, (long long)cols);
    t.in[0] = t.out[0] = view_of(&place);
    run(&t, OP_bias_add, lo, hi);
    bool equal = matrix_intact(&place, 0, rows);
    for (int64_t r = 0; r < rows; r++) {
        const matrix *from = r >= lo && r < hi ? &out : &a;
        equal = equal && same(place.p + r * place.ld, from->p + r * from->ld, cols);
    }
    CHECK(equal, "in place, %lld x %lld", (long long)rows, (long long)cols);
    fnn_free(a.all); fnn_free(b.all); fnn_free(out.all); fnn_free(place.all);
}

/* sum_rows, mean_rows, and the way back from the latter */
static void check_sum_rows(int64_t samples, int64_t lead, int64_t cols) {
    matrix x = matrix_random(samples * lead, cols, cols + gap(), shift()),
           out = matrix_new(cols, 1, 1, shift());
    const int64_t lo = random_below(cols), hi = lo + 1 + random_below(cols - lo);
    const fnn_step step = {.rows = samples};
    fnn_task t = {.in = {view_of(&x)}, .out = {view_of(&out)}, .n_in = 1, .step = &step};
    t.in[0].lead = lead;
    run(&t, OP_sum_rows, lo, hi);
    bool right = true;
    for (int64_t c = lo; c < hi; c++) {
        REAL sum = 0;
        for (int64_t r = 0; r < samples * lead; r++) sum += x.p[r * x.ld + c];
        right = right && out.p[c] == sum;
    }
    CHECK(right, "%lld x %lld", (long long)(samples * lead), (long long)cols);
    CHECK(matrix_intact(&out, lo, hi), "%lld x %lld", (long long)(samples * lead), (long long)cols);
    matrix sum = matrix_copy(&out);
    run(&t, OP_mean_rows, lo, hi);
    const int64_t rows = samples * lead;
    right = matrix_intact(&out, lo, hi);
    for (int64_t c = lo; c < hi; c++) {
        const double want = (double)sum.p[c] / (double)rows;
        right = right && near(out.p[c], want, fabs(want), 1);
    }
    CHECK(right, "mean of %lld x %lld", (long long)rows, (long long)cols);

    matrix back = matrix_new(rows, cols, x.ld, shift()), d = matrix_random(cols, 1, 1, shift());
    const int64_t from = random_below(rows), to = from + 1 + random_below(rows - from);
    t.in[0] = view_of(&d);
    t.out[0] = view_of(&back);
    t.out[0].lead = lead;
    run(&t, OP_mean_rows_grad, from, to);
    right = matrix_intact(&back, from, to);
    for (int64_t r = from; r < to; r++)
        for (int64_t c = 0; c < cols; c++) {
            const double want = (double)d.p[c] / (double)rows;
            right = right && near(back.p[r * back.ld + c], want, fabs(want), 1);
        }
    CHECK(right, "shares of %lld x %lld", (long long)rows, (long long)cols);
    fnn_free(x.all); fnn_free(out.all); fnn_free(sum.all); fnn_free(back.all); fnn_free(d.all);
}

static void check_loss_seed(int64_t samples, int64_t lead, int64_t cols) {
    matrix weight = matrix_random(samples, 1, 1, shift()),
           out = matrix_new(samples * lead, cols, cols + gap(), shift());
    const int64_t lo = random_below(samples * lead), hi = lo + 1 + random_below(samples * lead - lo);
    const fnn_step step = {.rows = samples, .whole = samples};
    fnn_task t = {.in = {view_of(&weight)}, .out = {view_of(&out)}, .attr = {0.3}, .n_in = 1, .step = &step};
    t.out[0].lead = lead;
    run(&t, OP_loss_seed, lo, hi);
    bool right = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < cols; c++) {
            const double want = 0.3 * (double)weight.p[r / lead] / (double)(samples * lead * cols);
            right = right && near(out.p[r * out.ld + c], want, fabs(want), 2);
        }
    CHECK(right, "%lld samples of %lld x %lld", (long long)samples, (long long)lead, (long long)cols);
    CHECK(matrix_intact(&out, lo, hi), "%lld samples of %lld x %lld", (long long)samples, (long long)lead,
          (long long)cols);
    fnn_free(weight.all);
    fnn_free(out.all);
}

static void check_dropout(int64_t samples, int64_t lead, int64_t cols, double rate) {
    const int64_t rows = samples * lead;
    matrix x = matrix_random(rows, cols, cols + gap(), shift()),
           out = matrix_new(rows, cols, cols + gap(), shift());
    matrix place = matrix_copy(&x);
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    int64_t *sample = calloc((size_t)samples, sizeof *sample), kept = 0;
    for (int64_t s = 0; s < samples; s++) sample[s] = (int64_t)random_bits() << random_below(12);
    const fnn_step step = {.rows = samples, .seed = 0x123456789ABCDEFu, .epoch = 3, .sample = sample};
    fnn_task t = {.in = {view_of(&x)}, .out = {view_of(&out)}, .attr = {rate, 7}, .n_in = 1, .step = &step};
    t.in[0].lead = t.out[0].lead = lead;
    run(&t, OP_dropout, lo, hi);
    bool right = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < cols; c++) {
            const uint64_t e = (uint64_t)(r % lead * cols + c), s = (uint64_t)sample[r / lead];
            uint32_t v[4] = {(uint32_t)(e / 4), (uint32_t)s, 3, 7 | (uint32_t)(s >> 32) << 16};
            philox_4x32(v, (uint32_t)step.seed, (uint32_t)(step.seed >> 32));
            const bool keep = (v[e % 4] >> 8) * 0x1p-24 >= rate;
            kept += keep;
            right = right && out.p[r * out.ld + c] == (keep ? x.p[r * x.ld + c] * (REAL)(1 / (1 - rate)) : 0);
        }
    CHECK(right, "%lld samples of %lld x %lld, rate %g", (long long)samples, (long long)lead, (long long)cols,
          rate);
    CHECK(matrix_intact(&out, lo, hi), "%lld samples of %lld x %lld", (long long)samples, (long long)lead,
          (long long)cols);
    const double n = (double)((hi - lo) * cols);
    CHECK(fabs((double)kept - n * (1 - rate)) <= 6 * sqrt(n * rate * (1 - rate)), "kept %lld of %g, rate %g",
          (long long)kept, n, rate);
    t.in[0].p = t.out[0].p = place.p;
    t.in[0].ld = t.out[0].ld = place.ld;
    run(&t, OP_dropout, lo, hi);
    bool equal = true;
    for (int64_t r = lo; r < hi; r++) equal = equal && same(place.p + r * place.ld, out.p + r * out.ld, cols);
    CHECK(equal, "in place, %lld samples of %lld x %lld", (long long)samples, (long long)lead,
          (long long)cols);
    fnn_free(x.all);
    fnn_free(out.all);
    fnn_free(place.all);
    free(sample);
}

/* penalty, penalty_grad, clip_value, sum_squares, clip_norm on one parameter */
static void check_parameter(const fnn_layout *l) {
    matrix g = matrix_param(l, false), w = matrix_param(l, false), out = matrix_new(l->size, 1, 1, 0);
    matrix scalar = matrix_new(1, 1, 1, shift());
    const int64_t lo = random_below(l->size), hi = lo + 1 + random_below(l->size - lo);
    fnn_task t = {.in = {view_of(&g), view_of(&w)},
                  .out = {view_of(&out)},
                  .attr = {0.02, 0.03},
                  .n_in = 2,
                  .layout = *l};
    w.p[lo] = 0;
    run(&t, OP_penalty_grad, lo, hi);
    bool right = true, zero = true;
    for (int64_t i = lo; i < hi; i++) {
        const double x = (double)w.p[i], want = (double)g.p[i] + 0.02 * ((x > 0) - (x < 0)) + 0.06 * x;
        right = right && near(out.p[i], want, 1, 4);
        zero = zero && (x != 0 || out.p[i] == g.p[i]);
    }
    CHECK(right && zero, "penalty_grad, %lld elements", (long long)l->size);
    CHECK(matrix_intact(&out, lo, hi), "penalty_grad, %lld elements", (long long)l->size);

    t.attr[0] = 0.4;
    run(&t, OP_clip_value, lo, hi);
    right = true;
    for (int64_t i = lo; i < hi; i++) {
        const REAL clip = (REAL)0.4, x = g.p[i];
        right = right && out.p[i] == (x > clip ? clip : x < -clip ? -clip : x);
    }
    CHECK(right && matrix_intact(&out, lo, hi), "clip_value, %lld elements", (long long)l->size);

    long double absolutes = 0, squares = 0;
    for (int64_t i = 0; i < l->size; i++) {
        absolutes += fabsl((long double)g.p[i]);
        squares += (long double)g.p[i] * (long double)g.p[i];
    }
    const double square = (double)squares, penalty = 0.02 * (double)absolutes + 0.03 * square;
    t.out[0] = view_of(&scalar);
    t.attr[0] = 0.02;
    run(&t, OP_penalty, 0, 1);
    CHECK(near(*scalar.p, penalty, penalty, 16) && matrix_intact(&scalar, 0, 1), "penalty, %lld elements",
          (long long)l->size);
    run(&t, OP_sum_squares, 0, 1);
    CHECK(near(*scalar.p, square, square, 16) && matrix_intact(&scalar, 0, 1), "sum_squares, %lld elements",
          (long long)l->size);

    t.in[1] = view_of(&scalar);
    t.out[0] = view_of(&out);
    for (int above = 0; above < 2; above++) {
        const double norm = sqrt((double)*scalar.p);
        t.attr[0] = norm * (above ? 2 : 0.5) + 1e-3;
        run(&t, OP_clip_norm, lo, hi);
        right = true;
        for (int64_t i = lo; i < hi; i++) {
            const double want = (double)g.p[i] * (norm > t.attr[0] ? t.attr[0] / norm : 1);
            right = right && near(out.p[i], want, fabs(want), 4);
        }
        CHECK(right && matrix_intact(&out, lo, hi), "clip_norm, %lld elements", (long long)l->size);
    }
    g.p[lo] = *scalar.p = (REAL)NAN;
    run(&t, OP_clip_value, lo, hi);
    CHECK(isnan(out.p[lo]), "clip_value keeps NaN");
    run(&t, OP_clip_norm, lo, hi);
    CHECK(isnan(out.p[hi - 1]), "clip_norm keeps NaN");
    fnn_free(g.all); fnn_free(w.all); fnn_free(out.all); fnn_free(scalar.all);
}

/* One step of Keras 3 on one element, in double. */
static void keras_step(int op, const double *a, double lr, int t, double *w, double *s, double g) {
    if (op == OP_sgd) {
        *w -= *w * a[2] * lr;
        if (a[0] == 0) *w -= lr * g;
        else {
            s[0] = a[0] * s[0] - lr * g;
            *w += a[1] != 0 ? a[0] * s[0] - lr * g : s[0];
        }
    } else if (op == OP_rmsprop) {
        *w -= *w * a[4] * lr;
        s[0] = a[0] * s[0] + (1 - a[0]) * g * g;
        double denominator = s[0] + a[2];
        if (a[3] != 0) {
            s[2] = a[0] * s[2] + (1 - a[0]) * g;
            denominator = s[0] - s[2] * s[2] + a[2];
        }
        const double increment = lr * g / sqrt(denominator);
        s[1] = a[1] * s[1] + increment;
        *w -= a[1] > 0 ? s[1] : increment;
    } else {
        *w -= *w * a[4] * lr;
        s[0] += (g - s[0]) * (1 - a[0]);
        s[1] += (g * g - s[1]) * (1 - a[1]);
        s[2] = s[1] > s[2] ? s[1] : s[2];
        const double alpha = lr * sqrt(1 - pow(a[1], t)) / (1 - pow(a[0], t));
        *w -= s[0] * alpha / (sqrt(a[3] != 0 ? s[2] : s[1]) + a[2]);
    }
}

static void check_optimizer(int op, const double *attr, int slots, int64_t n) {
    enum { STEPS = 10 };
    const fnn_layout l = flat_layout(n);
    matrix w = matrix_param(&l, false), slot[FNN_MAX_SLOTS], g[STEPS];
    double *want = malloc((size_t)n * sizeof *want), coef[FNN_MAX_COEF], largest = 0, lr = 0.01;
    fnn_task t = {
        .in = {view_of(&w)}, .n_in = 2, .update = table->update[op], .coef = coef, .w = w.p, .layout = l};
    for (int i = 0; i < STEPS; i++) g[i] = matrix_param(&l, false);
    for (int i = 0; i < slots; i++) {
        slot[i] = matrix_new(n, 1, 1, 0);
        memset(slot[i].p, 0, (size_t)n * sizeof(REAL));
        t.slot[i] = slot[i].p;
    }
    for (int64_t i = 0; i < n; i++) {
        double s[FNN_MAX_SLOTS] = {0};
        want[i] = (double)w.p[i];
        for (int j = 0; j < STEPS; j++) keras_step(op, attr, lr, j + 1, &want[i], s, (double)g[j].p[i]);
    }
    for (int j = 0; j < STEPS; j++) {
        const int64_t cut = random_below(n + 1);
        t.in[1] = view_of(&g[j]);
        table->prepare[op](attr, lr, j + 1, coef);
        run(&t, op, 0, cut);
        run(&t, op, cut, n);
        fnn_free(g[j].all);
    }
    for (int64_t i = 0; i < n; i++) {
        const double error = fabs((double)w.p[i] - want[i]);
        largest = error > largest ? error : largest;
    }
    CHECK(largest <= (REAL_BITS == 32 ? 2e-5 : 1e-13), "%s, %lld elements: %g", fnn_ops[op].name,
          (long long)n, largest);
    CHECK(matrix_intact(&w, 0, 1), "%s, %lld elements", fnn_ops[op].name, (long long)n);
    for (int i = 0; i < slots; i++) {
        CHECK(matrix_intact(&slot[i], 0, n), "%s, %lld elements", fnn_ops[op].name, (long long)n);
        fnn_free(slot[i].all);
    }
    fnn_free(w.all); free(want);
}

/* A moment of zero with a gradient of zero moves nothing, even if epsilon is 0. */
static void check_at_rest(int op, const double *attr) {
    _Alignas(FNN_ALIGN) REAL w[VL] = {0}, s[FNN_MAX_SLOTS][VL] = {{0}}, g[VL] = {0};
    double coef[FNN_MAX_COEF];
    bool rest = true;
    memset(coef, 0, sizeof coef);   /* as a new session has them */
    table->prepare[op](attr, 0.1, 1, coef);
    table->update[op](coef, w, s[0], s[1], s[2], g, VL);
    for (int i = 0; i < VL; i++) rest = rest && w[i] == 0 && s[0][i] == 0 && s[1][i] == 0 && s[2][i] == 0;
    CHECK(rest, "%s", fnn_ops[op].name);
}

static void check_concat(int n, int64_t samples, int64_t outer, bool gaps) {
    matrix in[FNN_MAX_IN];
    const fnn_step step = {.rows = samples};
    fnn_task t = {.n_in = n, .step = &step, .outer = outer};
    int64_t width = 0;
    for (int i = 0; i < n; i++) {
        t.inner[i] = 1 + random_below(20);
        width += t.inner[i];
        in[i] = matrix_random(samples, outer * t.inner[i], outer * t.inner[i] + (gaps ? gap() : 0), shift());
        t.in[i] = view_of(&in[i]);
    }
    matrix out = matrix_new(samples, outer * width, outer * width + (gaps ? gap() : 0), shift());
    t.out[0] = view_of(&out);
    const int64_t lo = random_below(samples), hi = lo + 1 + random_below(samples - lo);
    run(&t, OP_concat, lo, hi);
    bool right = true, cut = true, padded = true;
    for (int64_t s = lo; s < hi; s++)
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0, at = 0; i < n; at += t.inner[i++])
                right = right && same(out.p + s * out.ld + o * width + at,
                                      in[i].p + s * in[i].ld + o * t.inner[i], t.inner[i]);
    CHECK(right, "concat of %d, %lld samples", n, (long long)samples);
    CHECK(matrix_intact(&out, lo, hi), "concat of %d, %lld samples", n, (long long)samples);
    for (int64_t i = 0, at = 0; i < n; at += t.inner[i++]) {
        matrix back = matrix_new(samples, outer * t.inner[i], in[i].ld, shift());
        fnn_task slice = {.in = {view_of(&out)},
                          .out = {view_of(&back)},
                          .n_in = 1,
                          .step = &step,
                          .outer = outer,
                          .inner = {width, at, t.inner[i]}};
        run(&slice, OP_slice, lo, hi);
        for (int64_t s = lo; s < hi; s++)
            cut = cut && same(back.p + s * back.ld, in[i].p + s * in[i].ld, back.cols);
        cut = cut && matrix_intact(&back, lo, hi);
        matrix whole = matrix_new(samples, outer * width, out.ld, shift());
        fnn_task pad = slice;
        pad.in[0] = view_of(&in[i]);
        pad.out[0] = view_of(&whole);
        pad.inner[0] = t.inner[i];
        pad.inner[2] = width;
        run(&pad, OP_pad, lo, hi);
        for (int64_t s = lo; s < hi; s++)
            for (int64_t e = 0; e < outer * width; e++) {
                const bool inside = e % width >= at && e % width < at + t.inner[i];
                padded = padded && whole.p[s * whole.ld + e] == (inside ? out.p[s * out.ld + e] : 0);
            }
        padded = padded && matrix_intact(&whole, lo, hi);
        fnn_free(whole.all);
        fnn_free(back.all);
        fnn_free(in[i].all);
    }
    CHECK(cut, "slice of %d, %lld samples", n, (long long)samples);
    CHECK(padded, "pad to %d, %lld samples", n, (long long)samples);
    fnn_free(out.all);
}

/* (samples, lead, cols) to (samples, lead2, cols2) of as many elements */
static void check_reshape(int64_t samples, int64_t lead, int64_t cols, int64_t lead2, int64_t cols2,
                          bool gaps) {
    matrix in = matrix_random(samples * lead, cols, cols + (gaps ? gap() : 0), shift());
    matrix out = matrix_new(samples * lead2, cols2, cols2 + (gaps ? gap() : 0), shift());
    const fnn_step step = {.rows = samples};
    fnn_task t = {.in = {view_of(&in)}, .out = {view_of(&out)}, .n_in = 1, .step = &step};
    t.in[0].lead = lead;
    t.out[0].lead = lead2;
    const int64_t lo = random_below(samples), hi = lo + 1 + random_below(samples - lo);
    run(&t, OP_reshape, lo, hi);
    bool right = true;
    for (int64_t s = lo; s < hi; s++)
        for (int64_t e = 0; e < lead * cols; e++)
            right = right && out.p[(s * lead2 + e / cols2) * out.ld + e % cols2] ==
                                 in.p[(s * lead + e / cols) * in.ld + e % cols];
    CHECK(right, "%lld x %lld to %lld x %lld", (long long)lead, (long long)cols, (long long)lead2,
          (long long)cols2);
    CHECK(matrix_intact(&out, lo * lead2, hi * lead2), "%lld x %lld to %lld x %lld", (long long)lead,
          (long long)cols, (long long)lead2, (long long)cols2);
    fnn_free(in.all);
    fnn_free(out.all);
}

/* one_hot, to_real of integers (rows, cols), and full */
static void check_filled(int64_t samples, int64_t lead, int64_t cols) {
    const int64_t rows = samples * lead, lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    const int64_t ld = cols + gap();
    matrix hot = matrix_new(rows, cols, cols + gap(), shift()), real = matrix_new(rows, cols, cols + gap(), shift());
    int32_t *index = malloc((size_t)rows * sizeof *index), *x = malloc((size_t)(rows * ld) * sizeof *x);
    for (int64_t r = 0; r < rows; r++) index[r] = (int32_t)random_below(cols);
    for (int64_t i = 0; i < rows * ld; i++) x[i] = (int32_t)random_bits() >> random_below(31);
    fnn_task t = {.in = {{index, 1, 1, 1}}, .out = {view_of(&hot)}, .n_in = 1};
    run(&t, OP_one_hot, lo, hi);
    t.in[0] = (fnn_view){x, ld, cols, 1};
    t.out[0] = view_of(&real);
    run(&t, OP_to_real, lo, hi);
    bool right = matrix_intact(&hot, lo, hi), equal = matrix_intact(&real, lo, hi);
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < cols; c++) {
            right = right && hot.p[r * hot.ld + c] == (c == index[r]);
            equal = equal && real.p[r * real.ld + c] == (REAL)x[r * ld + c];
        }
    CHECK(right, "one_hot, %lld x %lld", (long long)rows, (long long)cols);
    CHECK(equal, "to_real, %lld x %lld", (long long)rows, (long long)cols);
    matrix constant = matrix_new(rows, cols, cols + gap(), shift());
    t = (fnn_task){.out = {view_of(&constant)}, .attr = {-0.75}};
    t.out[0].lead = lead;
    const int64_t first = random_below(samples), last = first + 1 + random_below(samples - first);
    run(&t, OP_full, first, last);
    right = matrix_intact(&constant, first * lead, last * lead);
    for (int64_t r = first * lead; r < last * lead; r++)
        for (int64_t c = 0; c < cols; c++) right = right && constant.p[r * constant.ld + c] == (REAL)-0.75;
    CHECK(right, "full, %lld x %lld", (long long)rows, (long long)cols);
    fnn_free(hot.all); fnn_free(real.all); fnn_free(constant.all); free(index); free(x);
}

int main(void) {
    static const int64_t sizes[] = {1,  2,  3,  4,  5,  7,  8,  9,   15,  16,
                                    17, 31, 32, 33, 63, 64, 65, 127, 257, 300};
    static const struct {
        int op, slots;
        double attr[FNN_MAX_ATTR];
    } optimizers[] = {{OP_sgd, 0, {0, 0, 0}},
                      {OP_sgd, 0, {0, 1, 0.1}},
                      {OP_sgd, 1, {0.9, 0, 0.1}},
                      {OP_sgd, 1, {0.9, 1, 0}},
                      {OP_rmsprop, 1, {0.9, 0, 1e-7, 0, 0.1}},
                      {OP_rmsprop, 2, {0.9, 0.8, 1e-7, 0, 0}},
                      {OP_rmsprop, 3, {0.9, 0, 1e-3, 1, 0}},
                      {OP_rmsprop, 3, {0.9, 0.8, 1e-3, 1, 0.1}},
                      {OP_adam, 2, {0.9, 0.999, 1e-7, 0, 0}},
                      {OP_adam, 2, {0.8, 0.99, 1e-3, 0, 0.1}},
                      {OP_adam, 3, {0.9, 0.9, 1e-7, 1, 0}}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t n = sizes[i], rows = 1 + random_below(9);
        for (int gaps = 0; gaps < 2; gaps++) {
            check_bias_add(rows, n, gaps);
            check_bias_add(n, 1 + random_below(5), gaps);
        }
        check_sum_rows(rows, 1 + random_below(3), n);
        check_sum_rows(n, 1, 1 + random_below(40));
        check_filled(rows, 1 + random_below(3), n);
        check_loss_seed(rows, 1 + random_below(4), 1 + random_below(4));
        check_dropout(rows, 1 + random_below(4), n, 0.25);
        check_dropout(rows, 1, n, 0);
        check_dropout(1, 2, 3 * n, 1 - 0x1p-24);
        const fnn_layout flat = flat_layout(n), panel = panel_layout(n, 1 + random_below(50));
        check_parameter(&flat);
        check_parameter(&panel);
        for (size_t j = 0; j < sizeof optimizers / sizeof *optimizers; j++)
            check_optimizer(optimizers[j].op, optimizers[j].attr, optimizers[j].slots, n);
    }
    check_dropout(40, 1, 2000, 0.5);
    check_at_rest(OP_rmsprop, (const double[FNN_MAX_ATTR]){0.9, 0.9, 0, 1, 0});
    check_at_rest(OP_adam, (const double[FNN_MAX_ATTR]){0.9, 0.999, 0, 1, 0});
    check_at_rest(OP_adagrad, (const double[FNN_MAX_ATTR]){0, 0, 0});
    check_at_rest(OP_adadelta, (const double[FNN_MAX_ATTR]){0.9, 0, 0});
    check_at_rest(OP_nadam, (const double[FNN_MAX_ATTR]){0.9, 0.999, 0, 0});
    check_at_rest(OP_lion, (const double[FNN_MAX_ATTR]){0.9, 0.99, 0});
    check_at_rest(OP_rprop, (const double[FNN_MAX_ATTR]){0.5, 1.2, 1e-6, 50});
    check_at_rest(OP_moving_average, (const double[FNN_MAX_ATTR]){0.99});
    for (int i = 0; i < 60; i++) {
        check_concat(1 + (int)random_below(FNN_MAX_IN), 1 + random_below(6), 1, true);
        check_concat(1 + (int)random_below(4), 1 + random_below(6), 1 + random_below(5), false);
        const int64_t a = 1 + random_below(6), b = 1 + random_below(6), c = 1 + random_below(6);
        check_reshape(1 + random_below(5), a, b * c, a * b, c, i % 2);
        check_reshape(1 + random_below(5), b * c, a, 1, a * b * c, i % 2);
        check_reshape(1 + random_below(5), a * b, c, c * a, b, i % 2);
    }
    return summary("check_ops");
}
