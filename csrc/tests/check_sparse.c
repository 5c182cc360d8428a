/* The products of sparse rows of one table against plain double loops: tails of panels, empty rows, columns in no
 * order and several times, values of other types, both sizes of an index; the same bits for a row alone and for any
 * cut of the columns; columns that the kernel does not have are left out. */
#include "kernel_check.h"

typedef struct {
    fnn_csr m;
    void *data, *indices;
    double *value;                   /* as numbers of the table's type */
    int64_t *column;
    matrix extent;
} sparse;

/* Rows of 0 to `most` values; of int8 values where `small`. */
static sparse sparse_new(int64_t rows, int64_t cols, int64_t most, bool wide, bool small) {
    sparse s = {.extent = matrix_new(rows, sizeof(fnn_extent) / sizeof(REAL), sizeof(fnn_extent) / sizeof(REAL), 0)};
    fnn_extent *extent = (fnn_extent *)(void *)s.extent.p;
    int64_t count = 3;               /* some that belong to no row */
    for (int64_t r = 0; r < rows; r++) {
        extent[r].first = count;
        if (r % 4 != 3) count += random_below(most + 1);
        extent[r].end = count;
    }
    s.data = malloc((size_t)count * (small ? 1 : sizeof(REAL)));
    s.indices = malloc((size_t)count * (wide ? 8 : 4));
    s.value = malloc((size_t)count * sizeof(double));
    s.column = malloc((size_t)count * sizeof(int64_t));
    if (!s.data || !s.indices || !s.value || !s.column) exit(2);
    for (int64_t i = 0; i < count; i++) {
        const REAL x = small ? (REAL)(random_below(7) - 3) : random_real();
        s.value[i] = (double)x;
        s.column[i] = random_below(cols);
        if (small) ((int8_t *)s.data)[i] = (int8_t)x;
        else ((REAL *)s.data)[i] = x;
        if (wide) ((int64_t *)s.indices)[i] = s.column[i];
        else ((int32_t *)s.indices)[i] = (int32_t)s.column[i];
    }
    s.m = (fnn_csr){.data = s.data, .indices = s.indices, .dtype = small ? FNN_I8 : REAL_BITS == 32 ? FNN_F32 : FNN_F64,
                    .index_dtype = wide ? FNN_I64 : FNN_I32, .rows = rows, .cols = cols, .count = count};
    return s;
}

static void sparse_free(sparse *s) {
    free(s->data); free(s->indices); free(s->value); free(s->column); fnn_free(s->extent.all);
}

static fnn_extent extent_of(const sparse *s, int64_t r) { return ((const fnn_extent *)(const void *)s->extent.p)[r]; }

static void check_forward(int64_t rows, int64_t K, int64_t N, int64_t most, bool wide, bool small) {
    const fnn_layout l = panel_layout(K, N);
    sparse x = sparse_new(rows, K, most, wide, small);
    matrix w = matrix_param(&l, false), bias = matrix_random(1, N, N, 1), out = matrix_new(rows, N, N + 3, 1);
    const int64_t lo = random_below(rows), hi = lo + 1 + random_below(rows - lo);
    const fnn_step step = {.rows = rows};
    fnn_task t = {.in = {{x.extent.p, 1, K, 1}, view_of(&w)}, .out = {view_of(&out)}, .n_in = 2, .step = &step,
                  .layout = l, .csr = &x.m, .bias = random_below(2) ? bias.p : NULL, .relu = random_below(2)};
    table->run[OP_matmul_csr](&t, lo, hi, scratch);
    bool right = true, equal = true;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t n = 0; n < N; n++) {
            const fnn_extent e = extent_of(&x, r);
            double sum = 0, magnitude = 1;
            for (int64_t i = e.first; i < e.end; i++) {
                const double term = x.value[i] * (double)w.p[panel_at(&l, x.column[i], n)];
                sum += term;
                magnitude += fabs(term);
            }
            if (t.bias) sum += (double)bias.p[n];
            if (t.relu && sum < 0) sum = 0;
            right = right && fabs((double)out.p[r * out.ld + n] - sum) <= epsilon * (double)(most + 2) * magnitude;
        }
    CHECK(right, "matmul_csr %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    CHECK(matrix_intact(&out, lo, hi), "matmul_csr %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    matrix alone = matrix_new(rows, N, out.ld, 0);
    t.out[0] = view_of(&alone);
    for (int64_t r = lo; r < hi; r++) {
        table->run[OP_matmul_csr](&t, r, r + 1, scratch);
        equal = equal && same(alone.p + r * alone.ld, out.p + r * out.ld, N);
    }
    CHECK(equal, "matmul_csr %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    sparse_free(&x);
    fnn_free(w.all); fnn_free(bias.all); fnn_free(out.all); fnn_free(alone.all);
}

static void check_gradient(int64_t rows, int64_t K, int64_t N, int64_t most, bool wide, bool small) {
    const fnn_layout l = panel_layout(K, N);
    sparse x = sparse_new(rows, K, most, wide, small);
    matrix dy = matrix_random(rows, N, N + 5, 1), g = matrix_new(1, l.size, l.size, 0), cut = matrix_copy(&g);
    const fnn_step step = {.rows = rows};
    fnn_task t = {.in = {{x.extent.p, 1, K, 1}, view_of(&dy)}, .out = {view_of(&g)}, .n_in = 2, .step = &step,
                  .layout = l, .csr = &x.m};
    table->run[OP_matmul_csr_tn](&t, 0, N, scratch);
    double *sum = calloc((size_t)(2 * l.size), sizeof *sum), *magnitude = sum + l.size;
    if (!sum) exit(2);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = extent_of(&x, r).first; i < extent_of(&x, r).end; i++)
            for (int64_t n = 0; n < N; n++) {
                const double term = x.value[i] * (double)dy.p[r * dy.ld + n];
                sum[panel_at(&l, x.column[i], n)] += term;
                magnitude[panel_at(&l, x.column[i], n)] += fabs(term);
            }
    bool right = true;
    for (int64_t i = 0; i < l.size; i++)   /* zeros where nothing is added, padding included */
        right = right && fabs((double)g.p[i] - sum[i]) <= epsilon * (double)(rows * most + 2) * magnitude[i];
    CHECK(right, "matmul_csr_tn %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    CHECK(matrix_intact(&g, 0, 1), "matmul_csr_tn %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    t.out[0] = view_of(&cut);
    const int64_t middle = random_below((N + l.nr - 1) / l.nr + 1) * l.nr;
    if (middle < N) table->run[OP_matmul_csr_tn](&t, middle, N, scratch);
    if (middle > 0) table->run[OP_matmul_csr_tn](&t, 0, middle < N ? middle : N, scratch);
    CHECK(same(g.p, cut.p, l.size), "matmul_csr_tn %lld x %lld x %lld", (long long)rows, (long long)K, (long long)N);
    free(sum);
    sparse_free(&x);
    fnn_free(dy.all); fnn_free(g.all); fnn_free(cut.all);
}

/* What another thread may have written since the columns were checked. */
static void check_outside(void) {
    const fnn_layout l = panel_layout(5, 3);
    matrix w = matrix_param(&l, false), out = matrix_new(1, 3, 3, 0), g = matrix_new(1, l.size, l.size, 0);
    const REAL value[] = {1, 1, 1};
    const int64_t far[] = {-1, 5, INT64_MAX};
    const int32_t near[] = {-1, 5, INT32_MIN};
    fnn_extent extent = {0, 3};
    const fnn_step step = {.rows = 1};
    for (int wide = 0; wide < 2; wide++) {
        const fnn_csr m = {.data = value, .indices = wide ? (const void *)far : near,
                           .dtype = REAL_BITS == 32 ? FNN_F32 : FNN_F64, .index_dtype = wide ? FNN_I64 : FNN_I32,
                           .rows = 1, .cols = 5, .count = 3};
        fnn_task t = {.in = {{&extent, 1, 5, 1}, view_of(&w)}, .out = {view_of(&out)}, .n_in = 2, .step = &step,
                      .layout = l, .csr = &m};
        table->run[OP_matmul_csr](&t, 0, 1, scratch);
        CHECK(out.p[0] == 0 && out.p[1] == 0 && out.p[2] == 0, "columns outside");
        t.in[1] = view_of(&out);
        t.out[0] = view_of(&g);
        table->run[OP_matmul_csr_tn](&t, 0, 3, scratch);
        bool zero = matrix_intact(&g, 0, 1);
        for (int64_t i = 0; i < l.size; i++) zero = zero && g.p[i] == 0;
        CHECK(zero, "columns outside");
    }
    fnn_free(w.all); fnn_free(out.all); fnn_free(g.all);
}

int main(void) {
    static const int64_t sizes[][4] = {{1, 1, 1, 0}, {1, 1, 1, 5}, {9, 7, 3, 4}, {5, 40, 16, 9}, {13, 33, 47, 20},
                                       {4, 300, 65, 2500}, {30, 100, 200, 12}, {2, 5, 300, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kind = 0; kind < 4; kind++) {
            const int64_t *s = sizes[i];
            check_forward(s[0], s[1], s[2], s[3], kind & 1, kind & 2);
            check_gradient(s[0], s[1], s[2], s[3], kind & 1, kind & 2);
        }
    check_outside();
    return summary("check_sparse");
}
