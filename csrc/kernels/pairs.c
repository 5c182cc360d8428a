/* Products of 16-bit operands whose summed index goes by pairs: a row's pairs lie beside each other anyway, a
 * kernel is PANEL in pairs (see fnn_layout), and one instruction multiplies a pair and adds both products.
 *
 * matmul_int8: float32 rows and an int8 kernel with a scale s for each column. A row is rounded to integers
 *     q = x 2^(14 - e), to nearest, ties to even, where 2^(e - 1) <= max |x| < 2^e and e >= -112,
 * so |q| <= 2^14, and the products q w of 1024 consecutive k are summed exactly, as 1024 2^14 127 < 2^31. These
 * sums are added in float32 in ascending order, and the total is multiplied by (2^(e - 14) s). Nothing here
 * depends on the instruction set. A row with a NaN or an infinity gives NaN.
 *
 * mixed_matmul, _nt, _tn: both operands rounded to bfloat16, float32 sums, in ascending order of the pairs. The
 * kernel is float32 and rounded here, block by block, or bfloat16, which gives the same results.
 */
#if REAL_BITS == 64
#define k_matmul_int8 NULL           /* programs of float64 have neither */
#define k_mixed_matmul NULL
#define k_mixed_matmul_nt NULL
#define k_mixed_matmul_tn NULL
#else

enum {
    KP = 1024,                       /* summed indices a block */
    MP = 96,                         /* rows a block */
    MB = 256,                        /* rows a block of bfloat16 that shares a rounded panel */
#if defined(__AVX512BF16__)
    BF16_ROWS = MR,
#else
    BF16_ROWS = MR > 6 ? 12 : 4,     /* a tile of bfloat16, whose unpacking wants registers */
#endif
    PAIR_STEPS = FETCH_STEPS / 2,    /* see FETCH_STEPS */
    X_BITS = 14
};
_Static_assert((MP + NR) * KP * sizeof(int16_t) <= FNN_SCRATCH, "does not fit");
_Static_assert((MB + NR) * KC * sizeof(int16_t) <= FNN_SCRATCH, "does not fit");

/* One block of the summed index. */
typedef struct {
    int64_t pairs;                   /* its length */
    int64_t ldx, ldo;                /* ldx counts 16-bit numbers */
    int64_t panel;                   /* pairs from one panel of w to the next */
    bool resume, last;               /* start from the partial sums in out; bias, relu and scales follow */
    const REAL *bias, *scale;        /* (cols) from the first column on, or NULL */
    const REAL *step;                /* (m) 2^(e - 14) of each row; int8 alone */
    bool relu;
    const REAL *ahead;               /* bfloat16: asked for while a tile is built, */
    int64_t ahead_step;              /* by the next one so many elements further */
} pair_block;
/* x (m, 2 pairs) ld ldx; w panels in pairs, int8 or bfloat16; out (m, cols) ld ldo; cols may exceed the tile */
typedef void (*pair_tile_fn)(const pair_block *b, const int16_t *x, const void *w, REAL *out, int64_t cols);

/* What becomes of the sums (m, n vectors) of a tile; out of line, as in gemm.c. */
INLINE void finish_pairs(const bool int8, int m, int n, const pair_block *b, const V *sums, REAL *out, int64_t cols) {
    for (int j = 0; j < n; j++) {
        const int64_t left = cols - j * VL;
        const V add = b->last && b->bias ? load_some(b->bias + j * VL, left) : (V){0},
                scale = int8 && b->last ? load_some(b->scale + j * VL, left) : (V){0};
        for (int i = 0; i < m; i++) {
            REAL *at = out + i * b->ldo + j * VL;
            V sum = sums[i * n + j];
            if (int8) {
                sum = __builtin_convertvector((VI)sum, V);
                if (b->resume) sum = load_some(at, left) + sum;
                if (b->last) sum = sum * (v_set1(b->step[i]) * scale);
            }
            if (b->last && b->bias) sum = sum + add;
            if (b->last && b->relu) sum = v_max((V){0}, sum);
            store_some(at, sum, left);
        }
    }
}
OUTLINE void finish_int8(int m, int n, const pair_block *b, const V *sums, REAL *out, int64_t cols) {
    finish_pairs(true, m, n, b, sums, out, cols);
}
OUTLINE void finish_bf16(int m, int n, const pair_block *b, const V *sums, REAL *out, int64_t cols) {
    finish_pairs(false, m, n, b, sums, out, cols);
}

/* m rows by n vectors: a panel (2) or several. Accumulators of int8 are integers. */
INLINE void pair_tile(const bool int8, const int m, const int n, const pair_block *b, const int16_t *x,
                      const void *w, REAL *out, int64_t cols) {
    const int64_t pairs = b->pairs, ldx = b->ldx, panel = b->panel;
    V acc[MR][8], sums[MR * 8];
    const bool resume = !int8 && b->resume;
    if (resume) load_edge(m, n, sums, out, b->ldo, cols);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) acc[i][j] = resume ? sums[i * n + j] : (V){0};
    const bool fetch = !int8 && m > LOW;
    const REAL *ahead = b->ahead;
    for (int64_t p = 0; p < pairs;) {
        const int64_t until = !fetch || pairs - p < PAIR_STEPS ? pairs : p + PAIR_STEPS;
        if (fetch) {
            fetch_lines(ahead);
            ahead += 2 * LINE;
        }
#pragma GCC unroll 1
        for (; p < until; p++) {
            VI row[8];
#pragma GCC unroll 8
            for (int j = 0; j < n; j++) {
                const int64_t at = ((j / 2 * panel + p) * NR + j % 2 * VL) * 2;
                row[j] = int8 ? v_widen((const int8_t *)w + at) : v_load_pairs((const int16_t *)w + at);
            }
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const VI left = v_set1_pair(x + i * ldx + 2 * p);
#pragma GCC unroll 8
                for (int j = 0; j < n; j++)
                    acc[i][j] = int8 ? (V)v_dp16((VI)acc[i][j], left, row[j]) : v_dpbf16(acc[i][j], left, row[j]);
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 8
        for (int j = 0; j < n; j++) sums[i * n + j] = acc[i][j];
    if (int8) finish_int8(m, n, b, sums, out, cols);
    else finish_bf16(m, n, b, sums, out, cols);
}

#define PAIR_TILE(m, n) \
    static void int8_tile_##m##_##n(const pair_block *b, const int16_t *x, const void *w, REAL *out, \
                                    int64_t cols) { \
        pair_tile(true, m, n, b, x, w, out, cols); \
    } \
    static void bf16_tile_##m##_##n(const pair_block *b, const int16_t *x, const void *w, REAL *out, \
                                    int64_t cols) { \
        pair_tile(false, m, n, b, x, w, out, cols); \
    }
#define PAIR_TILE_PANEL(m) PAIR_TILE(m, 2)
HEIGHTS(PAIR_TILE_PANEL)
PAIR_TILE(1, 8)
PAIR_TILE(2, 4)
PAIR_TILE(3, 4)
#define NAME_INT8(m) int8_tile_##m##_2,
#define NAME_BF16(m) bf16_tile_##m##_2,
/* By whether they are of int8, and by height: of one panel, and of as many as low_tiles has. */
static const pair_tile_fn pair_tiles[2][MR + 1] = {{0, HEIGHTS(NAME_BF16)}, {0, HEIGHTS(NAME_INT8)}};
static const pair_tile_fn low_pair_tiles[2][LOW + 1] = {{0, bf16_tile_1_8, bf16_tile_2_4, bf16_tile_3_4},
                                                         {0, int8_tile_1_8, int8_tile_2_4, int8_tile_3_4}};

/* x (m, 2 pairs), w panels in pairs, out (m, cols); m up to MP */
static void rows_times_pairs(const bool int8, pair_block b, int64_t m, const int16_t *x, const void *w,
                             REAL *out, int64_t cols) {
    const int64_t most = int8 ? MR : BF16_ROWS, count = (m + most - 1) / most, low = m / count,
                  more = m % count,
                  panel = b.panel * NR * 2 * (int8 ? 1 : (int64_t)sizeof(int16_t));
    const REAL *step = b.step, *ahead = b.ahead;
    int64_t wide = m <= LOW ? low_tiles[m].panels : 1;
    for (int64_t n = 0; n < cols; n += wide * NR) {
        if (cols - n <= (wide - 1) * NR) wide = 1;
        const char *at = (const char *)w + n / NR * panel;
        const pair_tile_fn *run = wide > 1 ? low_pair_tiles[int8] : pair_tiles[int8];
        b.ahead = ahead;
        for (int64_t r = 0, height; r < m; r += height) {
            height = low + (r < more * (low + 1));
            b.step = step ? step + r : NULL;
            run[height](&b, x + r * b.ldx, at, out + r * b.ldo + n, cols - n);
            b.ahead += b.ahead_step;
        }
        if (b.bias) b.bias += wide * NR;
        if (b.scale) b.scale += wide * NR;
    }
}

/* Rows of x (m, k) ld `ldx` -> `to`, ld 2 ceil(k / 2), a missing last one being zero. */
#define FOR_PACKED_ROWS(i, m, k, to, ld, ...)                            \
    for (int64_t i = 0, ld = ((k) + 1) / 2 * 2; i < (m); i++, to += ld) { \
        to[ld - 1] = 0;                                                   \
        __VA_ARGS__                                                       \
    }

/* The first `left` of the 16-bit numbers in the low halves of x. */
INLINE void store_low(int16_t *to, VI x, int64_t left) {
    int16_t all[VL];
    if (left >= VL) {
        v_store_low(to, x);
        return;
    }
    v_store_low(all, x);
    memcpy(to, all, sizeof *all * (size_t)left);
}

/* x (m, k) rounded to multiples of 1 / scale[i] -> to */
static void quantize_rows(int64_t m, int64_t k, const REAL *x, int64_t ldx, const REAL *scale, int16_t *to) {
    const V even = v_set1(0x1.8p23f);    /* has no fraction: what is added to it is rounded into its low bits */
    FOR_PACKED_ROWS(i, m, k, to, ld, {
        const V by = v_set1(scale[i]);
        for (int64_t c = 0; c < k; c += VL)
            store_low(to + c, (VI)(load_some(x + i * ldx + c, k - c) * by + even), k - c);
    })
}

/* x (m, k) rounded to bfloat16 -> to */
static void round_rows(int64_t m, int64_t k, const REAL *x, int64_t ldx, int16_t *to) {
    FOR_PACKED_ROWS(i, m, k, to, ld, {
        const REAL *row = x + i * ldx;
        int64_t c = 0;
        for (; c + 2 * VL <= k; c += 2 * VL)
            v_store_pairs(to + c, v_round_row(v_load(row + c), v_load(row + c + VL)));
        if (c < k) {
            const VI last = v_round_row(load_some(row + c, k - c), load_some(row + c + VL, k - c - VL));
            memcpy(to + c, &last, sizeof *to * (size_t)(k - c));
        }
    })
}

/* x (m, k): 2^(14 - e) and 2^(e - 14) of each row, the latter NaN where a number is not finite. */
static void find_steps(int64_t m, int64_t k, const REAL *x, int64_t ldx, REAL *scale, REAL *step) {
    for (int64_t i = 0; i < m; i++) {
        VI most = {0};
        for (int64_t c = 0; c < k; c += VL) {
            const VI bits = (VI)v_abs(load_some(x + i * ldx + c, k - c));
            most = (VI)v_select(bits > most, (V)bits, (V)most);
        }
        UINT largest = 0;
        for (int j = 0; j < VL; j++) largest = (UINT)most[j] > largest ? (UINT)most[j] : largest;
        UINT e = largest >> 23;          /* the exponent's bits: 126 above e */
        const bool finite = e < 255;
        e = !finite ? 127 : e < 14 ? 14 : e;
        const UINT to = (UINT)(127 + 126 + X_BITS - (INT)e) << 23,
                   from = finite ? (UINT)((INT)e + 1 - X_BITS) << 23 : 0x7FC00000u;
        memcpy(scale + i, &to, sizeof to);
        memcpy(step + i, &from, sizeof from);
    }
}

/* x (rows, K) times the int8 kernel (K, N), times scale (N), + bias (N), relu; the part [lo, hi) of out
 * (rows, N) */
static void k_matmul_int8(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const part of = part_of(t, lo, hi);
    const int64_t K = t->layout.rows;
    const int8_t *w = (const int8_t *)t->in[1].p + of.first * t->layout.stride_k * 2;
    int16_t *q = scratch;
    REAL scale[MP], step[MP], *out = (REAL *)to->p + of.first;
    pair_block b = {.ldo = to->ld,
                    .panel = t->layout.stride_k,
                    .bias = t->bias ? (const REAL *)t->bias + of.first : NULL,
                    .scale = (const REAL *)t->in[2].p + of.first,
                    .step = step,
                    .relu = t->relu};
    for (int64_t r = of.lo; r < of.hi; r += MP) {
        const int64_t m = of.hi - r < MP ? of.hi - r : MP;
        const REAL *x = (const REAL *)in->p + r * in->ld;
        find_steps(m, K, x, in->ld, scale, step);
        for (int64_t k = 0; k < K; k += KP) {
            const int64_t kn = K - k < KP ? K - k : KP;
            b.pairs = (kn + 1) / 2;
            b.ldx = 2 * b.pairs;
            b.resume = k > 0;
            b.last = k + kn == K;
            quantize_rows(m, kn, x + k, in->ld, scale, q);
            rows_times_pairs(true, b, m, q, w + k * NR, out + r * to->ld, of.cols);
        }
    }
}

/* Rows [k, k + kn) of a float32 panel (.., NR) -> pairs (ceil(kn / 2), NR, 2) of bfloat16 */
static void round_panel(int64_t kn, const REAL *w, int16_t *to) {
    for (int64_t p = 0; p < (kn + 1) / 2; p++, w += 2 * NR)
        for (int j = 0; j < NR; j += VL, to += 2 * VL)
            v_store_pairs(to, v_round_pairs(v_load(w + j), 2 * p + 1 < kn ? v_load(w + NR + j) : (V){0}));
}

/* Rows [k, k + kn) and columns [n, n + count) of the kernel, n a multiple of NR -> pairs of columns
 * (ceil(count / 2), NR, 2) of bfloat16, up to the end of the last panel; rows past the last come out as zeros. */
static void round_transposed(const fnn_layout *l, const REAL *w, int64_t k, int64_t kn, int64_t n, int64_t count,
                             int16_t *to) {
    for (int64_t c = 0; c < count; c += NR)
        for (int j = 0; j < NR; j += VL) {
            const REAL *from = w + ((n + c) / NR * l->stride_k + k + j) * NR;
            V v[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                v[i] = j + i < kn ? (V)v_round_row(v_load(from + i * NR), v_load(from + i * NR + VL)) : (V){0};
            transpose_lanes(v);
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) v_store_pairs(to + ((c / 2 + i) * NR + j) * 2, (VI)v[i]);
        }
}

/* x (rows, K) times the kernel (K, N), both rounded to bfloat16, + bias (N), relu; the part [lo, hi) of out
 * (rows, N) */
static void k_mixed_matmul(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const fnn_layout *l = &t->layout;
    const part of = part_of(t, lo, hi);
    const REAL *bias = t->bias ? (const REAL *)t->bias + of.first : NULL;
    const bool few = of.hi - of.lo <= MP;
    const int64_t mb = few ? MP : MB, kb = few ? KP : KC;
    int16_t *x = scratch, *rounded = x + mb * kb;
    pair_block b = {.ldo = to->ld, .panel = l->stride_k, .relu = t->relu, .ahead = in->p};
    for (int64_t r = of.lo; r < of.hi; r += mb) {
        const int64_t m = of.hi - r < mb ? of.hi - r : mb;
        REAL *out = (REAL *)to->p + r * to->ld + of.first;
        for (int64_t k = 0; k < l->rows; k += kb) {
            const int64_t kn = l->rows - k < kb ? l->rows - k : kb;
            b.pairs = (kn + 1) / 2;
            b.ldx = 2 * b.pairs;
            b.resume = k > 0;
            b.last = k + kn == l->rows;
            round_rows(m, kn, (const REAL *)in->p + r * in->ld + k, in->ld, x);
            if (l->pairs) {
                b.bias = bias;
                rows_times_pairs(false, b, m, x, (const int16_t *)t->in[1].p + of.first * l->stride_k * 2 + k * NR,
                                 out, of.cols);
                continue;
            }
            for (int64_t n = 0; n < of.cols; n += NR) {
                const REAL *w = (const REAL *)t->in[1].p + (of.first + n) * l->stride_k + k * NR;
                round_panel(kn, w, rounded);
                b.ahead = n + NR < of.cols ? w + NR * l->stride_k : w;
                b.ahead_step = (kn * BF16_ROWS / m + 1) * NR;
                b.bias = bias ? bias + n : NULL;
                rows_times_pairs(false, b, m, x, rounded, out + n, of.cols - n < NR ? of.cols - n : NR);
            }
        }
    }
}

/* dy (rows, N) times the transposed kernel (K, N), both rounded to bfloat16; rows [lo, hi) of out (rows, K) */
static void k_mixed_matmul_nt(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const fnn_layout *l = &t->layout;
    int16_t *dy = scratch, *rounded = dy + MB * KC;
    pair_block b = {.ldo = to->ld};
    for (int64_t r = lo; r < hi; r += MB) {
        const int64_t m = hi - r < MB ? hi - r : MB;
        for (int64_t n = 0; n < l->cols; n += KC) {
            const int64_t count = l->cols - n < KC ? l->cols - n : KC;
            b.pairs = (count + 1) / 2;
            b.ldx = 2 * b.pairs;
            b.resume = n > 0;
            round_rows(m, count, (const REAL *)in->p + r * in->ld + n, in->ld, dy);
            for (int64_t k = 0; k < l->rows; k += NR) {
                const int64_t kn = l->rows - k < NR ? l->rows - k : NR;
                round_transposed(l, t->in[1].p, k, kn, n, count, rounded);
                b.ahead = (const REAL *)t->in[1].p + (n / NR * l->stride_k + k + kn) * NR;
                b.ahead_step = l->stride_k * NR;
                rows_times_pairs(false, b, m, dy, rounded, (REAL *)to->p + r * to->ld + k, kn);
            }
        }
    }
}

/* ---- gradient of the kernel: x' dy, pairs of rows ---- */

enum {
    PAIR_TILES_TN = 2 * TILES_TN,              /* tiles of a strip */
    STRIP_TN = PAIR_TILES_TN * MR,
    PAIR_PANELS_TN = PANELS_TN / 4 * 3         /* panels that share the strip */
};

/* x (rows, cols) ld ldx -> pairs of rows (ceil(rows / 2), width, 2) of bfloat16, zeros up to a multiple of NR columns */
static void round_row_pairs(int64_t rows, int64_t cols, const REAL *x, int64_t ldx, int64_t width, int16_t *to) {
    const int64_t end = cols < width ? (cols + NR - 1) / NR * NR : width;
    for (int64_t r = 0; r < rows; r += 2, x += 2 * ldx, to += 2 * width)
        for (int64_t c = 0; c < end; c += VL)
            v_store_pairs(to + 2 * c, v_round_pairs(load_some(x + c, cols - c),
                                                    r + 1 < rows ? load_some(x + ldx + c, cols - c) : (V){0}));
}

/* x pairs (pairs, STRIP_TN, 2) from the tile's first column on; y pairs (pairs, NR, 2); g (m, NR) contiguous,
 * holding partial sums if `resume` */
typedef void (*pair_tile_tn_fn)(int64_t pairs, const int16_t *x, const int16_t *y, REAL *g, bool resume,
                                fetch_tn ahead);

INLINE void pair_tile_tn(const int m, int64_t pairs, const int16_t *x, const int16_t *y, REAL *g, bool resume,
                         fetch_tn ahead) {
    V acc[MR][2];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
        for (int j = 0; j < 2; j++) acc[i][j] = resume ? v_load(g + i * NR + j * VL) : (V){0};
    for (int64_t p = 0; p < pairs;) {
        const int64_t until = pairs - p < PAIR_STEPS ? pairs : p + PAIR_STEPS;
        fetch_some(&ahead);
#pragma GCC unroll 1
        for (; p < until; p++, x += 2 * STRIP_TN, y += 2 * NR) {
            const VI row[2] = {v_load_pairs(y), v_load_pairs(y + 2 * VL)};
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const VI left = v_set1_pair(x + 2 * i);
                for (int j = 0; j < 2; j++) acc[i][j] = v_dpbf16(acc[i][j], left, row[j]);
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
        for (int j = 0; j < 2; j++) v_store(g + i * NR + j * VL, acc[i][j]);
}

#define PAIR_TILE_TN(m) \
    static void pair_tile_tn_##m(int64_t pairs, const int16_t *x, const int16_t *y, REAL *g, bool resume, \
                                 fetch_tn ahead) { \
        pair_tile_tn(m, pairs, x, y, g, resume, ahead); \
    }
HEIGHTS(PAIR_TILE_TN)
#define NAME_PAIR_TN(m) pair_tile_tn_##m,
static const pair_tile_tn_fn pair_tiles_tn[MR + 1] = {0, HEIGHTS(NAME_PAIR_TN)};

/* x (rows, K), dy (rows, N), both rounded to bfloat16 -> items [lo, hi) of the gradient (K, N) in the kernel's
 * layout, `rows` being the whole batch. As k_matmul_tn, always with packed strips. */
static void k_mixed_matmul_tn(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    enum { TILE_SIZE = MR * NR };
    _Static_assert(ROWS_TN * (STRIP_TN + NR) * sizeof(int16_t) + PAIR_TILES_TN * PAIR_PANELS_TN * TILE_SIZE * sizeof(REAL) <=
                   FNN_SCRATCH, "does not fit");
    const fnn_layout *l = &t->layout;
    const int64_t K = l->rows, tiles_k = l->tiles_k, rows = t->step->rows * t->in[0].lead, ldx = t->in[0].ld,
                  ldy = t->in[1].ld, first = lo / tiles_k, end = (hi - 1) / tiles_k + 1,
                  chunk = rows > ROWS_TN ? PAIR_PANELS_TN : end - first;
    int16_t *xp = scratch, *yp = xp + ROWS_TN * STRIP_TN;
    REAL *sums = (REAL *)(void *)(yp + ROWS_TN * NR), *out = t->update ? NULL : t->out[0].p;
    for (int64_t p = first; p < end; p += chunk) {
        const int64_t p_end = p + chunk < end ? p + chunk : end;
        for (int64_t s = 0; s < tiles_k; s += PAIR_TILES_TN) {
            const int64_t s_end = s + PAIR_TILES_TN < tiles_k ? s + PAIR_TILES_TN : tiles_k;
            for (int64_t r = 0; r < rows; r += ROWS_TN) {
                const int64_t n = rows - r < ROWS_TN ? rows - r : ROWS_TN, pairs = (n + 1) / 2;
                const REAL *x = (const REAL *)t->in[0].p + r * ldx, *dy = (const REAL *)t->in[1].p + r * ldy,
                           *x_next = x_after(t, r + n, rows, s, s_end);
                round_row_pairs(n, K - s * MR, x + s * MR, ldx, STRIP_TN, xp);
                for (int64_t q = p; q < p_end; q++) {
                    const int64_t i_first = q * tiles_k + s < lo ? lo - q * tiles_k : s,
                                  i_end = q * tiles_k + s_end > hi ? hi - q * tiles_k : s_end,
                                  cols = l->cols - q * NR;
                    if (i_first >= i_end) continue;
                    round_row_pairs(n, cols, dy + q * NR, ldy, NR, yp);
                    for (int64_t i = i_first; i < i_end; i++) {
                        const int64_t m = K - i * MR < MR ? K - i * MR : MR, at = (q * l->stride_k + i * MR) * NR;
                        REAL *g = out ? out + at
                                      : sums + (rows > ROWS_TN ? (q - p) * PAIR_TILES_TN + i - s : 0) * TILE_SIZE;
                        const fetch_tn ahead =
                            fetch_of(t, at, x_next, (q - p) * (s_end - s) + i - s, dy + (q + 1 < p_end ? q + 1 : p) * NR,
                                     i - i_first, i_end - i_first, n);
                        for (int64_t row = 0, height; row < m; row += height) {
                            height = m <= BF16_ROWS ? m : m - row < (m + 1) / 2 ? m - row : (m + 1) / 2;
                            pair_tiles_tn[height](pairs, xp + 2 * ((i - s) * MR + row), yp, g + row * NR, r > 0,
                                                  ahead);
                        }
                        if (r + n == rows) finish_tile(t, at, cols, m, g);
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
#endif
