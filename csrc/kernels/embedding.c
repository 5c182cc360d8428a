/* Rows of a table by index; the table is a PANEL, t->layout its layout. Indices were checked as they came
 * in. */

/* table (v, n) PANEL, index (rows) -> rows [lo, hi) of out (rows, n) */
static void k_embedding(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_layout *l = &t->layout;
    const REAL *table = t->in[0].p;
    const int32_t *index = t->in[1].p;
    for (int64_t r = lo; r < hi; r++) {
        const REAL *from = table + (int64_t)index[r] * NR;
        REAL *out = (REAL *)t->out[0].p + r * t->out[0].ld;
        int64_t c = 0;
        for (; c + NR <= l->cols; c += NR, from += l->stride_k * NR) {
            v_store(out + c, v_load(from));
            v_store(out + c + VL, v_load(from + VL));
        }
        for (; c < l->cols; c++) out[c] = *from++;
    }
}

/* dy (rows, n), index (rows), all rows of the batch -> columns [lo, hi) of out (v, n) PANEL: the sum of the
 * rows that took each row of the table, from the first to the last. The range is whole panels, of which this
 * also clears the padding. */
static void k_embedding_grad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_layout *l = &t->layout;
    const int64_t rows = t->step->rows * t->in[0].lead, panel = l->stride_k * NR;
    const int32_t *index = t->in[1].p;
    for (int64_t c = lo; c < hi; c += NR) {
        const REAL *dy = (const REAL *)t->in[0].p + c;
        REAL *to = (REAL *)t->out[0].p + c / NR * panel;
        memset(to, 0, (size_t)panel * sizeof(REAL));
        const int64_t left = l->cols - c;
        for (int64_t r = 0; r < rows; r++, dy += t->in[0].ld) {
            REAL *sum = to + (int64_t)index[r] * NR;
            FOR_VECTORS(left < NR ? left : NR, i, { STOREV(sum + i, LOADV(sum + i) + LOADV(dy + i)); });
        }
    }
}
