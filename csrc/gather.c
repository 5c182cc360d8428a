/* Rows of callers' arrays into the arena and back. Strides, byte order, element type, NaN and class indices
 * are all dealt with here, while a row is read anyway; no array is ever scanned or copied whole. */
#include "internal.h"

#include <math.h>
#include <string.h>

static const unsigned char dtype_size[] = {4, 8, 2, 1, 1, 2, 4, 8, 1, 2, 4, 8};

size_t fnn_dtype_size(int dtype) { return dtype_size[dtype]; }

static float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff, bits;
    if (rest >= 0x7c00) bits = sign | 0x7f800000u | (rest & 0x3ff) << 13;
    else if (rest >= 0x0400) bits = sign | ((rest << 13) + ((127 - 15) << 23));
    else { float value = (float)rest * 0x1p-24f; memcpy(&bits, &value, 4); bits |= sign; }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static uint16_t swap16(uint16_t x) { return __builtin_bswap16(x); }
static uint32_t swap32(uint32_t x) { return __builtin_bswap32(x); }
static uint64_t swap64(uint64_t x) { return __builtin_bswap64(x); }
static uint8_t swap8(uint8_t x) { return x; }

/* n elements, `stride` bytes apart, as doubles or floats or raw integers: the loops below are made for each
 * pair of types. */
#define LOAD(TYPE, BITS, value)                                                   \
    uint##BITS##_t raw_;                                                          \
    memcpy(&raw_, from + i * stride, sizeof raw_);                                \
    if (swapped) raw_ = swap##BITS(raw_);                                         \
    TYPE value;                                                                   \
    memcpy(&value, &raw_, sizeof value)
#define CONVERT(TO, TYPE, BITS, expression)                                       \
    for (int64_t i = 0; i < n; i++) { LOAD(TYPE, BITS, v); to[i] = (TO)(expression); } break

#define MAKE_REALS(NAME, TO)                                                      \
    static void NAME(TO *to, const char *from, int64_t stride, int64_t n, int dtype, bool swapped) { \
        switch (dtype) {                                                          \
        case FNN_F32: CONVERT(TO, float, 32, v);                                  \
        case FNN_F64: CONVERT(TO, double, 64, v);                                 \
        case FNN_F16: CONVERT(TO, uint16_t, 16, half_to_float(v));                \
        case FNN_BOOL: CONVERT(TO, uint8_t, 8, v != 0);                           \
        case FNN_I8: CONVERT(TO, int8_t, 8, v);                                   \
        case FNN_I16: CONVERT(TO, int16_t, 16, v);                                \
        case FNN_I32: CONVERT(TO, int32_t, 32, v);                                \
        case FNN_I64: CONVERT(TO, int64_t, 64, v);                                \
        case FNN_U8: CONVERT(TO, uint8_t, 8, v);                                  \
        case FNN_U16: CONVERT(TO, uint16_t, 16, v);                               \
        case FNN_U32: CONVERT(TO, uint32_t, 32, v);                               \
        default: CONVERT(TO, uint64_t, 64, v);                                    \
        }                                                                         \
    }
MAKE_REALS(to_float, float)
MAKE_REALS(to_double, double)

/* One run of elements that have one stride between them. Returns false at the first that is no class index,
 * given back in *bad; that reals are finite is not looked at here. A
 * float64 beyond float32's range becomes infinite on the way and is reported as such. */
static bool take_run(const fnn_array *a, const fnn_port *port, fnn_type type, void *to, const char *from,
                     int64_t stride, int64_t n, double *bad) {
    bool plain = stride == dtype_size[a->dtype] && !a->swapped;
    if (type == TYPE_I32) {
        int32_t *out = to;
        for (int64_t i = 0; i < n; i++) {
            if (!a->swapped && (a->dtype == FNN_I32 || a->dtype == FNN_I64)) {   /* what classes mostly are */
                int32_t narrow;
                int64_t class;
                memcpy(&narrow, from + i * stride, sizeof narrow);
                class = narrow;
                if (a->dtype == FNN_I64) memcpy(&class, from + i * stride, sizeof class);
                out[i] = (int32_t)class;
                if (class >= port->lowest && class <= port->highest) continue;
            }
            double value;
            to_double(&value, from + i * stride, 0, 1, a->dtype, a->swapped);
            if (!(value >= (double)port->lowest && value <= (double)port->highest && value == floor(value))) {
                *bad = value;
                return false;
            }
            out[i] = (int32_t)value;
        }
    } else if (type == TYPE_F32) {
        if (plain && a->dtype == FNN_F32) memcpy(to, from, (size_t)n * sizeof(float));
        else to_float(to, from, stride, n, a->dtype, a->swapped);
    } else {
        if (plain && a->dtype == FNN_F64) memcpy(to, from, (size_t)n * sizeof(double));
        else to_double(to, from, stride, n, a->dtype, a->swapped);
    }
    return true;
}

/* Trailing dimensions that follow each other make one run of *n elements, *stride bytes apart; returns the first of
 * these dimensions. */
static int find_run(const fnn_array *a, int dim, int64_t *n, int64_t *stride) {
    *n = 1;
    *stride = dtype_size[a->dtype];
    int k = a->ndim;
    for (; k > dim; k--) {
        if (a->shape[k - 1] != 1 && *n != 1 && a->strides[k - 1] != *stride * *n) break;
        if (*n == 1 && a->shape[k - 1] != 1) *stride = a->strides[k - 1];
        *n *= a->shape[k - 1];
    }
    return k;
}

/* Everything below dimension `dim` of one sample. */
static bool take_sample(const fnn_port *port, fnn_type type, int dim, char **to, const char *from,
                        double *bad) {
    const fnn_array *a = &port->array;
    int64_t n, stride;
    if (find_run(a, dim, &n, &stride) == dim) {
        bool good = take_run(a, port, type, *to, from, stride, n, bad);
        *to += (size_t)n * fnn_type_size(type);
        return good;
    }
    for (int64_t i = 0; i < a->shape[dim]; i++)
        if (!take_sample(port, type, dim + 1, to, from + i * a->strides[dim], bad)) return false;
    return true;
}

enum {
    AHEAD = 8,                       /* samples foreseen within a batch */
    LINE = 64,                       /* bytes of a cache line */
    LINES = 5,                       /* of each; what follows them the processor foresees */
    NEXT = 512,                      /* samples of the next batch that are foreseen, so that the cache holds them */
    CHECKED = 2048                   /* bytes that are looked through at a time, while in the L1 cache */
};

/* Samples need not begin where a line does. */
static int lines_of(const fnn_port *port) {
    const fnn_array *a = &port->array;
    const int64_t bytes = dtype_size[a->dtype] * port->view.lead * port->view.cols,
                  before = ((uintptr_t)a->data | (uintptr_t)a->strides[0]) % LINE ? LINE - 1 : 0,
                  lines = (before + bytes + LINE - 1) / LINE;
    return lines < LINES ? (int)lines : LINES;
}

/* A shuffle puts samples anywhere in memory. LEVEL of the cache: 3 for the first, 2 for the second. */
#define FORESEE(sample, lines, LEVEL)                                             \
    for (int line_ = 0; line_ < (lines); line_++) __builtin_prefetch((sample) + LINE * line_, 0, LEVEL)

static bool is_sparse(const fnn_session *s, const fnn_port *port) {
    return s->model->program.tensors[port->tensor].type == TYPE_CSR;
}

void fnn_foresee(const fnn_session *s, int64_t lo, int64_t hi) {
    if (!s->pass.shuffle && !s->selected) return;
    if (hi > lo + NEXT) hi = lo + NEXT;
    for (int k = 0; k < s->n_in_ports; k++) {
        const fnn_port *port = &s->ports[k];
        if (!port->bound || is_sparse(s, port)) continue;
        const int lines = lines_of(port);
        const char *data = port->array.data;
        for (int64_t r = lo; r < hi; r++) FORESEE(data + s->next.row[r] * port->array.strides[0], lines, 2);
    }
}

/* The first value of a row that is not finite. */
static void report_row(int tensor, fnn_type type, const void *row, int64_t sample, fnn_error *fault) {
    double bad = 0;
    for (int64_t i = 0; isfinite(bad); i++)
        bad = type == TYPE_F32 ? (double)((const float *)row)[i] : ((const double *)row)[i];
    fnn_fail_at(fault, FNN_ERR_DATA, tensor, sample, bad, "bad value in the data");
}

/* Looks through the caller's rows [lo, hi) of the batch, which follow each other. */
static void check_rows(const fnn_session *s, const fnn_port *port, int64_t lo, int64_t hi, fnn_error *fault) {
    const fnn_type type = s->model->program.tensors[port->tensor].type;
    const int64_t *sample = s->step.sample;
    for (int64_t r = lo; s->pass.check_finite && r < hi; r++) {
        const char *row = (const char *)port->array.data + sample[r] * port->array.strides[0];
        if (s->model->kernels->all_finite(row, port->view.lead * port->view.cols)) continue;
        report_row(port->tensor, type, row, sample[r], fault);
        return;
    }
}

/* ---- sparse rows: only looked through, and read in place by the kernels ---- */

const void *fnn_csr_values(const fnn_csr *m, fnn_type type, int64_t i, int64_t n, void *to) {
    const char *from = (const char *)m->data + i * dtype_size[m->dtype];
    if (m->dtype == (type == TYPE_F32 ? FNN_F32 : FNN_F64)) return from;
    if (type == TYPE_F32) to_float(to, from, dtype_size[m->dtype], n, m->dtype, false);
    else to_double(to, from, dtype_size[m->dtype], n, m->dtype, false);
    return to;
}

/* The first value in [first, end) that is not finite as a number of `type`; end where all are. */
static int64_t first_bad_value(const fnn_kernels *k, const fnn_csr *m, fnn_type type, int64_t first, int64_t end) {
    enum { PIECE = 256 };
    double converted[PIECE];
    for (int64_t n; first < end; first += n) {
        n = end - first < PIECE ? end - first : PIECE;
        if (!k->all_finite(fnn_csr_values(m, type, first, n, converted), n)) break;
    }
    while (first < end && k->all_finite(fnn_csr_values(m, type, first, 1, converted), 1)) first++;
    return first;
}

/* The first column in [first, end) that the matrix does not have. */
static int64_t first_bad_column(const fnn_csr *m, int64_t first, int64_t end) {
    bool bad = false;
    if (m->index_dtype == FNN_I64) {
        const int64_t *columns = m->indices;
        for (int64_t i = first; i < end; i++) bad |= (uint64_t)columns[i] >= (uint64_t)m->cols;
    } else {
        const uint32_t cols = m->cols < UINT32_MAX / 2 ? (uint32_t)m->cols : UINT32_MAX / 2 + 1;
        const uint32_t *columns = m->indices;
        for (int64_t i = first; i < end; i++) bad |= columns[i] >= cols;
    }
    if (!bad) return end;
    while (first < end && (uint64_t)fnn_index_at(m->indices, m->index_dtype, first) < (uint64_t)m->cols) first++;
    return first;
}

static void foresee_sparse(const fnn_csr *m, int64_t row) {
    const int64_t at = fnn_index_at(m->indptr, m->pointer_dtype, row);
    if (at < 0 || at >= m->count) return;
    FORESEE((const char *)m->data + at * dtype_size[m->dtype], LINES, 3);
    FORESEE((const char *)m->indices + at * dtype_size[m->index_dtype], LINES, 3);
}

static void gather_sparse(const fnn_session *s, const fnn_port *port, int64_t lo, int64_t hi, fnn_error *fault) {
    const fnn_csr *m = &port->csr;
    const fnn_type real = s->model->program.real;
    const bool check = s->pass.check_finite && m->dtype <= FNN_F16, ahead = s->pass.shuffle || s->selected;
    const int64_t *row = s->batch.row;
    fnn_extent *extent = port->view.p;
    for (int64_t r = lo; r < hi; r++) {
        if (ahead && r + AHEAD < hi) foresee_sparse(m, row[r + AHEAD]);
        const int64_t first = fnn_index_at(m->indptr, m->pointer_dtype, row[r]),
                      end = fnn_index_at(m->indptr, m->pointer_dtype, row[r] + 1);
        if (first < 0 || end < first || end > m->count) {
            fnn_fail_at(fault, FNN_ERR_DATA, port->tensor, row[r], (double)end, "bad row pointer");
            return;
        }
        extent[r] = (fnn_extent){first, end};
        const int64_t column = first_bad_column(m, first, end);
        if (column < end) {
            fnn_fail_at(fault, FNN_ERR_DATA, port->tensor, row[r],
                        (double)fnn_index_at(m->indices, m->index_dtype, column), "bad column");
            return;
        }
        const int64_t value = check ? first_bad_value(s->model->kernels, m, real, first, end) : end;
        if (value < end) {
            double bad;
            to_double(&bad, (const char *)m->data + value * dtype_size[m->dtype], 0, 1, m->dtype, false);
            fnn_fail_at(fault, FNN_ERR_DATA, port->tensor, row[r], bad, "bad value in the data");
            return;
        }
    }
}

/* Samples [lo, hi) of the batch. Unbound weights are ones. */
void fnn_gather(fnn_session *s, int index, int64_t lo, int64_t hi, fnn_error *fault) {
    const fnn_port *port = &s->ports[index];
    const fnn_view *v = &port->view;
    const fnn_type type = s->model->program.tensors[port->tensor].type;
    const int64_t *row = s->batch.row;
    if (!port->bound) {
        for (int64_t r = lo; r < hi; r++) {
            if (type == TYPE_F32) ((float *)v->p)[r] = 1;
            else ((double *)v->p)[r] = 1;
        }
        return;
    }
    if (type == TYPE_CSR) {
        gather_sparse(s, port, lo, hi, fault);
        return;
    }
    if (port->in_place) {
        check_rows(s, port, lo, hi, fault);
        return;
    }
    const char *data = port->array.data;
    const int64_t stride = port->array.strides[0], elements = v->lead * v->ld;
    const size_t size = fnn_type_size(type),
                 bytes = (size_t)elements * size;
    const bool check = type != TYPE_I32 && s->pass.check_finite;
    bool (*all_finite)(const void *, int64_t) = s->model->kernels->all_finite;
    double bad = 0;
    int64_t checked = lo;
    const int lines = lines_of(port);
    int64_t n, step;
    const bool one_run = find_run(&port->array, 1, &n, &step) == 1;
    const int64_t seen = s->foreseen ? lo + NEXT : lo;
    for (int64_t r = seen; r < hi && r < seen + AHEAD; r++) FORESEE(data + row[r] * stride, lines, 3);
    for (int64_t r = lo; r < hi; r++) {
        char *to = (char *)v->p + (size_t)r * bytes;
        if (r >= seen && r + AHEAD < hi) FORESEE(data + row[r + AHEAD] * stride, lines, 3);
        if (!(one_run ? take_run(&port->array, port, type, to, data + row[r] * stride, step, n, &bad)
                      : take_sample(port, type, 1, &to, data + row[r] * stride, &bad))) {
            fnn_fail_at(fault, FNN_ERR_DATA, port->tensor, row[r], bad, "bad value in the data");
            return;
        }
        if (!check || (r + 1 < hi && (size_t)(r + 1 - checked) * bytes < CHECKED)) continue;
        /* Gaps between rows hold zeros. */
        if (!all_finite((char *)v->p + (size_t)checked * bytes, (r + 1 - checked) * elements)) break;
        checked = r + 1;
    }
    if (!check || checked == hi) return;
    while (all_finite((char *)v->p + (size_t)checked * bytes, elements)) checked++;
    report_row(port->tensor, type, (char *)v->p + (size_t)checked * bytes, row[checked], fault);
}

/* Outputs: contiguous rows of the program's own type, in the order of the samples. */
void fnn_scatter(fnn_session *s, int index, int64_t lo, int64_t hi) {
    const fnn_port *port = &s->ports[index];
    const fnn_view *v = &port->view;
    size_t size = fnn_type_size(s->model->program.real), row = (size_t)(v->cols) * size;
    if (!port->bound) return;
    for (int64_t r = lo; r < hi; r++) {
        char *to = (char *)port->array.data + s->step.sample[r] * v->lead * (int64_t)row;
        const char *from = (const char *)v->p + (size_t)(r * v->lead * v->ld) * size;
        for (int64_t k = 0; k < v->lead; k++)
            memcpy(to + (size_t)k * row, from + (size_t)(k * v->ld) * size, row);
    }
}
