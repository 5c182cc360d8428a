/* Products whose left operand is sparse (fnn_csr), with a kernel in PANEL layout, and the gradient of that kernel.
 *
 * A row's output is a chain of fused multiply-adds over its values in their order; so is an element of the gradient
 * over the values of the batch. Neither depends on the cut into ranges. Several panels at once share the reading of
 * values and columns, and are chains enough to cover the latency of an FMA.
 *
 * Columns were checked as the batch was read; they are looked at once more, since another thread may write to the
 * caller's arrays meanwhile. */

enum {
    SPARSE_PANELS = 4,
    SPARSE_VALUES = 1024             /* converted at a time */
};

/* n values in a row, from the i-th of the matrix on. */
typedef struct { const REAL *values; const void *columns; int64_t n; bool wide; } sparse_piece;

INLINE sparse_piece sparse_take(const fnn_csr *m, int64_t i, int64_t end, void *scratch) {
    const bool wide = m->index_dtype == FNN_I64;
    const int64_t n = end - i < SPARSE_VALUES ? end - i : SPARSE_VALUES;
    return (sparse_piece){fnn_csr_values(m, REAL_BITS == 32 ? TYPE_F32 : TYPE_F64, i, n, scratch),
                          (const char *)m->indices + i * (wide ? 8 : 4), n, wide};
}

INLINE uint64_t sparse_column(const sparse_piece *p, int64_t i) {
    return p->wide ? (uint64_t)((const int64_t *)p->columns)[i] : ((const uint32_t *)p->columns)[i];
}

/* Rows [lo, hi) of out, in `panels` panels from column c on. */
INLINE void sparse_forward(const int panels, const fnn_task *t, int64_t lo, int64_t hi, int64_t c,
                           void *scratch) {
    const fnn_layout *l = &t->layout;
    const int64_t panel = l->stride_k * NR, cols = l->cols - c;
    const REAL *w = (const REAL *)t->in[1].p + c / NR * panel, *bias = t->bias ? (const REAL *)t->bias + c : NULL;
    const fnn_extent *extent = t->in[0].p;
    for (int64_t r = lo; r < hi; r++) {
        V acc[2 * SPARSE_PANELS], sums[2 * SPARSE_PANELS];
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++) acc[j] = (V){0};
        for (int64_t i = extent[r].first; i < extent[r].end; i += SPARSE_VALUES) {
            const sparse_piece p = sparse_take(t->csr, i, extent[r].end, scratch);
            for (int64_t k = 0; k < p.n; k++) {
                const uint64_t column = sparse_column(&p, k);
                if (column >= (uint64_t)l->rows) continue;
                const V x = v_set1(p.values[k]);
                const REAL *row = w + (int64_t)column * NR;
#pragma GCC unroll 8
                for (int j = 0; j < 2 * panels; j++)
                    acc[j] = v_fma(x, v_load(row + j / 2 * panel + j % 2 * VL), acc[j]);
            }
        }
        REAL *out = (REAL *)t->out[0].p + r * t->out[0].ld + c;
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++) sums[j] = acc[j];
        for (int j = 0; j < 2 * panels; j++) {
            if (bias) sums[j] = sums[j] + load_some(bias + j * VL, cols - j * VL);
            if (t->relu) sums[j] = v_max((V){0}, sums[j]);
            store_some(out + j * VL, sums[j], cols - j * VL);
        }
    }
}

/* The gradient in `panels` panels from column c on. */
INLINE void sparse_gradient(const int panels, const fnn_task *t, int64_t c, void *scratch) {
    const fnn_layout *l = &t->layout;
    const int64_t panel = l->stride_k * NR, cols = l->cols - c;
    REAL *g = (REAL *)t->out[0].p + c / NR * panel;
    const fnn_extent *extent = t->in[0].p;
    memset(g, 0, (size_t)(panels * panel) * sizeof(REAL));
    for (int64_t r = 0; r < t->step->rows; r++) {
        const REAL *dy = (const REAL *)t->in[1].p + r * t->in[1].ld + c;
        V d[2 * SPARSE_PANELS];
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++) d[j] = load_some(dy + j * VL, cols - j * VL);
        for (int64_t i = extent[r].first; i < extent[r].end; i += SPARSE_VALUES) {
            const sparse_piece p = sparse_take(t->csr, i, extent[r].end, scratch);
            for (int64_t k = 0; k < p.n; k++) {
                const uint64_t column = sparse_column(&p, k);
                if (column >= (uint64_t)l->rows) continue;
                const V x = v_set1(p.values[k]);
                REAL *row = g + (int64_t)column * NR;
#pragma GCC unroll 8
                for (int j = 0; j < 2 * panels; j++) {
                    REAL *at = row + j / 2 * panel + j % 2 * VL;
                    v_store(at, v_fma(x, d[j], v_load(at)));
                }
            }
        }
    }
    for (int64_t k = 0; cols < panels * NR && k < l->rows; k++)   /* 0 times a NaN or an infinity in x is no zero */
        for (int64_t j = cols - (panels - 1) * NR; j < NR; j++) g[(panels - 1) * panel + k * NR + j] = 0;
}

/* The work on columns [lo, hi) with `some(panels, c)`, made for each number of panels. */
#define FOR_PANELS(lo, hi, c, some)                                               \
    for (int64_t c = (lo); c < (hi); c += SPARSE_PANELS * NR) {                   \
        switch (((hi) - c + NR - 1) / NR) {                                       \
        case 1: some(1, c); break;                                                \
        case 2: some(2, c); break;                                                \
        case 3: some(3, c); break;                                                \
        default: some(4, c);                                                      \
        }                                                                         \
    }

/* x CSR (rows, K) times the kernel (K, N), + bias (N), relu; rows [lo, hi) of out (rows, N) */
static void k_matmul_csr(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
#define FORWARD(panels, c) sparse_forward(panels, t, lo, hi, c, scratch)
    FOR_PANELS(0, t->layout.cols, c, FORWARD)
#undef FORWARD
}

/* x CSR (rows, K), dy (rows, N), all rows of the batch -> columns [lo, hi) of the gradient (K, N) PANEL, whole
 * panels, of which this also clears the padding. */
static void k_matmul_csr_tn(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
#define GRADIENT(panels, c) sparse_gradient(panels, t, c, scratch)
    FOR_PANELS(lo, hi, c, GRADIENT)
#undef GRADIENT
}
