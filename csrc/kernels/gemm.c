/* Matrix products with a kernel in PANEL layout (see internal.h): forward, and the two gradients.
 *
 * Every output is one chain of fused multiply-adds in ascending order of the summed index, starting at 0.
 * Blocks over that index resume from the partial sum stored in the output, so a result depends neither on the
 * height of the tile it falls in, nor on the rows beside it, nor on the cut into ranges.
 *
 * The register tile is MR rows by one panel of NR = 2 VL columns. Fewer than four rows leave too few
 * independent chains to cover the latency of an FMA, so such tiles take several panels at once; a last panel
 * of up to VL columns takes half tiles.
 */

enum { NR = 2 * VL };
#if VBYTES == 64
#define MR 14
#define HEIGHTS(x) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14)
#elif defined(SIMD_NEON)
#define MR 12
#define HEIGHTS(x) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12)
#else
#define MR 6
#define HEIGHTS(x) x(1) x(2) x(3) x(4) x(5) x(6)
#endif

enum {
    KC = 1536 / (int)sizeof(REAL), /* summed indices a block: a panel's share stays in the L1 cache */
    MC = 96,                       /* rows a block: MC x KC operands (144 KiB) stay in the L2 cache */
    FETCH = (256 << 10) / (int)sizeof(REAL), /* elements of a kernel above which it is not in the L2 cache */
    FETCH_STEPS = 6,               /* of a tile, between which two lines are asked for: a burst would hold it up */
    TRANSPOSED = (int)(FNN_SCRATCH / 4 * 3 / (sizeof(REAL) * KC * NR)), /* panels of a transposed slab */
    ROWS_TN = 1024 / (int)sizeof(REAL),          /* rows of the batch a block in matmul_tn */
    TILES_TN = 112 / MR,                         /* tiles of a strip there */
    PANELS_TN = 896 / (NR * (int)sizeof(REAL)),  /* panels that share the strip */
    PACK_TN = (16 << 10) / (int)sizeof(REAL)     /* elements of x in a block above which packing pays */
};

_Static_assert(KC % NR == 0, "a slab is cut at panels");

/* Begins to bring elements [0, n) into the L1 cache, to be written. */
INLINE void fetch_to_write(const REAL *p, int64_t n) {
    for (int64_t i = 0; i < n; i += LINE) __builtin_prefetch(p + i, 1, 3);
}
/* Begins to bring two lines into the L2 cache, to be read. */
INLINE void fetch_lines(const REAL *p) {
    __builtin_prefetch(p, 0, 2);
    __builtin_prefetch(p + LINE, 0, 2);
}

/* Size of a piece when n is cut into the fewest near-equal pieces of at most `limit`. */
INLINE int64_t piece(int64_t n, int64_t limit) {
    const int64_t pieces = (n + limit - 1) / limit;
    return pieces < 2 ? n : (n + pieces - 1) / pieces;
}

/* The first `left` elements of a vector, where left may be anything. */
INLINE V load_some(const REAL *p, int64_t left) {
    return left >= VL ? v_load(p) : left > 0 ? v_loadn(p, (int)left) : (V){0};
}
INLINE void store_some(REAL *p, V x, int64_t left) {
    if (left >= VL) v_store(p, x);
    else if (left > 0) v_storen(p, x, (int)left);
}

/* ---- x w, and dy w' with the kernel transposed ---- */

/* One block of the summed index. */
typedef struct {
    int64_t k;              /* its length */
    int64_t ldx, ldo;
    int64_t panel;          /* elements from one panel of w to the next */
    bool resume;            /* start from the partial sums in out */
    bool relu;
    bool fetch;             /* w and out come from afar: each tile asks for what the tiles after it need */
    const REAL *ahead;      /* asked for while a panel's tile is built: two lines every FETCH_STEPS steps; NULL: nothing */
} block;
/* x (m, k) ld ldx; w (k, NR) contiguous, a panel; out (m, cols) ld ldo; bias (cols) or NULL; cols may exceed
 * the tile */
typedef void (*tile_fn)(const block *b, const REAL *x, const REAL *w, REAL *out, const REAL *bias,
                        int64_t cols);

/* Sums (m, n vectors) from and to an `out` that may have fewer columns. Not within each tile, which would be three times
 * its size; but tiles of up to LOW rows, which are all that a sample alone is, store by themselves. */
enum { LOW = 3 };
OUTLINE void load_edge(int m, int n, V *sums, const REAL *out, int64_t ldo, int64_t cols) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) sums[i * n + j] = load_some(out + i * ldo + j * VL, cols - j * VL);
}
OUTLINE void store_edge(int m, int n, const V *sums, REAL *out, int64_t ldo, int64_t cols) {
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) store_some(out + i * ldo + j * VL, sums[i * n + j], cols - j * VL);
}

/* m rows by n vectors: half a panel (1), a panel (2) or several. */
INLINE void tile(const int m, const int n, const block *b, const REAL *x, const REAL *w, REAL *out, const REAL *bias,
                 int64_t cols) {
    const int64_t k = b->k, ldx = b->ldx, ldo = b->ldo, panel = b->panel;
    const bool whole = cols >= n * VL, fetch = n == 2 && b->ahead;
    V acc[MR][8], edge[MR * 8];
    if (!b->resume) {
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) acc[i][j] = (V){0};
    } else {
        load_edge(m, n, edge, out, ldo, cols);
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) acc[i][j] = edge[i * n + j];
    }
    const REAL *ahead = b->ahead;
    for (int64_t l = 0; l < k;) {
        const int64_t until = !fetch || k - l < FETCH_STEPS ? k : l + FETCH_STEPS;
        if (fetch) {
            fetch_lines(ahead);
            ahead += 2 * LINE;
        }
#pragma GCC unroll 1
        for (; l < until; l++) {
            V row[8];
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) row[j] = v_load(w + j / 2 * panel + l * NR + j % 2 * VL);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const V left = v_set1(x[i * ldx + l]);
#pragma GCC unroll 8
                for (int j = 0; j < n; j++) acc[i][j] = v_fma(left, row[j], acc[i][j]);
            }
        }
    }
    if (bias) {
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) {
            const V add = load_some(bias + j * VL, cols - j * VL);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) acc[i][j] = acc[i][j] + add;
        }
    }
    if (b->relu) {
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) acc[i][j] = v_max((V){0}, acc[i][j]);
    }
    if (whole) {
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) v_store(out + i * ldo + j * VL, acc[i][j]);
    } else if (m <= LOW) {
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) store_some(out + i * ldo + j * VL, acc[i][j], cols - j * VL);
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) edge[i * n + j] = acc[i][j];
        store_edge(m, n, edge, out, ldo, cols);
    }
}

#define TILE(m, n) \
    static void tile_##m##_##n(const block *b, const REAL *x, const REAL *w, REAL *out, const REAL *bias, \
                               int64_t cols) { \
        tile(m, n, b, x, w, out, bias, cols); \
    }
#define TILE_HALF(m) TILE(m, 1)
#define TILE_PANEL(m) TILE(m, 2)
HEIGHTS(TILE_HALF)
HEIGHTS(TILE_PANEL)
TILE(1, 8)
TILE(1, 4)
TILE(2, 4)
TILE(3, 4)
#define NAME_HALF(m) tile_##m##_1,
#define NAME_PANEL(m) tile_##m##_2,
static const tile_fn half_tiles[MR + 1] = {0, HEIGHTS(NAME_HALF)}, panel_tiles[MR + 1] = {0, HEIGHTS(NAME_PANEL)};
static const struct {
    tile_fn run;
    int panels;
} low_tiles[LOW + 1] = {{0}, {tile_1_8, 4}, {tile_2_4, 2}, {tile_3_4, 2}};

/* x (m, k), w panels (k, cols), out (m, cols), bias (cols) or NULL; m up to MC */
static void rows_times_panels(const block *b, int64_t m, const REAL *x, const REAL *w, REAL *out,
                              const REAL *bias, int64_t cols) {
    const int64_t count = (m + MR - 1) / MR, low = count > 1 ? m / count : m,
                  more = m - low * count; /* `more` tiles are one row higher */
    int64_t n = 0;
    if (m <= LOW)
        for (const int64_t wide = low_tiles[m].panels * NR; cols - n > wide - NR; n += wide)
            low_tiles[m].run(b, x, w + n / NR * b->panel, out + n, bias ? bias + n : NULL, cols - n);
    if (m == 1 && cols - n > NR) {
        tile_1_4(b, x, w + n / NR * b->panel, out + n, bias ? bias + n : NULL, cols - n);
        n += 2 * NR;
    }
    /* Each tile asks for its share of the next panel and for the next tile's part of out. */
    const bool fetch = b->fetch && count > 2;
    const int64_t share = fetch ? (b->k + count - 1) / count * NR : 0;
    block asking;
    if (fetch) {
        asking = *b;
        b = &asking;
    }
    for (; n < cols; n += NR) {
        const REAL *panel = w + n / NR * b->panel, *add = bias ? bias + n : NULL;
        const REAL *next = panel + (cols - n > NR ? b->panel : 0);
        const tile_fn *run = cols - n <= VL ? half_tiles : panel_tiles;
        for (int64_t i = 0, r = 0; i < count; i++) {
            const int64_t height = low + (i < more);
            if (fetch) asking.ahead = next + i * share;
            for (int64_t h = 0; fetch && i + 1 < count && h < low; h++)
                fetch_to_write(out + (r + height + h) * b->ldo + n, NR);
            run[height](b, x + r * b->ldx, panel, out + r * b->ldo + n, add, cols - n);
            r += height;
        }
    }
}

/* What a range of a task asks for: rows [lo, hi) and columns [first, first + cols) of out. */
typedef struct { int64_t lo, hi, first, cols; } part;

INLINE part part_of(const fnn_task *t, int64_t lo, int64_t hi) {
    if (!t->by_columns) return (part){lo, hi, 0, t->layout.cols};
    return (part){0, t->step->rows * t->in[0].lead, lo, hi - lo};
}

/* x (rows, K) times the kernel (K, N), + bias (N), relu; the part [lo, hi) of out (rows, N) */
static void k_matmul(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const part of = part_of(t, lo, hi);
    const REAL *x = in->p, *w = (const REAL *)t->in[1].p + of.first * t->layout.stride_k,
               *bias = t->bias ? (const REAL *)t->bias + of.first : NULL;
    REAL *out = (REAL *)to->p + of.first;
    const int64_t K = t->layout.rows, kc = piece(K, KC), mc = piece(of.hi - of.lo, MC);
    for (int64_t k = 0; k < K; k += kc) {
        const bool last = k + kc >= K;
        const block b = {.k = last ? K - k : kc,
                         .ldx = in->ld,
                         .ldo = to->ld,
                         .panel = t->layout.stride_k * NR,
                         .resume = k > 0,
                         .relu = last && t->relu,
                         .fetch = t->layout.size > FETCH};
        for (int64_t r = of.lo; r < of.hi; r += mc)
            rows_times_panels(&b, r + mc < of.hi ? mc : of.hi - r, x + r * in->ld + k, w + k * NR,
                              out + r * to->ld, last ? bias : NULL, of.cols);
    }
}

#define LIST(...) __VA_ARGS__
/* Within each block of 2d rows by 2d lanes, exchanges the d by d blocks right above and left below. */
#define SWAP(d, upper, lower) \
    _Pragma("GCC unroll 16") \
    for (int i_ = 0; i_ < VL; i_++) \
        if (!(i_ & d)) { \
            const V a_ = v[i_], b_ = v[i_ + d]; \
            v[i_] = PICK(a_, b_, upper); \
            v[i_ + d] = PICK(a_, b_, lower); \
        }

/* v (VL, VL), transposed in its place */
INLINE void transpose_lanes(V *v) {
#if VBYTES * 8 / REAL_BITS == 16
    SWAP(8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
         LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
    SWAP(4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
         LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    SWAP(2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
         LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    SWAP(1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
         LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#elif VBYTES * 8 / REAL_BITS == 8
    SWAP(4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
    SWAP(2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
    SWAP(1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))
#elif VBYTES * 8 / REAL_BITS == 4
    SWAP(2, LIST(0, 1, 4, 5), LIST(2, 3, 6, 7))
    SWAP(1, LIST(0, 4, 2, 6), LIST(1, 5, 3, 7))
#else
    SWAP(1, LIST(0, 2), LIST(1, 3))
#endif
}

/* from (VL, VL) -> to (VL, VL), transposed; rows are NR apart in both; from row `rows` on, `from` counts as
 * zero */
INLINE void transpose(const REAL *from, int64_t rows, REAL *to) {
    V v[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) v[i] = i < rows ? v_load(from + i * NR) : (V){0};
    transpose_lanes(v);
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) v_store(to + i * NR, v[i]);
}

/* Rows [k, k + kn) and columns [n, n + count) of the kernel, n a multiple of NR -> to: a panel (KC, NR) for
 * every NR of the rows, `count` of its rows set; rows past the last come out as zeros. */
static void transpose_slab(const fnn_layout *l, const REAL *w, int64_t k, int64_t kn, int64_t n,
                           int64_t count, REAL *to) {
    for (int64_t c = 0; c < count; c += VL) {
        const REAL *from = w + (n + c) / NR * l->stride_k * NR + k * NR + c % NR;
        for (int64_t j = 0; j < (kn + NR - 1) / NR * NR; j += VL) {
            REAL *at = to + j / NR * KC * NR + c * NR + j % NR;
            if (j + VL <= kn) transpose(from + j * NR, VL, at);
            else transpose(from + j * NR, kn - j, at);
        }
    }
}

/* dy (rows, N) times the transposed kernel (K, N); rows [lo, hi) of out (rows, K). Slabs of the kernel are
 * transposed into scratch and multiplied as in k_matmul. */
static void k_matmul_nt(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    const fnn_layout *l = &t->layout;
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const REAL *dy = in->p;
    REAL *out = to->p, *slab = scratch;
    const int64_t mc = piece(hi - lo, MC), nc = (piece(l->cols, KC) + NR - 1) / NR * NR,
                  wide = TRANSPOSED * NR;
    for (int64_t k = 0; k < l->rows; k += wide) {
        const int64_t kn = l->rows - k < wide ? l->rows - k : wide;
        for (int64_t n = 0; n < l->cols; n += nc) {
            const block b = {.k = l->cols - n < nc ? l->cols - n : nc,
                             .ldx = in->ld,
                             .ldo = to->ld,
                             .panel = KC * NR,
                             .resume = n > 0};
            transpose_slab(l, t->in[1].p, k, kn, n, b.k, slab);
            for (int64_t r = lo; r < hi; r += mc)
                rows_times_panels(&b, r + mc < hi ? mc : hi - r, dy + r * in->ld + n, slab,
                                  out + r * to->ld + k, NULL, kn);
        }
    }
}

/* ---- gradient of the kernel: x' dy ---- */

/* What is asked for while a tile of a gradient is built, every FETCH_STEPS rows of it: a line of x, a panel's row of y,
 * and a line each of the parameter and the moments that its update works on. */
typedef struct { const REAL *x, *y, *own[3]; int64_t ldx, ldy; } fetch_tn;

INLINE void fetch_some(fetch_tn *f) {
    __builtin_prefetch(f->x, 0, 2);
    fetch_lines(f->y);
    f->x += f->ldx;
    f->y += f->ldy;
    for (int j = 0; j < 3; j++) {
        __builtin_prefetch(f->own[j], 1, 2);
        f->own[j] += LINE;
    }
}

/* What of x comes after rows up to `end` of the strip of tiles [s, s_end): the strip's next rows, or the next strip. */
INLINE const REAL *x_after(const fnn_task *t, int64_t end, int64_t rows, int64_t s, int64_t s_end) {
    const REAL *x = t->in[0].p;
    return end < rows ? x + end * t->in[0].ld + s * MR : x + s_end % t->layout.tiles_k * MR;
}

/* For tile `turn` of a strip, one of `tiles` that share the strip's n rows of y; at: of the tile in the layout. */
INLINE fetch_tn fetch_of(const fnn_task *t, int64_t at, const REAL *x, int64_t turn, const REAL *y, int64_t tile,
                         int64_t tiles, int64_t n) {
    const int64_t ldx = t->in[0].ld, ldy = t->in[1].ld, rows = (n + FETCH_STEPS - 1) / FETCH_STEPS;
    fetch_tn f = {.x = x + turn % FETCH_STEPS * rows * ldx + turn / FETCH_STEPS * LINE,
                  .y = y + (n + tiles - 1) / tiles * tile * ldy,
                  .own = {x, x, x},
                  .ldx = ldx,
                  .ldy = ldy};
    if (t->update) f.own[0] = (const REAL *)t->w + at;
    for (int i = 0; i < 2; i++)
        if (t->slot[i]) f.own[i + 1] = (const REAL *)t->slot[i] + at;
    return f;
}

/* x (rows, m) ld ldx; y (rows, NR) contiguous; g (m, NR) contiguous, holding partial sums if `resume`; ahead: NULL, nothing is
 * asked for, nor is it by half a panel */
typedef void (*tile_tn_fn)(int64_t rows, const REAL *x, int64_t ldx, const REAL *y, REAL *g, bool resume,
                           const fetch_tn *ahead);

/* n vectors of columns: a panel (2), or half of one (1), the other half being zero. */
INLINE void tile_tn(const int m, const int n, int64_t rows, const REAL *x, int64_t ldx, const REAL *y,
                    REAL *g, bool resume, const fetch_tn *ahead) {
    V acc[MR][2];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) acc[i][j] = resume ? v_load(g + i * NR + j * VL) : (V){0};
    const bool fetch = n == 2 && ahead;
    fetch_tn asked = {0};
    if (fetch) asked = *ahead;
    for (int64_t r = 0; r < rows;) {
        const int64_t until = !fetch || rows - r < FETCH_STEPS ? rows : r + FETCH_STEPS;
        if (fetch) fetch_some(&asked);
#pragma GCC unroll 1
        for (; r < until; r++, x += ldx, y += NR) {
            V row[2];
            for (int j = 0; j < n; j++) row[j] = v_load(y + j * VL);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const V left = v_set1(x[i]);
                for (int j = 0; j < n; j++) acc[i][j] = v_fma(left, row[j], acc[i][j]);
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
        for (int j = 0; j < 2; j++) v_store(g + i * NR + j * VL, j < n ? acc[i][j] : (V){0});
}

#define TILE_TN(m, n) \
    static void tile_tn_##m##_##n(int64_t rows, const REAL *x, int64_t ldx, const REAL *y, REAL *g, bool resume, \
                                  const fetch_tn *ahead) { \
        tile_tn(m, n, rows, x, ldx, y, g, resume, ahead); \
    }
#define TILE_TN_HALF(m) TILE_TN(m, 1)
#define TILE_TN_PANEL(m) TILE_TN(m, 2)
HEIGHTS(TILE_TN_HALF)
HEIGHTS(TILE_TN_PANEL)
#define NAME_TN_HALF(m) tile_tn_##m##_1,
#define NAME_TN_PANEL(m) tile_tn_##m##_2,
static const tile_tn_fn half_tiles_tn[MR + 1] = {0, HEIGHTS(NAME_TN_HALF)},
                        panel_tiles_tn[MR + 1] = {0, HEIGHTS(NAME_TN_PANEL)};

/* x (n, cols) ld ldx -> slivers of MR columns, each (n, MR) contiguous; the last may be narrower, its rows
 * still MR apart */
static void pack_strip(int64_t n, const REAL *x, int64_t ldx, int64_t cols, REAL *to) {
    for (int64_t r = 0; r < n; r++, x += ldx, to += MR) {
        int64_t c = 0;
        for (; c + MR <= cols; c += MR) memcpy(to + c * n, x + c, sizeof(REAL) * MR);
        for (int64_t i = 0; c + i < cols; i++) to[c * n + i] = x[c + i];
    }
}

/* dy (n, cols) ld ldy -> (n, NR) contiguous, padded with zeros */
static void pack_panel(int64_t n, const REAL *dy, int64_t ldy, int64_t cols, REAL *to) {
    for (int64_t r = 0; r < n; r++, dy += ldy, to += NR)
        for (int j = 0; j < NR; j += VL) v_store(to + j, load_some(dy + j, cols - j));
}

/* What becomes of a finished tile g (m, NR) from element `at` of the layout on, `cols` columns left: zeros in
 * the padding, and with an update the output, if wanted, the penalty and the update. */
static void finish_tile(const fnn_task *t, int64_t at, int64_t cols, int64_t m, REAL *g) {
    for (int64_t i = 0; cols < NR && i < m; i++)     /* 0 times a NaN or an infinity in x is no zero */
        for (int64_t j = cols; j < NR; j++) g[i * NR + j] = 0;
    if (!t->update) return;
    REAL *w = t->w, *out = t->out[0].p, *s[FNN_MAX_SLOTS];
    if (out) memcpy(out + at, g, sizeof(REAL) * (size_t)(m * NR));
    for (int i = 0; i < FNN_MAX_SLOTS; i++) s[i] = t->slot[i] ? (REAL *)t->slot[i] + at : NULL;
    if (t->l1 != 0 || t->l2 != 0) penalty_grad_flat(g, w + at, g, t->l1, t->l2, m * NR);
    t->update(t->coef, w + at, s[0], s[1], s[2], g, m * NR);
}

/* x (rows, K), dy (rows, N) -> items [lo, hi) of the gradient (K, N) in the kernel's layout, `rows` being the
 * whole batch.
 *
 * A tile is built in the output, or in scratch where an update follows. Panels of dy and strips of x are packed
 * there too. A batch of more than ROWS_TN rows passes in blocks, while the partial sums of the strip's TILES_TN
 * tiles in PANELS_TN panels wait; with fewer rows none wait, and a strip is as long as scratch has room for. */
static void k_matmul_tn(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    enum { TILE_SIZE = MR * NR, PANEL = ROWS_TN * NR, SUMS = TILES_TN * PANELS_TN * TILE_SIZE,
           ROOM = (int)(FNN_SCRATCH / sizeof(REAL)) - PANEL };
    _Static_assert(TILES_TN * MR * ROWS_TN + SUMS <= ROOM, "does not fit");
    const fnn_layout *l = &t->layout;
    const int64_t K = l->rows, tiles_k = l->tiles_k, rows = t->step->rows * t->in[0].lead,
                  block = piece(rows, ROWS_TN);
    const int64_t first = lo / tiles_k, end = (hi - 1) / tiles_k + 1,
                  chunk = block < rows ? PANELS_TN : end - first,
                  tiles = block < rows ? TILES_TN : (ROOM - TILE_SIZE) / (MR * rows);
    const int64_t ldx = t->in[0].ld, ldy = t->in[1].ld;
    const bool pack = hi - lo >= 6 * tiles_k && block * ldx > PACK_TN;
    REAL *yp = scratch, *sums = yp + PANEL, *xp = sums + (block < rows ? SUMS : TILE_SIZE),
         *out = t->update ? NULL : t->out[0].p;
    for (int64_t p = first; p < end; p += chunk) {
        const int64_t p_end = p + chunk < end ? p + chunk : end;
        for (int64_t s = 0; s < tiles_k; s += tiles) {
            const int64_t s_end = s + tiles < tiles_k ? s + tiles : tiles_k;
            for (int64_t r = 0; r < rows; r += block) {
                const int64_t n = r + block < rows ? block : rows - r;
                const REAL *x = (const REAL *)t->in[0].p + r * ldx, *dy = (const REAL *)t->in[1].p + r * ldy;
                const REAL *x_next = x_after(t, r + n, rows, s, s_end);
                if (pack) pack_strip(n, x + s * MR, ldx, (s_end * MR < K ? s_end * MR : K) - s * MR, xp);
                for (int64_t q = p; q < p_end; q++) {
                    const int64_t i_first = q * tiles_k + s < lo ? lo - q * tiles_k : s;
                    const int64_t i_end = q * tiles_k + s_end > hi ? hi - q * tiles_k : s_end,
                                  cols = l->cols - q * NR;
                    const tile_tn_fn *run = cols <= VL ? half_tiles_tn : panel_tiles_tn;
                    if (i_first >= i_end) continue;
                    pack_panel(n, dy + q * NR, ldy, cols, yp);
                    for (int64_t i = i_first; i < i_end; i++) {
                        const int64_t m = K - i * MR < MR ? K - i * MR : MR,
                                      at = (q * l->stride_k + i * MR) * NR;
                        REAL *g = out ? out + at
                                      : sums + (block < rows ? (q - p) * tiles + i - s : 0) * TILE_SIZE;
                        if (pack) {
                            const fetch_tn ahead =
                                fetch_of(t, at, x_next, (q - p) * (s_end - s) + i - s,
                                         dy + (q + 1 < p_end ? q + 1 : p) * NR, i - i_first, i_end - i_first, n);
                            run[m](n, xp + (i - s) * MR * n, MR, yp, g, r > 0, &ahead);
                        } else {
                            run[m](n, x + i * MR, ldx, yp, g, r > 0, NULL);
                        }
                        if (r + block >= rows) finish_tile(t, at, cols, m, g);
                    }
                }
            }
        }
    }
    REAL *g = t->out[0].p;
    if (g && l->stride_k > K)
        for (int64_t q = lo / tiles_k; (q + 1) * tiles_k <= hi; q++)
            memset(g + (q * l->stride_k + K) * NR, 0, sizeof(REAL) * (size_t)((l->stride_k - K) * NR));
}
