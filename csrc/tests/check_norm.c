/* Kernels of normalisation, tables, draws and pictures: gaps between rows, odd addresses, and the same bits
 * for every cut of the range. tests/test_ops.py holds their values to plain array code; here a sum that is
 * known beforehand stands for them. */
#include "kernel_check.h"

static int64_t gap(void) { return random_below(2) * random_below(9); }
static int shift(void) { return (int)random_below(VL); }

static bool all_finite(const matrix *m, int64_t lo, int64_t hi) {
    for (int64_t r = lo; r < hi; r++)
        for (int64_t c = 0; c < m->cols; c++)
            if (!isfinite(m->p[r * m->ld + c])) return false;
    return true;
}

/* Runs the task over [lo, hi) as a whole into `whole` and in two pieces into `cut`, both its outputs `o`;
 * `unit` rows of the output a step of the range. */
static void check_cut(fnn_task *t, int op, int o, int64_t hi, int64_t unit, matrix *whole, matrix *cut) {
    const int64_t lo = random_below(hi), middle = lo + random_below(hi - lo + 1);
    t->out[o].p = cut->p;
    table->run[op](t, lo, middle, scratch);
    table->run[op](t, middle, hi, scratch);
    t->out[o].p = whole->p;
    table->run[op](t, lo, hi, scratch);
    bool equal = true;
    for (int64_t r = lo * unit; r < hi * unit; r++)
        equal = equal && same(whole->p + r * whole->ld, cut->p + r * cut->ld, whole->cols);
    CHECK(equal, "%s: a cut range has other bits", fnn_ops[op].name);
    CHECK(all_finite(whole, lo * unit, hi * unit), "%s reads what is not its own", fnn_ops[op].name);
    CHECK(matrix_intact(whole, lo * unit, hi * unit) && matrix_intact(cut, lo * unit, hi * unit),
          "%s writes what is not its own", fnn_ops[op].name);
}

static fnn_view rows_of(const matrix *m, int64_t lead) {
    fnn_view v = view_of(m);
    v.lead = lead;
    return v;
}

static void check_layer_norm(int64_t rows, int64_t cols) {
    matrix x = matrix_random(rows, cols, cols + gap(), shift());
    matrix dy = matrix_random(rows, cols, cols + gap(), shift());
    matrix y = matrix_new(rows, cols, cols + gap(), shift()), again = matrix_copy(&y);
    matrix dx = matrix_new(rows, cols, cols + gap(), shift()), cut = matrix_copy(&dx);
    matrix scale = matrix_new(rows, 1, 1 + gap(), shift());
    const fnn_step step = {.rows = rows};
    fnn_task t = {.in = {view_of(&x)}, .out = {view_of(&y), view_of(&scale)}, .attr = {1e-3}, .n_in = 1};
    t.step = &step;
    check_cut(&t, OP_layer_norm, 0, rows, 1, &y, &again);
    table->run[OP_layer_norm](&t, 0, rows, scratch);
    CHECK(matrix_intact(&scale, 0, rows), "layer_norm, %lld columns", (long long)cols);
    double sum = 0;
    for (int64_t c = 0; c < cols; c++) sum += (double)y.p[c];
    CHECK(fabs(sum) <= 16 * epsilon * (double)cols, "layer_norm, %lld columns: sum %g", (long long)cols, sum);
    fnn_task grad = {.in = {view_of(&dy), view_of(&y), view_of(&scale)}, .out = {view_of(&dx)}, .n_in = 3};
    grad.step = &step;
    check_cut(&grad, OP_layer_norm_grad, 0, rows, 1, &dx, &cut);
    fnn_free(x.all); fnn_free(dy.all); fnn_free(y.all); fnn_free(again.all);
    fnn_free(scale.all); fnn_free(dx.all); fnn_free(cut.all);
}

static void check_moments(int64_t samples, int64_t lead, int64_t cols) {
    const int64_t rows = samples * lead;
    matrix x = matrix_random(rows, cols, cols + gap(), shift());
    matrix mean = matrix_new(cols, 1, 1, shift()), variance = matrix_new(cols, 1, 1, shift());
    matrix dx = matrix_new(rows, cols, cols + gap(), shift()), dx_cut = matrix_copy(&dx);
    matrix cut = matrix_copy(&mean);
    const fnn_step step = {.rows = samples};
    fnn_task t = {.in = {rows_of(&x, lead)}, .out = {view_of(&mean), view_of(&variance)}, .n_in = 1};
    t.step = &step;
    check_cut(&t, OP_batch_moments, 0, cols, 1, &mean, &cut);
    table->run[OP_batch_moments](&t, 0, cols, scratch);
    CHECK(matrix_intact(&variance, 0, cols), "batch_moments, %lld columns", (long long)cols);
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += (double)x.p[r * x.ld + cols - 1];
    CHECK(fabs((double)mean.p[cols - 1] - sum / (double)rows) <= 64 * epsilon, "batch_moments, %lld rows",
          (long long)rows);
    fnn_task grad = {.in = {view_of(&mean), view_of(&variance), rows_of(&x, lead), view_of(&mean)},
                     .out = {rows_of(&dx, lead)}, .n_in = 4, .step = &step};
    check_cut(&grad, OP_batch_moments_grad, 0, rows, 1, &dx, &dx_cut);
    fnn_free(x.all); fnn_free(mean.all); fnn_free(variance.all); fnn_free(cut.all); fnn_free(dx.all); fnn_free(dx_cut.all);
}

/* Ones added up: row k of the gradient counts how often k was looked up. */
static void check_embedding(int64_t rows, int64_t entries, int64_t cols) {
    const fnn_layout l = panel_layout(entries, cols);
    matrix out = matrix_new(rows, cols, cols + gap(), shift()), cut = matrix_copy(&out);
    matrix dy = matrix_random(rows, cols, cols + gap(), shift()), sum = matrix_new(1, l.size, l.size, 0);
    matrix w = matrix_param(&l, false);
    int32_t *index = malloc((size_t)rows * sizeof *index);
    for (int64_t r = 0; r < rows; r++) index[r] = (int32_t)random_below(entries);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) dy.p[r * dy.ld + c] = 1;
    const fnn_step step = {.rows = rows};
    fnn_task t = {.in = {view_of(&w), {index, 1, 1, 1}}, .out = {view_of(&out)}, .n_in = 2, .layout = l};
    t.step = &step;
    check_cut(&t, OP_embedding, 0, rows, 1, &out, &cut);
    table->run[OP_embedding](&t, 0, rows, scratch);
    bool right = true;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            right = right && out.p[r * out.ld + c] == w.p[panel_at(&l, index[r], c)];
    CHECK(right, "embedding, %lld x %lld", (long long)entries, (long long)cols);

    fnn_task grad = {.in = {view_of(&dy), {index, 1, 1, 1}}, .out = {view_of(&sum)}, .n_in = 2, .layout = l};
    grad.step = &step;
    const int64_t middle = cols / 2 / l.nr * l.nr;
    table->run[OP_embedding_grad](&grad, middle, cols, scratch);
    table->run[OP_embedding_grad](&grad, 0, middle, scratch);
    double total = 0;
    for (int64_t i = 0; i < l.size; i++) total += (double)sum.p[i];
    right = total == (double)(rows * cols);      /* and so the padding is 0 */
    for (int64_t k = 0; k < entries; k++) {
        int64_t count = 0;
        for (int64_t r = 0; r < rows; r++) count += index[r] == k;
        for (int64_t c = 0; c < cols; c++) right = right && sum.p[panel_at(&l, k, c)] == (REAL)count;
    }
    CHECK(right && matrix_intact(&sum, 0, 1), "embedding_grad, %lld x %lld", (long long)entries,
          (long long)cols);
    fnn_free(w.all); fnn_free(out.all); fnn_free(cut.all); fnn_free(dy.all); fnn_free(sum.all); free(index);
}

static void check_draws(int op, int64_t samples, int64_t lead, int64_t cols) {
    matrix out = matrix_new(samples * lead, cols, cols + gap(), shift()), cut = matrix_copy(&out);
    int64_t *sample = malloc((size_t)samples * sizeof *sample);
    for (int64_t s = 0; s < samples; s++) sample[s] = (int64_t)random_bits() << random_below(9);
    const fnn_step step = {.rows = samples, .seed = 0x123456789ABCDEFu, .epoch = 3, .sample = sample};
    fnn_task t = {.out = {rows_of(&out, lead)}, .attr = {0.5, 2, 7}, .step = &step};
    check_cut(&t, op, 0, samples, lead, &out, &cut);
    fnn_free(out.all); fnn_free(cut.all); free(sample);
}

/* Also where the map leads far outside, and to no place at all. */
static void check_warp(int64_t samples, int64_t h, int64_t w, int64_t channels, int fill_mode, bool nearest) {
    matrix x = matrix_random(samples * h * w, channels, channels, shift());
    matrix m = matrix_random(samples, 6, 6 + gap(), shift());
    matrix out = matrix_new(samples * h * w, channels, channels, shift()), cut = matrix_copy(&out);
    matrix dx = matrix_copy(&out), dx_cut = matrix_copy(&out);
    for (int64_t s = 0; s < samples; s++) m.p[s * m.ld + 2] *= (REAL)h, m.p[s * m.ld + 5] *= (REAL)w;
    m.p[(samples - 1) * m.ld + 2] = samples % 2 ? (REAL)NAN : (REAL)1e30;
    const fnn_step step = {.rows = samples};
    fnn_task t = {.in = {rows_of(&x, h * w), view_of(&m)}, .out = {rows_of(&out, h * w)}, .outer = h,
                  .n_in = 2, .attr = {fill_mode, 0.5, nearest}, .step = &step};
    check_cut(&t, OP_warp, 0, samples, h * w, &out, &cut);
    check_cut(&t, OP_warp_grad, 0, samples, h * w, &dx, &dx_cut);
    fnn_free(x.all); fnn_free(m.all); fnn_free(out.all); fnn_free(cut.all); fnn_free(dx.all); fnn_free(dx_cut.all);
}

static void check_mix(int64_t samples, int64_t lead, int64_t cols, double alpha) {
    matrix x = matrix_random(samples * lead, cols, cols + gap(), shift());
    matrix out = matrix_new(samples * lead, cols, cols + gap(), shift()), cut = matrix_copy(&out);
    int64_t *sample = malloc((size_t)samples * sizeof *sample);
    for (int64_t s = 0; s < samples; s++) sample[s] = samples - s;
    const fnn_step step = {.rows = samples, .seed = 5, .epoch = 1, .sample = sample};
    fnn_task t = {.in = {rows_of(&x, lead)}, .out = {rows_of(&out, lead)}, .attr = {alpha, 2}, .n_in = 1};
    t.step = &step;
    check_cut(&t, OP_mix, 0, samples, lead, &out, &cut);
    table->run[OP_mix](&t, 0, samples, scratch);
    bool kept = true;      /* a pair has the sum that it had */
    for (int64_t s = 0; s < samples; s++) {
        const int64_t a = s * lead, b = (samples - 1 - s) * lead;
        const REAL before = x.p[a * x.ld] + x.p[b * x.ld], after = out.p[a * out.ld] + out.p[b * out.ld];
        kept = kept && fabs((double)(before - after)) <= 8 * epsilon;
    }
    CHECK(kept, "mix, %lld samples", (long long)samples);
    fnn_free(x.all); fnn_free(out.all); fnn_free(cut.all); free(sample);
}

int main(void) {
    static const int64_t sizes[] = {1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 64, 65, 127, 130, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t n = sizes[i], rows = 1 + random_below(9), lead = 1 + random_below(3);
        check_layer_norm(rows, n);
        check_layer_norm(n, 1 + random_below(9));
        check_moments(rows, lead, n);
        check_moments(n, lead, 1 + random_below(70));
        check_embedding(n, rows, 1 + random_below(70));
        check_embedding(rows, n, n);
        check_draws(OP_random_uniform, rows, lead, n);
        check_draws(OP_random_normal, n, lead, 1 + random_below(9));
        check_mix(rows, lead, n, 0.3);
        check_mix(n, 1, rows, 2.5);
        for (int fill_mode = 0; fill_mode < 4; fill_mode++)
            for (int nearest = 0; nearest < 2; nearest++) {
                check_warp(rows, lead, n, 1 + random_below(3), fill_mode, nearest);
                check_warp(lead, 1 + random_below(9), 1 + random_below(9), n % 19 + 1, fill_mode, nearest);
            }
    }
    return summary("check_norm");
}
