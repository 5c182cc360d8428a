/* For the checks and benchmarks of one kernel table: compiled once for each FNN_ISA and REAL_BITS, with the
 * table's flags, and linked with that table. */
#ifndef FASTNN_KERNEL_CHECK_H
#define FASTNN_KERNEL_CHECK_H

#include "../kernels/simd.h"
#include "../internal.h"

#include <stdio.h>
#include <stdlib.h>

#define JOIN3_(a, b, c) a##b##_##c
#define JOIN3(a, b, c) JOIN3_(a, b, c)
extern const fnn_kernels JOIN3(fnn_kernels_, FNN_ISA, REAL_BITS);
static const fnn_kernels *const table = &JOIN3(fnn_kernels_, FNN_ISA, REAL_BITS);

/* A check that cannot run says so and passes; before main, whose first lines may already use the table's instructions. */
__attribute__((constructor)) static void ask_cpu(void) {
    if (fnn_kernels_find(table->isa, REAL_BITS == 64 ? TYPE_F64 : TYPE_F32)) return;
    printf("%s %s: not run, this CPU lacks it\n", __BASE_FILE__, table->isa);
    exit(0);
}

static inline fnn_layout panel_layout(int64_t rows, int64_t cols) {
    const int64_t panels = (cols + table->nr - 1) / table->nr, stride = rows | 1,
                  tiles = (rows + table->mr - 1) / table->mr;
    return (fnn_layout){.panel = true,
                        .rows = rows,
                        .cols = cols,
                        .nr = table->nr,
                        .mr = table->mr,
                        .stride_k = stride,
                        .size = panels * stride * table->nr,
                        .tiles_k = tiles,
                        .items = panels * tiles};
}
static inline fnn_layout flat_layout(int64_t size) {
    return (fnn_layout){
        .rows = 1, .cols = size, .size = size, .items = (size + FNN_FLAT_ITEM - 1) / FNN_FLAT_ITEM};
}
static inline int64_t panel_at(const fnn_layout *l, int64_t k, int64_t n) {
    return n / l->nr * l->stride_k * l->nr + k * l->nr + n % l->nr;
}

static const double epsilon = REAL_BITS == 32 ? 0x1p-23 : 0x1p-52;

/* Numbers in [-1, 1), the same in each run. */
static uint64_t random_state = 1;
static inline uint32_t random_bits(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}
static inline REAL random_real(void) { return (REAL)((double)random_bits() / (1 << 30) - 1); }
static inline int64_t random_below(int64_t n) { return (int64_t)(random_bits() % (uint32_t)n); }

static _Alignas(FNN_ALIGN) __attribute__((unused)) unsigned char scratch[FNN_SCRATCH];

/* A matrix (rows, cols), `ld` elements from row to row, at any address, with sentinels before, after and
 * between its rows. The sentinel is a NaN, so one that is read shows in the result, and one that is written
 * shows in its bits. */
enum { MARGIN = 80 };
typedef struct { REAL *all, *p; int64_t rows, cols, ld, size; } matrix;

static inline REAL sentinel(void) {
    const UINT bits = (UINT)(REAL_BITS == 32 ? 0x7FC0FA57u : 0x7FF80000FA57FA57u);
    REAL x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline bool same(const REAL *a, const REAL *b, int64_t n) {
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* All sentinels; `shift` elements off alignment. */
static inline matrix matrix_new(int64_t rows, int64_t cols, int64_t ld, int shift) {
    matrix m = {.rows = rows, .cols = cols, .ld = ld, .size = MARGIN * 2 + rows * ld};
    m.all = fnn_alloc((size_t)m.size * sizeof(REAL));
    if (!m.all) exit(2);
    m.p = m.all + 64 + shift;
    for (int64_t i = 0; i < m.size; i++) m.all[i] = sentinel();
    return m;
}
static inline matrix matrix_random(int64_t rows, int64_t cols, int64_t ld, int shift) {
    matrix m = matrix_new(rows, cols, ld, shift);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) m.p[r * ld + c] = random_real();
    return m;
}
/* A parameter: its layout's buffer filled with random numbers, zeros in the padding. */
static inline matrix matrix_param(const fnn_layout *l, bool positive) {
    matrix m = matrix_new(1, l->size, l->size, 0);
    for (int64_t i = 0; i < l->size; i++) m.p[i] = 0;
    for (int64_t k = 0; k < l->rows; k++)
        for (int64_t n = 0; n < l->cols; n++) {
            const REAL x = random_real();
            m.p[l->panel ? panel_at(l, k, n) : n] = positive && x < 0 ? -x : x;
        }
    return m;
}
static inline matrix matrix_copy(const matrix *from) {
    matrix m = matrix_new(from->rows, from->cols, from->ld, (int)(from->p - from->all - 64));
    memcpy(m.all, from->all, (size_t)m.size * sizeof(REAL));
    return m;
}
/* Whether all is sentinel but rows [lo, hi). */
static inline bool matrix_intact(const matrix *m, int64_t lo, int64_t hi) {
    const REAL mark = sentinel();
    for (int64_t i = 0; i < m->size; i++) {
        const int64_t at = i - (m->p - m->all), row = at < 0 ? -1 : at / m->ld;
        const bool inside = row >= lo && row < hi && at % m->ld < m->cols;
        if (!inside && !same(m->all + i, &mark, 1)) return false;
    }
    return true;
}
static inline fnn_view view_of(const matrix *m) { return (fnn_view){m->p, m->ld, m->cols, 1}; }

static int64_t passed, failed;
#define CHECK(condition, ...) \
    do { \
        if (condition) passed++; \
        else if (failed++ < 20) { \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            printf(__VA_ARGS__); \
            printf("\n"); \
        } \
    } while (0)
static inline int summary(const char *name) {
    printf("%s %s float%d: %lld passed, %lld failed\n", name, table->isa, REAL_BITS, (long long)passed,
           (long long)failed);
    return failed != 0;
}

#endif
