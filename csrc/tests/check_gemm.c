/* The matrix products of one table against plain double loops: tails, blocks, gaps between rows, ranges; the
 * same bits for a row alone and in a batch, for any cut of the items, and for a fused and a separate update.
 */
#include "kernel_check.h"

enum { OPTIMIZERS = 10 };
static const struct { int op, slots; double attr[FNN_MAX_ATTR]; } optimizers[OPTIMIZERS] = {
    {OP_sgd, 0, {0, 0, 0}},
    {OP_sgd, 1, {0.9, 0, 0.01}},
    {OP_sgd, 1, {0.9, 1, 0}},
    {OP_rmsprop, 1, {0.9, 0, 1e-7, 0, 0}},
    {OP_rmsprop, 2, {0.9, 0.5, 1e-7, 0, 0.01}},
    {OP_rmsprop, 3, {0.9, 0, 1e-7, 1, 0}},
    {OP_rmsprop, 3, {0.9, 0.5, 0, 1, 0}},
    {OP_adam, 2, {0.9, 0.999, 1e-7, 0, 0}},
    {OP_adam, 2, {0.9, 0.999, 0, 0, 0.01}},
    {OP_adam, 3, {0.9, 0.999, 1e-7, 1, 0}},
};

static int shift(void) { return (int)random_below(VL); }
static int64_t gap(void) { return random_below(2) * random_below(9); }

static bool near_sum(REAL got, double want, double magnitude, int64_t terms) {
    return fabs((double)got - want) <= epsilon * (double)(terms + 2) * magnitude + 1e-300;
}

static void check_forward(int64_t rows, int64_t K, int64_t N) {
    const fnn_layout l = panel_layout(K, N);
    matrix x = matrix_random(rows, K, K + gap(), shift()), w = matrix_param(&l, false);
    matrix bias = matrix_random(1, N, N, shift()), out = matrix_new(rows, N, N + gap(), shift());
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    const fnn_step step = {.rows = rows};
    fnn_task t = {.in = {view_of(&x), view_of(&w)},
                  .out = {view_of(&out)},
                  .n_in = 2,
                  .step = &step,
                  .layout = l,
                  .bias = random_below(2) ? bias.p : NULL,
                  .relu = random_below(2)};
    table->run[OP_matmul](&t, lo, hi, scratch);
    bool right = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0, magnitude = 1;
            for (int64_t k = 0; k < K; k++) {
                const double term = (double)x.p[r * x.ld + k] * (double)w.p[panel_at(&l, k, n)];
                sum += term;
                magnitude += fabs(term);
            }
            if (t.bias) sum += (double)bias.p[n];
            if (t.relu && sum < 0) sum = 0;
            right = right && near_sum(out.p[r * out.ld + n], sum, magnitude, K);
        }
    CHECK(right, "matmul %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    CHECK(matrix_intact(&out, lo, hi), "matmul %lld x %lld x %lld", (long long)rows, (long long)K,
          (long long)N);
    matrix alone = matrix_new(rows, N, out.ld, 0);
    bool equal = true;
    t.out[0] = view_of(&alone);
    for (int64_t r = lo; r < hi; r++) {
        table->run[OP_matmul](&t, r, r + 1, scratch);
        equal = equal && same(alone.p + r * alone.ld, out.p + r * out.ld, N);
    }
    CHECK(equal, "matmul %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    fnn_free(x.all); fnn_free(w.all); fnn_free(bias.all); fnn_free(out.all); fnn_free(alone.all);
}

static void check_nt(int64_t rows, int64_t K, int64_t N) {
    const fnn_layout l = panel_layout(K, N);
    matrix dy = matrix_random(rows, N, N + gap(), shift()), w = matrix_param(&l, false);
    matrix out = matrix_new(rows, K, K + gap(), shift()), alone = matrix_new(rows, K, out.ld, 0);
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    const fnn_step step = {.rows = rows};
    fnn_task t = {
        .in = {view_of(&dy), view_of(&w)}, .out = {view_of(&out)}, .n_in = 2, .step = &step, .layout = l};
    table->run[OP_matmul_nt](&t, lo, hi, scratch);
    bool right = true, equal = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t k = 0; k < K; k++) {
            double sum = 0, magnitude = 1;
            for (int64_t n = 0; n < N; n++) {
                const double term = (double)dy.p[r * dy.ld + n] * (double)w.p[panel_at(&l, k, n)];
                sum += term;
                magnitude += fabs(term);
            }
            right = right && near_sum(out.p[r * out.ld + k], sum, magnitude, N);
        }
    CHECK(right, "matmul_nt %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    CHECK(matrix_intact(&out, lo, hi), "matmul_nt %lld x %lld x %lld", (long long)rows, (long long)K,
          (long long)N);
    t.out[0] = view_of(&alone);
    for (int64_t r = lo; r < hi; r++) {
        table->run[OP_matmul_nt](&t, r, r + 1, scratch);
        equal = equal && same(alone.p + r * alone.ld, out.p + r * out.ld, K);
    }
    CHECK(equal, "matmul_nt %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    fnn_free(dy.all); fnn_free(w.all); fnn_free(out.all); fnn_free(alone.all);
}

/* One optimizer: the update in the epilogue of the product, cut into two ranges, against gradient, penalty
 * and update apart. */
static void check_fused(fnn_task t, const fnn_layout *l, int which, double l1, double l2, bool store) {
    matrix w = matrix_param(l, false), slot[FNN_MAX_SLOTS], w2 = matrix_copy(&w), slot2[FNN_MAX_SLOTS];
    matrix g = matrix_new(1, l->size, l->size, 0), g2 = matrix_copy(&g);
    double coef[FNN_MAX_COEF];
    fnn_task apart = {.in = {view_of(&g), view_of(&w)},
                      .out = {view_of(&g)},
                      .attr = {l1, l2},
                      .step = t.step,
                      .layout = *l};
    for (int i = 0; i < optimizers[which].slots; i++) {
        slot[i] = matrix_param(l, true);
        slot2[i] = matrix_copy(&slot[i]);
        apart.slot[i] = slot[i].p;
        t.slot[i] = slot2[i].p;
    }
    table->prepare[optimizers[which].op](optimizers[which].attr, 0.01, 3, coef);
    t.out[0] = view_of(&g);
    table->run[OP_matmul_tn](&t, 0, l->items, scratch);
    if (l1 != 0 || l2 != 0) table->run[OP_penalty_grad](&apart, 0, l->size, scratch);
    apart.in[0] = view_of(&w);
    apart.in[1] = view_of(&g);
    apart.update = t.update = table->update[optimizers[which].op];
    apart.coef = t.coef = coef;
    apart.w = w.p;
    const int64_t cut = random_below(l->items + 1), element = fnn_item_start(l, cut);
    table->run[optimizers[which].op](&apart, 0, element, scratch);
    table->run[optimizers[which].op](&apart, element, l->size, scratch);

    const int64_t middle = random_below(l->items + 1);
    t.out[0] = store ? view_of(&g2) : (fnn_view){0};
    t.w = w2.p; t.l1 = l1; t.l2 = l2;
    if (middle < l->items) table->run[OP_matmul_tn](&t, middle, l->items, scratch);
    if (middle > 0) table->run[OP_matmul_tn](&t, 0, middle, scratch);
    bool equal = memcmp(w.all, w2.all, (size_t)w.size * sizeof(REAL)) == 0, padding = true;
    for (int i = 0; i < optimizers[which].slots; i++)
        equal = equal && memcmp(slot[i].all, slot2[i].all, (size_t)slot[i].size * sizeof(REAL)) == 0;
    CHECK(equal, "optimizer %d, %lld x %lld", which, (long long)l->rows, (long long)l->cols);
    CHECK(matrix_intact(&g2, 0, store), "optimizer %d, %lld x %lld", which, (long long)l->rows,
          (long long)l->cols);
    REAL *is_padding = calloc((size_t)l->size, sizeof(REAL));
    for (int64_t k = 0; k < l->rows; k++)
        for (int64_t n = 0; n < l->cols; n++) is_padding[panel_at(l, k, n)] = 1;
    for (int64_t i = 0; i < l->size; i++) {
        padding = padding && (is_padding[i] != 0 || (w2.p[i] == 0 && (!store || g2.p[i] == 0)));
        for (int s = 0; s < optimizers[which].slots; s++)
            padding = padding && (is_padding[i] != 0 || slot2[s].p[i] == 0);
    }
    CHECK(padding, "optimizer %d, %lld x %lld", which, (long long)l->rows, (long long)l->cols);
    for (int i = 0; i < optimizers[which].slots; i++) { fnn_free(slot[i].all); fnn_free(slot2[i].all); }
    free(is_padding); fnn_free(w.all); fnn_free(w2.all); fnn_free(g.all); fnn_free(g2.all);
}

static void check_tn(int64_t samples, int64_t lead, int64_t K, int64_t N) {
    const int64_t rows = samples * lead;
    const fnn_layout l = panel_layout(K, N);
    matrix x = matrix_random(rows, K, K + gap(), shift()), dy = matrix_random(rows, N, N + gap(), shift());
    matrix g = matrix_new(1, l.size, l.size, 0), pieces = matrix_new(1, l.size, l.size, 0);
    const fnn_step step = {.rows = samples};
    fnn_task t = {
        .in = {view_of(&x), view_of(&dy)}, .out = {view_of(&g)}, .n_in = 2, .step = &step, .layout = l};
    t.in[0].lead = t.in[1].lead = lead;
    table->run[OP_matmul_tn](&t, 0, l.items, scratch);
    REAL *want = calloc((size_t)l.size, sizeof(REAL));
    bool right = true, equal = true, inside = true;
    for (int64_t k = 0; k < K; k++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0, magnitude = 1;
            for (int64_t r = 0; r < rows; r++) {
                const double term = (double)x.p[r * x.ld + k] * (double)dy.p[r * dy.ld + n];
                sum += term;
                magnitude += fabs(term);
            }
            right = right && near_sum(g.p[panel_at(&l, k, n)], sum, magnitude, rows);
            want[panel_at(&l, k, n)] = g.p[panel_at(&l, k, n)];
        }
    CHECK(right, "matmul_tn %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    CHECK(same(want, g.p, l.size), "padding, matmul_tn %lld x %lld x %lld", (long long)rows, (long long)K,
          (long long)N);
    CHECK(matrix_intact(&g, 0, 1), "matmul_tn %lld x %lld x %lld", (long long)rows, (long long)K,
          (long long)N);
    t.out[0] = view_of(&pieces);
    for (int64_t i = 0, next; i < l.items; i = next) {
        next = i + 1 + random_below(l.items - i);
        table->run[OP_matmul_tn](&t, i, next, scratch);
        equal = equal && same(g.p, pieces.p, fnn_item_start(&l, next));
        for (int64_t e = fnn_item_start(&l, next); e < l.size; e++) inside = inside && isnan(pieces.p[e]);
    }
    CHECK(equal, "matmul_tn in pieces %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    CHECK(inside, "matmul_tn in pieces %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    const int which = (int)random_below(OPTIMIZERS);
    check_fused(t, &l, which, random_below(2) ? 0.01 : 0, random_below(2) ? 0.02 : 0, random_below(2));
    x.p[random_below(K)] = (REAL)INFINITY;
    check_fused(t, &l, which, 0, 0, true);
    fnn_free(x.all); fnn_free(dy.all); fnn_free(g.all); fnn_free(pieces.all); free(want);
}

static void check(int64_t rows, int64_t K, int64_t N) {
    check_forward(rows, K, N);
    check_nt(rows, K, N);
    check_tn(rows, 1, K, N);
}

int main(void) {
    const int64_t nr = table->nr, mr = table->mr;
    const int64_t small[] = {1,  2,      3,      4,  VL - 1, VL,         VL + 1,    mr - 1,
                             mr, mr + 1, nr - 1, nr, nr + 1, 2 * mr + 1, 2 * nr + 3};
    enum { SMALL = sizeof small / sizeof *small };
    for (int i = 0; i < SMALL; i++)
        for (int j = 0; j < SMALL; j++)
            for (int k = 0; k < SMALL; k++) check(small[i], small[j], small[k]);
    for (int i = 0; i < 40; i++) check(1 + random_below(60), 1 + random_below(150), 1 + random_below(5 * nr));
    for (int i = 0; i < OPTIMIZERS * 2; i++)
        check_tn(1 + random_below(9), 1 + random_below(5), 1 + random_below(40), 1 + random_below(3 * nr));
    /* beyond the blocks: of the summed index, of rows, of transposed panels, of packed strips and the panels
     * that share them */
    static const int64_t large[][3] = {{1, 600, 70},   {300, 257, 40},  {7, 40, 513},   {5, 300, 300},
                                       {150, 130, 33}, {260, 100, 300}, {530, 110, 35}, {1, 1000, 1},
                                       {257, 1, 1},    {600, 17, 257}};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) check(large[i][0], large[i][1], large[i][2]);
    check(9, 2 * 6 * nr * 2 + 5, 7);
    return summary("check_gemm");
}
