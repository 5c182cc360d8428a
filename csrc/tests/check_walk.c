/* Elementwise ops, broadcast, reductions and transpose of one table against plain loops over indices: broadcast
 * operands, gaps between samples, odd addresses, ranges, work in place, merged dimensions; a sample's bits
 * alone as among others, and edges of the arithmetic. */
#include "kernel_check.h"

typedef long double exact;

static int shift(void) { return (int)random_below(VL); }

/* ---- operands ---- */

/* A tensor (samples, dim...), or (dim...) without a batch, with a gap after each sample. */
typedef struct { matrix m; bool batched; int n; int64_t dim[FNN_MAX_DIMS]; } operand;

static int64_t product(const int64_t *dim, int n) {
    int64_t size = 1;
    for (int d = 0; d < n; d++) size *= dim[d];
    return size;
}
static operand operand_new(bool batched, int64_t samples, int n, const int64_t *dim) {
    operand o = {.batched = batched, .n = n};
    memcpy(o.dim, dim, sizeof *dim * (size_t)n);
    const int64_t size = product(dim, n);
    o.m = matrix_random(batched ? samples : 1, size, size + random_below(2) * random_below(9), shift());
    return o;
}
static operand operand_blank(bool batched, int64_t samples, int n, const int64_t *dim) {
    operand o = operand_new(batched, samples, n, dim);
    for (int64_t r = 0; r < o.m.rows; r++)
        for (int64_t c = 0; c < o.m.cols; c++) o.m.p[r * o.m.ld + c] = sentinel();
    return o;
}
/* Its element at an index into a shape of the same rank; where it has 1 in place of more, the only one. */
static REAL *at(const operand *o, int64_t sample, const int64_t *index) {
    int64_t place = 0;
    for (int d = 0; d < o->n; d++) place = place * o->dim[d] + (o->dim[d] == 1 ? 0 : index[d]);
    return o->m.p + (o->batched ? sample * o->m.ld : 0) + place;
}
/* The index after this one; false behind the last. */
static bool next_index(const int64_t *dim, int n, int64_t *index) {
    for (int d = n - 1; d >= 0; d--) {
        if (++index[d] < dim[d]) return true;
        index[d] = 0;
    }
    return false;
}

static void set_strides(fnn_walk *w, int k, const operand *o) {
    int64_t stride = 1;
    w->sample[k] = o->batched ? o->m.ld : 0;
    for (int d = o->n - 1; d >= 0; stride *= o->dim[d--]) w->stride[k][d] = o->dim[d] == 1 ? 0 : stride;
}
static void drop(fnn_walk *w, int d) {
    for (w->n--; d < w->n; d++) {
        w->dim[d] = w->dim[d + 1];
        for (int k = 0; k < 4; k++) w->stride[k][d] = w->stride[k][d + 1];
    }
}
/* As the planner does it: no dimension of 1, neighbours walked alike become one, and so do the samples. */
static void merge(fnn_walk *w) {
    for (int d = w->n - 1; d >= 0; d--)
        if (w->dim[d] == 1 && w->n > 1) drop(w, d);
    for (int d = w->n - 2; d >= 0; d--) {
        bool alike = true;
        for (int k = 0; k < 4; k++) alike = alike && w->stride[k][d] == w->dim[d + 1] * w->stride[k][d + 1];
        if (!alike) continue;
        w->dim[d + 1] *= w->dim[d];
        drop(w, d);
    }
    if (w->n == 1 && w->dim[0] == 1)
        for (int k = 0; k < 4; k++) w->stride[k][0] = w->sample[k] == 1;
    w->whole = true;
    for (int k = 0; k < 4; k++) w->whole = w->whole && w->sample[k] == w->dim[0] * w->stride[k][0];
}

static void run(const fnn_task *t, int op, int64_t lo, int64_t hi) { table->run[op](t, lo, hi, scratch); }

/* Runs samples [lo, hi), looks for touched sentinels, and asks for the same bits sample by sample. */
static void run_checked(fnn_task *t, int op, operand *out, int64_t lo, int64_t hi) {
    matrix alone = matrix_copy(&out->m);
    run(t, op, lo, hi);
    CHECK(matrix_intact(&out->m, lo, hi), "%s", fnn_ops[op].name);
    t->out[0].p = alone.p;
    for (int64_t s = hi - 1; s >= lo; s--) run(t, op, s, s + 1);
    CHECK(same(alone.all, out->m.all, alone.size), "%s sample by sample", fnn_ops[op].name);
    t->out[0].p = out->m.p;
    fnn_free(alone.all);
}

/* ---- elementwise ---- */

static exact sign_of(exact x) { return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x; }

/* ulps: 0 where one number of the type is right; half of one where long double may round twice. */
static const struct { int op; double ulps; } maps[] = {
    {OP_add, 0}, {OP_subtract, 0}, {OP_multiply, 0}, {OP_divide, 0.501}, {OP_power, 1}, {OP_maximum, 0}, {OP_minimum, 0},
    {OP_less, 0}, {OP_less_equal, 0}, {OP_equal, 0}, {OP_where, 0}, {OP_affine, 2}, {OP_abs, 0}, {OP_sign, 0},
    {OP_square, 0}, {OP_sqrt, 0.501}, {OP_rsqrt, 1.01}, {OP_exp, 1.2}, {OP_expm1, 1.8}, {OP_log, 1}, {OP_log1p, 1.6},
    {OP_erf, 1.8}, {OP_sin, 1}, {OP_cos, 1}, {OP_floor, 0}, {OP_broadcast, 0},
};
enum { MAPS = sizeof maps / sizeof *maps };
#define SCALE 1.5
#define SHIFT (-0.25)

static exact map_of(int op, exact x, exact y, exact z) {
    switch (op) {
    case OP_add: return x + y;
    case OP_subtract: return x - y;
    case OP_multiply: return x * y;
    case OP_divide: return x / y;
    case OP_power: return powl(x, y);
    case OP_maximum: return isnan(x) || x > y ? x : y;
    case OP_minimum: return isnan(x) || x < y ? x : y;
    case OP_less: return x < y;
    case OP_less_equal: return x <= y;
    case OP_equal: return x == y;
    case OP_where: return x != 0 ? y : z;
    case OP_affine: return (exact)SCALE * x + (exact)SHIFT;
    case OP_abs: return fabsl(x);
    case OP_sign: return sign_of(x);
    case OP_square: return x * x;
    case OP_sqrt: return sqrtl(x);
    case OP_rsqrt: return 1 / sqrtl(x);
    case OP_exp: return expl(x);
    case OP_expm1: return expm1l(x);
    case OP_log: return logl(x);
    case OP_log1p: return log1pl(x);
    case OP_erf: return erfl(x);
    case OP_sin: return sinl(x);
    case OP_cos: return cosl(x);
    case OP_floor: return floorl(x);
    default: return x; /* broadcast */
    }
}
/* Arguments at which the op is defined, some of them alike so that comparisons meet equals. */
static REAL argument(int op, int input) {
    const REAL x = random_below(4) ? random_real() * 8 : (REAL)random_below(3) - 1;
    const bool positive = op == OP_power || op == OP_sqrt || op == OP_rsqrt || op == OP_log;
    if (positive && input == 0) return (REAL)fabs((double)x) + (REAL)0.125;
    if (op == OP_divide && input == 1) return x == 0 ? 2 : x;
    return op == OP_log1p ? (REAL)fabs((double)x) - (REAL)0.5 : x;
}
/* Within the op's ulps; affine's are those of its product, for what is added may cancel it. */
static bool is_near(int i, REAL got, exact want) {
    if (isnan(want)) return isnan(got);
    if (maps[i].ulps == 0 || isinf(want)) return got == (REAL)want;
    const exact beside = maps[i].op == OP_affine ? fabsl(SHIFT) : 1e-3L;
    return fabsl((exact)got - want) <= (exact)(maps[i].ulps * epsilon) * (fabsl(want) + beside);
}

static void check_map(int i, int n, int64_t longest) {
    const int op = maps[i].op, inputs = fnn_ops[op].inputs;
    const int64_t samples = 1 + random_below(6), lo = random_below(samples), hi = lo + 1 + random_below(samples - lo);
    int64_t dim[FNN_MAX_DIMS];
    for (int d = 0; d < n; d++) dim[d] = 1 + random_below(d == n - 1 ? longest : 4);
    operand in[3], out = operand_blank(true, samples, n, dim);
    fnn_task t = {.attr = {SCALE, SHIFT}, .n_in = inputs, .out = {view_of(&out.m)}, .walk = {.n = n}};
    memcpy(t.walk.dim, dim, sizeof dim);
    set_strides(&t.walk, WALK_OUT, &out);
    const bool unary = inputs == 1 && op != OP_broadcast;
    for (int k = 0; k < inputs; k++) {
        int64_t part[FNN_MAX_DIMS];
        for (int d = 0; d < n; d++) part[d] = !unary && random_below(3) == 0 ? 1 : dim[d];
        in[k] = operand_new(unary || random_below(3) != 0, samples, n, part);
        for (int64_t r = 0; r < in[k].m.rows; r++)
            for (int64_t c = 0; c < in[k].m.cols; c++) in[k].m.p[r * in[k].m.ld + c] = argument(op, k);
        t.in[k] = view_of(&in[k].m);
        set_strides(&t.walk, k, &in[k]);
    }
    if (random_below(2)) merge(&t.walk);
    run_checked(&t, op, &out, lo, hi);
    bool right = true;
    for (int64_t s = lo; s < hi; s++) {
        int64_t index[FNN_MAX_DIMS] = {0};
        do {
            exact x[3] = {0};
            for (int k = 0; k < inputs; k++) x[k] = *at(&in[k], s, index);
            right = right && is_near(i, *at(&out, s, index), map_of(op, x[0], x[1], x[2]));
        } while (next_index(dim, n, index));
    }
    CHECK(right, "%s, rank %d", fnn_ops[op].name, n);
    for (int k = 0; k < inputs; k++) {
        if (!in[k].batched || in[k].m.cols != out.m.cols) continue;
        matrix place = matrix_copy(&in[k].m);
        t.in[k].p = t.out[0].p = place.p;
        const int64_t apart = t.walk.sample[WALK_OUT];
        t.walk.sample[WALK_OUT] = t.walk.sample[k];
        t.walk.whole = t.walk.whole && t.walk.sample[k] == apart;
        run(&t, op, lo, hi);
        bool equal = true;
        for (int64_t s = lo; s < hi; s++)
            equal = equal && same(place.p + s * place.ld, out.m.p + s * out.m.ld, place.cols);
        CHECK(equal, "%s in the place of input %d", fnn_ops[op].name, k);
        t.walk.sample[WALK_OUT] = apart;
        t.in[k].p = in[k].m.p;
        fnn_free(place.all);
    }
    for (int k = 0; k < inputs; k++) fnn_free(in[k].m.all);
    fnn_free(out.m.all);
}

/* Every pair of these in the first two inputs. */
static void check_map_edges(int i) {
    const REAL huge = (REAL)(REAL_BITS == 32 ? 3e38 : 1e308);
    const REAL edge[] = {0, (REAL)-0.0, 1, -1, 2.5, -2.5, 0.5, (REAL)1e-20, huge, -huge,
                         (REAL)INFINITY, (REAL)-INFINITY, (REAL)NAN, (REAL)8388609, (REAL)4503599627370497, -7};
    enum { EDGES = sizeof edge / sizeof *edge, ALL = EDGES * EDGES };
    const int op = maps[i].op;
    REAL x[ALL], y[ALL], z[ALL], out[ALL];
    for (int k = 0; k < ALL; k++) {
        x[k] = edge[k / EDGES];
        y[k] = edge[k % EDGES];
        z[k] = 3;
    }
    fnn_task t = {.attr = {SCALE, SHIFT}, .n_in = fnn_ops[op].inputs,
                  .in = {{x, ALL, ALL, 1}, {y, ALL, ALL, 1}, {z, ALL, ALL, 1}}, .out = {{out, ALL, ALL, 1}},
                  .walk = {.n = 1, .dim = {ALL}, .stride = {{1}, {1}, {1}, {1}}}};
    run(&t, op, 0, 1);
    for (int k = 0; k < ALL; k++) {
        const exact want = map_of(op, x[k], y[k], z[k]);
        const bool over = fabsl(want) > (REAL_BITS == 32 ? 3.4028234e38L : 1.7976931348623157e308L);
        const exact rounded = over && !isinf(want) ? (exact)(REAL)want : want;
        CHECK(is_near(i, out[k], rounded), "%s(%g, %g) = %g, not %Lg", fnn_ops[op].name, (double)x[k],
              (double)y[k], (double)out[k], want);
        if (op == OP_floor && x[k] == 0) CHECK(same(out + k, x + k, 1), "floor keeps the sign of 0");
    }
}

/* ---- reductions ---- */

static void check_reduction(int op, int n, int64_t longest, bool with_nan) {
    const bool batched = random_below(4) != 0;
    const int64_t samples = batched ? 1 + random_below(6) : 1, lo = random_below(samples),
                  hi = lo + 1 + random_below(samples - lo);
    int64_t dim[FNN_MAX_DIMS], kept[FNN_MAX_DIMS];
    for (int d = 0; d < n; d++) {
        dim[d] = 1 + random_below(d == n - 1 ? longest : 5);
        kept[d] = (op == OP_argmax ? d == n - 1 : random_below(2)) ? 1 : dim[d];
    }
    operand in = operand_new(batched, samples, n, dim), out = operand_blank(batched, samples, n, kept);
    for (int64_t r = 0; r < in.m.rows; r++)
        for (int64_t c = 0; c < in.m.cols; c++) {
            REAL *x = in.m.p + r * in.m.ld + c;
            *x = with_nan && random_below(9) == 0 ? (REAL)NAN : (REAL)random_below(40) - 20; /* sums are exact, maxima repeated */
        }
    fnn_task t = {.n_in = 1, .in = {view_of(&in.m)}, .out = {view_of(&out.m)}, .walk = {.n = n}};
    memcpy(t.walk.dim, dim, sizeof dim);
    set_strides(&t.walk, 0, &in);
    set_strides(&t.walk, WALK_OUT, &out);
    if (random_below(2)) merge(&t.walk);
    run_checked(&t, op, &out, lo, hi);
    operand top = operand_blank(batched, samples, n, kept), want = operand_blank(batched, samples, n, kept);
    bool right = true;
    for (int64_t s = lo; s < hi; s++) {
        int64_t index[FNN_MAX_DIMS] = {0};
        for (int64_t c = 0; c < want.m.cols; c++)
            want.m.p[s * want.m.ld + c] = 0, top.m.p[s * top.m.ld + c] = (REAL)-INFINITY;
        do {
            const REAL x = *at(&in, s, index);
            REAL *best = at(&top, s, index), *sum = at(&want, s, index);
            const bool more = !isnan(*best) && (isnan(x) || x > *best);
            if (more) *best = x;
            if (op == OP_sum_to) *sum += x;
            else if (op == OP_max_to) *sum = *best;
            else if (more) *sum = (REAL)index[n - 1];
        } while (next_index(dim, n, index));
        for (int64_t c = 0; c < want.m.cols; c++) {
            const REAL a = want.m.p[s * want.m.ld + c], b = out.m.p[s * out.m.ld + c];
            right = right && (isnan(a) ? isnan(b) : a == b);
        }
    }
    CHECK(right, "%s, rank %d", fnn_ops[op].name, n);
    fnn_free(in.m.all); fnn_free(out.m.all); fnn_free(top.m.all); fnn_free(want.m.all);
}

/* Long sums lose little: blocks of them are added first. */
static void check_long_sum(void) {
    enum { N = 3000000 };
    matrix x = matrix_new(1, N, N, 1);
    REAL sum;
    for (int64_t i = 0; i < N; i++) x.p[i] = (REAL)0.1;
    fnn_task t = {.n_in = 1, .in = {view_of(&x)}, .out = {{&sum, 1, 1, 1}},
                  .walk = {.n = 1, .dim = {N}, .stride = {{1}}}};
    run(&t, OP_sum_to, 0, 1);
    const double want = N * (double)(REAL)0.1;
    CHECK(fabs((double)sum - want) <= 200 * epsilon * want, "%.9g, not %.9g", (double)sum, want);
    fnn_free(x.all);
}

/* ---- transpose ---- */

static void check_transpose(int n, int64_t longest) {
    const int64_t samples = 1 + random_below(4), lo = random_below(samples), hi = lo + 1 + random_below(samples - lo);
    int64_t dim[FNN_MAX_DIMS] = {0}, from[FNN_MAX_DIMS] = {0};
    int perm[FNN_MAX_DIMS];
    for (int d = 0; d < n; d++) {
        const int other = (int)random_below(d + 1);
        perm[d] = perm[other];
        perm[other] = d;
        from[d] = 1 + random_below(longest);
    }
    operand in = operand_new(true, samples, n, from);
    for (int d = 0; d < n; d++) dim[d] = from[perm[d]];
    operand out = operand_blank(true, samples, n, dim);
    fnn_task t = {.n_in = 1, .in = {view_of(&in.m)}, .out = {view_of(&out.m)}, .walk = {.n = n}};
    memcpy(t.walk.dim, dim, sizeof dim);
    set_strides(&t.walk, WALK_OUT, &out);
    fnn_walk straight = {0};
    set_strides(&straight, 0, &in);
    t.walk.sample[0] = straight.sample[0];
    for (int d = 0; d < n; d++) t.walk.stride[0][d] = straight.stride[0][perm[d]];
    if (random_below(2)) merge(&t.walk);
    run_checked(&t, OP_transpose, &out, lo, hi);
    bool right = true;
    for (int64_t s = lo; s < hi; s++) {
        int64_t index[FNN_MAX_DIMS] = {0}, source[FNN_MAX_DIMS];
        do {
            for (int d = 0; d < n; d++) source[perm[d]] = index[d];
            right = right && *at(&out, s, index) == *at(&in, s, source);
        } while (next_index(dim, n, index));
    }
    CHECK(right, "rank %d", n);
    fnn_free(in.m.all); fnn_free(out.m.all);
}

int main(void) {
    static const int64_t longest[] = {1, 3, 20, 150};
    for (int i = 0; i < MAPS; i++) {
        check_map_edges(i);
        for (int n = 1; n <= 4; n++)
            for (size_t k = 0; k < sizeof longest / sizeof *longest; k++)
                for (int again = 0; again < 6; again++) check_map(i, n, longest[k]);
    }
    static const int reductions[] = {OP_sum_to, OP_max_to, OP_argmax};
    for (int i = 0; i < 3; i++)
        for (int n = 1; n <= 4; n++)
            for (size_t k = 0; k < sizeof longest / sizeof *longest; k++)
                for (int again = 0; again < 20; again++)
                    check_reduction(reductions[i], n, longest[k] == 150 ? 3000 : longest[k], again % 2);
    check_long_sum();
    for (int n = 1; n <= 4; n++)
        for (int again = 0; again < 40; again++) check_transpose(n, n < 3 ? 50 : 7);
    return summary("check_walk");
}
