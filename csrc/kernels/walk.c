/* Elementwise ops, broadcast, reductions and transpose, for samples [lo, hi) of operands placed by fnn_walk.
 *
 * Work goes run by run: a run is what the innermost dimension holds, the outer ones are walked in row-major
 * order. What becomes of a sample does not depend on the samples beside it.
 */

/* Where the walk over the outer dimensions stands: the index in each, the offset of each operand. */
typedef struct { int64_t index[FNN_MAX_DIMS], offset[4]; } walk_place;

/* Steps to the next place of the first n dimensions, the very first of which is `head` long; false behind the
 * last place. */
INLINE bool walk_on(const fnn_walk *w, int n, int64_t head, walk_place *at) {
    for (int d = n - 1; d >= 0; d--) {
        const int64_t size = d == 0 ? head : w->dim[d];
        for (int k = 0; k < 4; k++) at->offset[k] += w->stride[k][d];
        if (++at->index[d] < size) return true;
        for (int k = 0; k < 4; k++) at->offset[k] -= size * w->stride[k][d];
        at->index[d] = 0;
    }
    return false;
}

/* ---- elementwise ---- */

/* in[k], out (n). Where follow[k] is 0 instead of -1, in[k] is one element that fills a vector. */
typedef struct { const REAL *in[3]; REAL *out; int64_t follow[3]; } map_run;
typedef void (*map_line)(const fnn_task *t, const map_run *run, int64_t n);

/* Calls `flat` on runs that all inputs follow, else `mixed`. */
static void map_walk(const fnn_task *t, int inputs, int64_t lo, int64_t hi, map_line flat, map_line mixed) {
    const fnn_walk *w = &t->walk;
    const int last = w->n - 1;
    const int64_t samples = w->whole ? 1 : hi - lo, head = w->whole ? (hi - lo) * w->dim[0] : w->dim[0];
    const int64_t length = last == 0 ? head : w->dim[last];
    _Alignas(FNN_ALIGN) REAL held[3][VL];
    map_run run = {.follow = {-1, -1, -1}};
    map_line line = flat;
    for (int k = 0; k < inputs; k++)
        if (w->stride[k][last] == 0) {
            run.follow[k] = 0;
            line = mixed;
        }
    for (int64_t s = lo; s < lo + samples; s++) {
        walk_place at = {0};
        do {
            for (int k = 0; k < inputs; k++) {
                run.in[k] = (const REAL *)t->in[k].p + s * w->sample[k] + at.offset[k];
                if (run.follow[k] == 0) {
                    v_store(held[k], v_set1(*run.in[k]));
                    run.in[k] = held[k];
                }
            }
            run.out = (REAL *)t->out[0].p + s * w->sample[WALK_OUT] + at.offset[WALK_OUT];
            line(t, &run, length);
        } while (walk_on(w, last, head, &at));
    }
}

/* Input k of a run at element i. */
#define FOLLOWED(k) LOADV(run.in[k] + i)
#define MIXED(k) LOADV(run.in[k] + (i & run.follow[k]))
/* <op>_<kind>: y as an expression in the inputs x, y, z that are there, and the attributes a and b. */
#define MAP_LINE(op, kind, inputs, input, ...)                                            \
    static void op##_##kind(const fnn_task *t, const map_run *of, int64_t n) {            \
        const map_run run = *of;                                                          \
        const V a = v_set1((REAL)t->attr[0]), b = v_set1((REAL)t->attr[1]);               \
        (void)a; (void)b;                                                                 \
        FOR_VECTORS(n, i, {                                                               \
            const V x = input(0), y = inputs > 1 ? input(1) : x, z = inputs > 2 ? input(2) : x; \
            (void)y; (void)z;                                                             \
            STOREV(run.out + i, (__VA_ARGS__));                                           \
        });                                                                               \
    }
#define MAP_KERNEL(op, inputs, flat, mixed)                                          \
    static void k_##op(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {   \
        (void)scratch;                                                               \
        map_walk(t, inputs, lo, hi, flat, mixed);                                    \
    }
/* Of one input, which has the output's shape. */
#define UNARY(op, ...)                                 \
    MAP_LINE(op, flat, 1, FOLLOWED, __VA_ARGS__)       \
    MAP_KERNEL(op, 1, op##_flat, op##_flat)
#define MAP(op, inputs, ...)                           \
    MAP_LINE(op, flat, inputs, FOLLOWED, __VA_ARGS__)  \
    MAP_LINE(op, mixed, inputs, MIXED, __VA_ARGS__)    \
    MAP_KERNEL(op, inputs, op##_flat, op##_mixed)

/* NaN if either is. */
INLINE V v_larger(V x, V y) { return v_select(x == x, v_max(x, y), x); }
INLINE V v_smaller(V x, V y) { return v_select(x == x, v_min(x, y), x); }

INLINE V v_floor(V x) {
    const V whole = v_set1((REAL)((UINT)1 << MANTISSA_BITS)), size = v_abs(x); /* from there on all are whole */
    const V near = v_copysign((size + whole) - whole, x);
    return v_select(size < whole, v_copysign(near - v_where(near > x, ONE), x), x);
}

/* Through the C library, an element at a time: all its range and accuracy, at some ten nanoseconds each. */
#define C_FUNCTION(name, x) (REAL_BITS == 32 ? (REAL)name##f((float)(x)) : (REAL)name((double)(x)))
INLINE V v_sin(V x) { for (int i = 0; i < VL; i++) x[i] = C_FUNCTION(sin, x[i]); return x; }
INLINE V v_cos(V x) { for (int i = 0; i < VL; i++) x[i] = C_FUNCTION(cos, x[i]); return x; }
INLINE V v_pow(V x, V y) {
    for (int i = 0; i < VL; i++)
        x[i] = REAL_BITS == 32 ? (REAL)powf((float)x[i], (float)y[i]) : (REAL)pow((double)x[i], (double)y[i]);
    return x;
}

MAP(add, 2, x + y)
MAP(subtract, 2, x - y)
MAP(multiply, 2, x * y)
MAP(divide, 2, x / y)
MAP(power, 2, v_pow(x, y))
MAP(maximum, 2, v_larger(x, y))
MAP(minimum, 2, v_smaller(x, y))
MAP(less, 2, v_where(x < y, ONE))
MAP(less_equal, 2, v_where(x <= y, ONE))
MAP(equal, 2, v_where(x == y, ONE))
MAP(where, 3, v_select(x != ZERO, y, z))
MAP(broadcast, 1, x)

UNARY(affine, v_fma(a, x, b))
UNARY(abs, v_abs(x))
UNARY(sign, v_select(x != ZERO, v_select(x == x, v_copysign(ONE, x), x), ZERO))
UNARY(square, x * x)
UNARY(sqrt, v_sqrt(x))
UNARY(rsqrt, ONE / v_sqrt(x))
UNARY(exp, v_exp(x))
UNARY(expm1, v_expm1(x))
UNARY(log, v_log(x))
UNARY(log1p, v_log1p(x))
UNARY(erf, v_erf(x))
UNARY(sin, v_sin(x))
UNARY(cos, v_cos(x))
UNARY(floor, v_floor(x))

#undef FOLLOWED
#undef MIXED
#undef MAP_LINE
#undef MAP_KERNEL
#undef UNARY
#undef MAP
#undef C_FUNCTION

/* ---- reductions ---- */

enum { SUM, LARGEST };               /* NaN is the largest */
enum { REDUCE_BLOCK = 4096 };        /* elements whose sums are added before they meet those of other blocks */

INLINE V joined(const int how, V x, V y) { return how == SUM ? x + y : v_larger(x, y); }
INLINE REAL joined_one(const int how, REAL x, REAL y) { return how == SUM ? x + y : x > y || x != x ? x : y; }
INLINE V joined_four(const int how, const V *x) {
    return joined(how, joined(how, x[0], x[1]), joined(how, x[2], x[3]));
}

/* x (n) -> one element, joined in an order that depends on n alone */
INLINE REAL reduced(const int how, const REAL *x, int64_t n) {
    const V none = how == SUM ? ZERO : -V_INF;
    V all = none;
    int64_t from = 0;
    while (n - from >= 4 * VL) {
        V part[4] = {none, none, none, none};
        for (const int64_t end = from + REDUCE_BLOCK; from < end && n - from >= 4 * VL; from += 4 * VL)
            for (int j = 0; j < 4; j++) part[j] = joined(how, part[j], v_load(x + from + j * VL));
        all = joined(how, all, joined_four(how, part));
    }
    FOR_VECTORS(n - from, i, {
        V u = LOADV(x + from + i);
        if (PART_ != VL && how != SUM) u = v_select(v_first_lanes(left_), u, none);
        all = joined(how, all, u);
    });
    if (how == SUM) return v_sum(all);
    for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) all[i] = joined_one(how, all[i], all[i + half]);
    return all[0];
}

/* x (rows, cols), ld from row to row -> out (cols), each from the first row to the last, and begun with what
 * is there unless `fresh` */
INLINE void reduce_columns(const int how, const REAL *x, int64_t ld, int64_t rows, REAL *out, int64_t cols,
                           bool fresh) {
    int64_t c = 0;
    for (; c + 4 * VL <= cols; c += 4 * VL) {
        V part[4];
        for (int j = 0; j < 4; j++) part[j] = v_load((fresh ? x : out) + c + j * VL);
        for (int64_t r = fresh; r < rows; r++)
            for (int j = 0; j < 4; j++) part[j] = joined(how, part[j], v_load(x + r * ld + c + j * VL));
        for (int j = 0; j < 4; j++) v_store(out + c + j * VL, part[j]);
    }
    FOR_VECTORS(cols - c, i, {
        V part = LOADV((fresh ? x : out) + c + i);
        for (int64_t r = fresh; r < rows; r++) part = joined(how, part, LOADV(x + r * ld + c + i));
        STOREV(out + c + i, part);
    });
}

/* A walk as blocks (rows, cols) of the two innermost dimensions, the samples being the rows where there is but
 * one dimension. Strides from row to row: in and out. */
typedef struct { int outer; int64_t head, samples, rows, cols, in, out; } walk_blocks;
INLINE walk_blocks blocks_of(const fnn_walk *w, int64_t count) {
    const int last = w->n - 1, outer = last > 0 ? last - 1 : 0;
    walk_blocks b = {.outer = outer, .head = w->dim[0], .samples = count};
    if (w->whole) {
        b.head *= count;
        b.samples = 1;
    }
    if (last == 0) {
        b.rows = b.samples;
        b.cols = b.head;
        b.in = w->sample[0];
        b.out = w->sample[WALK_OUT];
        b.samples = 1;
    } else {
        b.rows = outer == 0 ? b.head : w->dim[outer];
        b.cols = w->dim[last];
        b.in = w->stride[0][outer];
        b.out = w->stride[WALK_OUT][outer];
    }
    return b;
}

INLINE void reduce_walk(const int how, const fnn_task *t, int64_t lo, int64_t hi) {
    const fnn_walk *w = &t->walk;
    const walk_blocks b = blocks_of(w, hi - lo);
    const bool along = w->stride[WALK_OUT][w->n - 1] == 0;
    for (int64_t s = lo; s < lo + b.samples; s++) {
        walk_place at = {0};
        do {
            const REAL *x = (const REAL *)t->in[0].p + s * w->sample[0] + at.offset[0];
            REAL *out = (REAL *)t->out[0].p + s * w->sample[WALK_OUT] + at.offset[WALK_OUT];
            bool fresh = true;
            for (int d = 0; d < b.outer; d++) fresh &= at.index[d] == 0 || w->stride[WALK_OUT][d] != 0;
            if (along)
                for (int64_t r = 0; r < b.rows; r++) {
                    const REAL one = reduced(how, x + r * b.in, b.cols);
                    REAL *to = out + r * b.out;
                    *to = fresh && (r == 0 || b.out != 0) ? one : joined_one(how, *to, one);
                }
            else if (b.out == 0) reduce_columns(how, x, b.in, b.rows, out, b.cols, fresh);
            else
                for (int64_t r = 0; r < b.rows; r++)
                    reduce_columns(how, x + r * b.in, 0, 1, out + r * b.out, b.cols, fresh);
        } while (walk_on(w, b.outer, b.head, &at));
    }
}

/* x -> out, the sums over the dimensions in which out's stride is 0 */
static void k_sum_to(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    reduce_walk(SUM, t, lo, hi);
}
/* x -> out, the largest elements over those; NaN where there is one */
static void k_max_to(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    reduce_walk(LARGEST, t, lo, hi);
}

/* x (n) -> the index of the first of its largest elements, or of its first NaN */
INLINE int64_t first_largest(const REAL *x, int64_t n) {
    const REAL top = reduced(LARGEST, x, n);
    int64_t i = 0;
    if (top != top) while (x[i] == x[i]) i++;
    else while (x[i] != top) i++;
    return i;
}
/* x -> out, the places of the largest elements of the innermost dimension; all 0 where that is no longer than
 * one and so counts as walked */
static void k_argmax(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_walk *w = &t->walk;
    const walk_blocks b = blocks_of(w, hi - lo);
    const bool along = w->stride[WALK_OUT][w->n - 1] == 0;
    for (int64_t s = lo; s < lo + b.samples; s++) {
        walk_place at = {0};
        do {
            const REAL *x = (const REAL *)t->in[0].p + s * w->sample[0] + at.offset[0];
            REAL *out = (REAL *)t->out[0].p + s * w->sample[WALK_OUT] + at.offset[WALK_OUT];
            for (int64_t r = 0; r < b.rows; r++)
                if (along) out[r * b.out] = (REAL)first_largest(x + r * b.in, b.cols);
                else memset(out + r * b.out, 0, (size_t)b.cols * sizeof(REAL));
        } while (walk_on(w, b.outer, b.head, &at));
    }
}

/* ---- transpose ---- */

enum { TRANSPOSE_TILE = 16 };        /* so many cache lines of both sides fit the first cache */

/* x (cols, rows) with ldx from column to column -> out (rows, cols) with ld from row to row */
INLINE void transpose_block(const REAL *x, int64_t ldx, REAL *out, int64_t ld, int64_t rows, int64_t cols) {
    for (int64_t r0 = 0; r0 < rows; r0 += TRANSPOSE_TILE)
        for (int64_t c0 = 0; c0 < cols; c0 += TRANSPOSE_TILE) {
            const int64_t r1 = rows - r0 < TRANSPOSE_TILE ? rows : r0 + TRANSPOSE_TILE;
            const int64_t c1 = cols - c0 < TRANSPOSE_TILE ? cols : c0 + TRANSPOSE_TILE;
            for (int64_t r = r0; r < r1; r++)
                for (int64_t c = c0; c < c1; c++) out[r * ld + c] = x[c * ldx + r];
        }
}

/* x -> out, walked by the output's dimensions: block by block of the innermost one and of that along which x is
 * contiguous */
static void k_transpose(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    fnn_walk w = t->walk;
    const int last = w.n - 1;
    int64_t samples = hi - lo;
    if (w.whole) {
        w.dim[0] *= samples;
        samples = 1;
    }
    int down = last;
    for (int d = 0; d < last && w.stride[0][last] != 1; d++)
        if (w.stride[0][d] == 1) down = d;
    /* The dimension of the blocks' rows moves next to that of their columns; the others keep their order. */
    const int64_t rows = down < last ? w.dim[down] : 1, ld = w.stride[WALK_OUT][down];
    for (int d = down; d + 1 < last; d++) {
        w.dim[d] = w.dim[d + 1];
        for (int k = 0; k < 4; k++) w.stride[k][d] = w.stride[k][d + 1];
    }
    const int outer = down < last ? last - 1 : last;
    for (int64_t s = lo; s < lo + samples; s++) {
        walk_place at = {0};
        do {
            const REAL *x = (const REAL *)t->in[0].p + s * w.sample[0] + at.offset[0];
            REAL *to = (REAL *)t->out[0].p + s * w.sample[WALK_OUT] + at.offset[WALK_OUT];
            if (w.stride[0][last] == 1) memcpy(to, x, (size_t)w.dim[last] * sizeof(REAL));
            else transpose_block(x, w.stride[0][last], to, ld, rows, w.dim[last]);
        } while (walk_on(&w, outer, w.dim[0], &at));
    }
}
