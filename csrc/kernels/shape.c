/* Concat, slice, pad, reshape: copies, by samples. A sample is contiguous but where a row of a matrix has a gap
 * after its end. Then what fills a shape: constants, one-hot rows, reals of integers. */

INLINE const REAL *sample_in(const fnn_task *t, int i, int64_t s) {
    return (const REAL *)t->in[i].p + s * t->in[i].lead * t->in[i].ld;
}
INLINE REAL *sample_out(const fnn_task *t, int64_t s) {
    return (REAL *)t->out[0].p + s * t->out[0].lead * t->out[0].ld;
}

INLINE void copy(REAL *to, const REAL *from, int64_t n) { memcpy(to, from, (size_t)n * sizeof(REAL)); }

/* inputs (samples, outer, inner[i]) -> out (samples, outer, sum of inner); samples [lo, hi) */
static void k_concat(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    int64_t width = 0, at = 0;
    for (int i = 0; i < t->n_in; i++) width += t->inner[i];
    for (int i = 0; i < t->n_in; at += t->inner[i++])
        for (int64_t s = lo; s < hi; s++) {
            const REAL *from = sample_in(t, i, s);
            REAL *to = sample_out(t, s) + at;
            for (int64_t o = 0; o < t->outer; o++) copy(to + o * width, from + o * t->inner[i], t->inner[i]);
        }
}

/* x (samples, outer, inner[0]) -> out (samples, outer, inner[2]), from element inner[1] of a block on;
 * samples [lo, hi) */
static void k_slice(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    for (int64_t s = lo; s < hi; s++) {
        const REAL *from = sample_in(t, 0, s) + t->inner[1];
        REAL *to = sample_out(t, s);
        for (int64_t o = 0; o < t->outer; o++)
            copy(to + o * t->inner[2], from + o * t->inner[0], t->inner[2]);
    }
}

/* x (samples, outer, inner[0]) -> out (samples, outer, inner[2]), x from element inner[1] of a block on and zeros
 * round it; samples [lo, hi) */
static void k_pad(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const int64_t part = t->inner[0], before = t->inner[1], whole = t->inner[2], after = whole - before - part;
    for (int64_t s = lo; s < hi; s++) {
        const REAL *from = sample_in(t, 0, s);
        REAL *to = sample_out(t, s);
        for (int64_t o = 0; o < t->outer; o++, from += part, to += whole) {
            memset(to, 0, (size_t)before * sizeof(REAL));
            copy(to + before, from, part);
            memset(to + before + part, 0, (size_t)after * sizeof(REAL));
        }
    }
}

/* x (samples, lead, cols) -> out (samples, other lead, other cols), the elements of a sample in order;
 * samples [lo, hi) */
static void k_reshape(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *in = &t->in[0], *to = &t->out[0];
    const int64_t size = to->lead * to->cols;
    if (in->ld == in->cols && to->ld == to->cols) {
        copy(sample_out(t, lo), sample_in(t, 0, lo), (hi - lo) * size);
        return;
    }
    for (int64_t s = lo; s < hi; s++)
        for (int64_t e = 0, n; e < size; e += n) {
            const int64_t left_in = in->cols - e % in->cols, left_out = to->cols - e % to->cols;
            n = left_in < left_out ? left_in : left_out;
            copy(sample_out(t, s) + e / to->cols * to->ld + e % to->cols,
                 sample_in(t, 0, s) + e / in->cols * in->ld + e % in->cols, n);
        }
}

/* out (samples, lead, cols) = value; samples [lo, hi) */
static void k_full(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const V value = v_set1((REAL)t->attr[0]);
    for (int64_t r = lo * to->lead; r < hi * to->lead; r++) {
        REAL *out = (REAL *)to->p + r * to->ld;
        FOR_VECTORS(to->cols, i, { STOREV(out + i, value); });
    }
}

/* indices (rows), int32 -> rows [lo, hi) of out (rows, classes), 1 at the index and 0 elsewhere */
static void k_one_hot(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    const fnn_view *to = &t->out[0];
    const int32_t *index = t->in[0].p;
    for (int64_t r = lo; r < hi; r++) {
        REAL *out = (REAL *)to->p + r * to->ld;
        memset(out, 0, (size_t)to->cols * sizeof(REAL));
        out[index[r]] = 1;
    }
}

/* x (rows, n), int32 -> rows [lo, hi) of out (rows, n) */
static void k_to_real(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)scratch;
    for (int64_t r = lo; r < hi; r++) {
        const int32_t *x = (const int32_t *)t->in[0].p + r * t->in[0].ld;
        REAL *out = (REAL *)t->out[0].p + r * t->out[0].ld;
        for (int64_t c = 0; c < t->out[0].cols; c++) out[c] = (REAL)x[c];
    }
}

/* A matrix (rows, cols) in the other layout, whole; t->layout is that of the panels. The padding becomes 0. */
static void k_pack(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)lo; (void)hi; (void)scratch;
    fnn_layout_write(&t->layout, sizeof(REAL), t->out[0].p, t->in[0].p);
}
static void k_unpack(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {
    (void)lo; (void)hi; (void)scratch;
    fnn_layout_read(&t->layout, sizeof(REAL), t->in[0].p, t->out[0].p);
}
