/* Elementwise ops, broadcast, reductions and transpose, for samples [lo, hi) of operands placed by fnn_walk.
 *
 * Work goes run by run: a run is what the innermost dimension holds, the outer ones are walked in row-major
 * order. What becomes of a sample does not depend on the samples beside it.
 */

/* Where the walk over the outer dimensions stands: the index in each, the offset of each operand. */
typedef struct { int64_t index[FNN_MAX_DIMS], offset[4]; } walk_place;

/* Only what is used is set: clearing all of it would cost as much as a hundred elements. */
INLINE void walk_start(int n, walk_place *at) {
    for (int d = 0; d < n; d++) at->index[d] = 0;
    for (int k = 0; k < 4; k++) at->offset[k] = 0;
}
/* Steps to the next place of the first n dimensions, the very first of which is `head` long; false behind the
 * last place. */
static bool walk_on(const fnn_walk *w, int n, int64_t head, walk_place *at) {
    for (int d = n - 1; d >= 0; d--) {
        const int64_t size = d == 0 ? head : w->dim[d];
        for (int k = 0; k < 4; k++) at->offset[k] += w->stride[k][d];
        if (++at->index[d] < size) return true;
        for (int k = 0; k < 4; k++) at->offset[k] -= size * w->stride[k][d];
        at->index[d] = 0;
    }
    return false;
}

/* A walk as blocks (rows, cols) of the two innermost dimensions, the samples being the rows where there is but
 * one dimension; step: from row to row of each operand. */
typedef struct { int outer; int64_t head, samples, rows, cols, step[4]; } walk_blocks;

INLINE walk_blocks blocks_of(const fnn_walk *w, int64_t count) {
    const int last = w->n - 1, outer = last > 0 ? last - 1 : 0;
    walk_blocks b;
    b.outer = outer;
    b.head = w->whole ? w->dim[0] * count : w->dim[0];
    b.samples = w->whole ? 1 : count;
    b.cols = last == 0 ? b.head : w->dim[last];
    b.rows = last == 0 ? b.samples : outer == 0 ? b.head : w->dim[outer];
    if (last == 0) b.samples = 1;
    for (int k = 0; k < 4; k++) b.step[k] = last == 0 ? w->sample[k] : w->stride[k][outer];
    return b;
}

/* ---- elementwise ---- */

/* Rows of the inputs in and of out, `step` apart, n elements each; `one`: the input's row is one element. */
typedef struct { const REAL *in[3]; REAL *out; int64_t rows, n, step[4]; bool one[3]; } map_block;
typedef void (*map_line)(const fnn_task *t, const map_block *block);

/* Calls `flat` on blocks whose inputs all have whole rows, else `mixed`. */
static void map_walk(const fnn_task *t, int inputs, int64_t lo, int64_t hi, map_line flat, map_line mixed) {
    const fnn_walk *w = &t->walk;
    const walk_blocks b = blocks_of(w, hi - lo);
    map_block block;
    block.rows = b.rows;
    block.n = b.cols;
    map_line line = flat;
    for (int k = 0; k < 4; k++) block.step[k] = b.step[k];
    for (int k = 0; k < inputs; k++) {
        block.one[k] = w->stride[k][w->n - 1] == 0;
        if (block.one[k]) line = mixed;
    }
    for (int64_t s = lo; s < lo + b.samples; s++) {
        walk_place at;
        walk_start(b.outer, &at);
        do {
            for (int k = 0; k < inputs; k++)
                block.in[k] = (const REAL *)t->in[k].p + s * w->sample[k] + at.offset[k];
            block.out = (REAL *)t->out[0].p + s * w->sample[WALK_OUT] + at.offset[WALK_OUT];
            line(t, &block);
        } while (walk_on(w, b.outer, b.head, &at));
    }
}

/* Input k of a row at element i. */
#define WHOLE(k) LOADV(in##k + i)
#define MIXED(k) (block->one[k] ? one##k : LOADV(in##k + i))
/* <op>_<kind>: y as an expression in the inputs x, y, z that are there, and the attributes a and b. */
#define MAP_LINE(op, kind, each, inputs, input, ...)                                      \
    static void op##_##kind(const fnn_task *t, const map_block *block) {                  \
        const V a = v_set1((REAL)t->attr[0]), b = v_set1((REAL)t->attr[1]);               \
        const int64_t rows = block->rows, n = block->n;                                   \
        (void)a; (void)b;                                                                 \
        for (int64_t r = 0; r < rows; r++) {                                              \
            const REAL *in0 = block->in[0] + r * block->step[0];                          \
            const REAL *in1 = inputs > 1 ? block->in[1] + r * block->step[1] : in0;       \
            const REAL *in2 = inputs > 2 ? block->in[2] + r * block->step[2] : in0;       \
            const V one0 = v_set1(*in0), one1 = v_set1(*in1), one2 = v_set1(*in2);        \
            REAL *out = block->out + r * block->step[WALK_OUT];                           \
            (void)one0; (void)one1; (void)one2;                                           \
            each(n, i, {                                                                  \
                const V x = input(0), y = inputs > 1 ? input(1) : x, z = inputs > 2 ? input(2) : x; \
                (void)y; (void)z;                                                         \
                STOREV(out + i, (__VA_ARGS__));                                           \
            });                                                                           \
        }                                                                                 \
    }
#define MAP_KERNEL(op, inputs, flat, mixed)                                          \
    static void k_##op(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {   \
        (void)scratch;                                                               \
        map_walk(t, inputs, lo, hi, flat, mixed);                                    \
    }
/* Of one input, which has the output's shape. */
#define UNARY(op, each, ...)                           \
    MAP_LINE(op, flat, each, 1, WHOLE, __VA_ARGS__)    \
    MAP_KERNEL(op, 1, op##_flat, op##_flat)
#define MAP(op, inputs, ...)                           \
    MAP_LINE(op, flat, FOR_VECTORS, inputs, WHOLE, __VA_ARGS__)  \
    MAP_LINE(op, mixed, EACH_VECTOR, inputs, MIXED, __VA_ARGS__) \
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
#if defined(__MINGW32__)             /* whose pow is off by several ULP at whole powers */
#define POW(x, y) (double)powl(x, y)
#else
#define POW(x, y) pow(x, y)
#endif
INLINE V v_pow(V x, V y) {
    for (int i = 0; i < VL; i++)
        x[i] = REAL_BITS == 32 ? (REAL)powf((float)x[i], (float)y[i]) : (REAL)POW((double)x[i], (double)y[i]);
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

UNARY(affine, FOR_VECTORS, v_fma(a, x, b))
UNARY(abs, FOR_VECTORS, v_abs(x))
UNARY(sign, FOR_VECTORS, v_select(x != ZERO, v_select(x == x, v_copysign(ONE, x), x), ZERO))
UNARY(square, FOR_VECTORS, x * x)
UNARY(sqrt, FOR_VECTORS, v_sqrt(x))
UNARY(rsqrt, FOR_VECTORS, ONE / v_sqrt(x))
UNARY(exp, EACH_VECTOR, v_exp(x))
UNARY(expm1, EACH_VECTOR, v_expm1(x))
UNARY(log, EACH_VECTOR, v_log(x))
UNARY(log1p, EACH_VECTOR, v_log1p(x))
UNARY(erf, EACH_VECTOR, v_erf(x))
UNARY(sin, EACH_VECTOR, v_sin(x))
UNARY(cos, EACH_VECTOR, v_cos(x))
UNARY(floor, EACH_VECTOR, v_floor(x))

#undef WHOLE
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

INLINE void reduce_walk(const int how, const fnn_task *t, int64_t lo, int64_t hi) {
    const fnn_walk *w = &t->walk;
    const walk_blocks b = blocks_of(w, hi - lo);
    const bool along = w->stride[WALK_OUT][w->n - 1] == 0;
    for (int64_t s = lo; s < lo + b.samples; s++) {
        walk_place at;
        walk_start(b.outer, &at);
        do {
            const REAL *x = (const REAL *)t->in[0].p + s * w->sample[0] + at.offset[0];
            REAL *out = (REAL *)t->out[0].p + s * w->sample[WALK_OUT] + at.offset[WALK_OUT];
            bool fresh = true;
            for (int d = 0; d < b.outer; d++) fresh &= at.index[d] == 0 || w->stride[WALK_OUT][d] != 0;
            if (along)
                for (int64_t r = 0; r < b.rows; r++) {
                    const REAL one = reduced(how, x + r * b.step[0], b.cols);
                    REAL *to = out + r * b.step[WALK_OUT];
                    *to = fresh && (r == 0 || b.step[WALK_OUT] != 0) ? one : joined_one(how, *to, one);
                }
            else if (b.step[WALK_OUT] == 0) reduce_columns(how, x, b.step[0], b.rows, out, b.cols, fresh);
            else
                for (int64_t r = 0; r < b.rows; r++)
                    reduce_columns(how, x + r * b.step[0], 0, 1, out + r * b.step[WALK_OUT], b.cols, fresh);
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
        walk_place at;
        walk_start(b.outer, &at);
        do {
            const REAL *x = (const REAL *)t->in[0].p + s * w->sample[0] + at.offset[0];
            REAL *out = (REAL *)t->out[0].p + s * w->sample[WALK_OUT] + at.offset[WALK_OUT];
            for (int64_t r = 0; r < b.rows; r++)
                if (along) out[r * b.step[WALK_OUT]] = (REAL)first_largest(x + r * b.step[0], b.cols);
                else memset(out + r * b.step[WALK_OUT], 0, (size_t)b.cols * sizeof(REAL));
        } while (walk_on(w, b.outer, b.head, &at));
    }
}

/* ---- transpose ---- */

enum { LINE = FNN_ALIGN / (int)sizeof(REAL) }; /* elements of a cache line */

/* x (cols, rows) with ldx from column to column -> out (rows, cols) with ld from row to row: a tile of lines is
 * read at a time and written at a time, so that lines which fall into one set of the cache do not drive each
 * other out */
INLINE void transpose_block(const REAL *x, int64_t ldx, REAL *out, int64_t ld, int64_t rows, int64_t cols) {
    _Alignas(FNN_ALIGN) REAL tile[LINE][LINE];
    for (int64_t r = 0; r < rows; r += LINE)
        for (int64_t c = 0; c < cols; c += LINE) {
            const int64_t tall = rows - r < LINE ? rows - r : LINE, wide = cols - c < LINE ? cols - c : LINE;
            for (int64_t j = 0; j < wide; j++)
                FOR_VECTORS(tall, i, { v_store(tile[j] + i, LOADV(x + (c + j) * ldx + r + i)); });
            for (int64_t i = 0; i < tall; i++)
                FOR_VECTORS(wide, j, {
                    V v;
                    for (int k = 0; k < VL; k++) v[k] = tile[j + k][i];
                    STOREV(out + (r + i) * ld + c + j, v);
                });
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
    if (down < last) {
        const size_t moved = sizeof(int64_t) * (size_t)(last - 1 - down);
        memmove(&w.dim[down], &w.dim[down + 1], moved);
        for (int k = 0; k < 4; k++) memmove(&w.stride[k][down], &w.stride[k][down + 1], moved);
    }
    const int outer = down < last ? last - 1 : last;
    for (int64_t s = lo; s < lo + samples; s++) {
        walk_place at;
        walk_start(outer, &at);
        do {
            const REAL *x = (const REAL *)t->in[0].p + s * w.sample[0] + at.offset[0];
            REAL *to = (REAL *)t->out[0].p + s * w.sample[WALK_OUT] + at.offset[WALK_OUT];
            if (w.stride[0][last] == 1) memcpy(to, x, (size_t)w.dim[last] * sizeof(REAL));
            else transpose_block(x, w.stride[0][last], to, ld, rows, w.dim[last]);
        } while (walk_on(&w, outer, w.dim[0], &at));
    }
}
