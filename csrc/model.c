/* Models and their parameters: storage, layouts, sharing, snapshots. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

size_t fnn_type_size(fnn_type type) {
    static const size_t sizes[] = {
        [TYPE_F32] = 4, [TYPE_F64] = 8, [TYPE_I32] = 4, [TYPE_I8] = 1, [TYPE_BF16] = 2, [TYPE_CSR] = sizeof(fnn_extent)};
    return sizes[type];
}

int fnn_type_dtype(fnn_type type) {
    static const int dtypes[] = {[TYPE_F32] = FNN_F32, [TYPE_F64] = FNN_F64, [TYPE_I32] = FNN_I32, [TYPE_I8] = FNN_I8,
                                 [TYPE_BF16] = FNN_U16, [TYPE_CSR] = FNN_F32};
    return dtypes[type];
}

/* ---- layouts ---- */

fnn_layout fnn_layout_of(const fnn_kernels *k, const fnn_tensor *t) {
    fnn_layout l = {.panel = t->panel, .rows = 1, .cols = t->lead * t->cols};
    if (l.panel) {
        l.rows = t->lead;
        l.cols = t->cols;
        l.nr = k->nr;
        l.mr = k->mr;
        l.pairs = t->type == TYPE_I8 || t->type == TYPE_BF16;
        l.stride_k = (l.pairs ? (l.rows + 1) / 2 : l.rows) | 1;
        l.size = (l.cols + l.nr - 1) / l.nr * l.stride_k * l.nr * (1 + l.pairs);
        l.tiles_k = (l.rows + l.mr - 1) / l.mr;
        l.items = (l.cols + l.nr - 1) / l.nr * l.tiles_k;
    } else {
        l.size = l.cols;
        l.items = (l.size + FNN_FLAT_ITEM - 1) / FNN_FLAT_ITEM;
    }
    return l;
}

/* Runs of a row that are contiguous on both sides: copy(row_major offset, stored offset, elements). */
#define FOR_RUNS(l, flat, stored, count) \
    for (int64_t run_ = (l)->pairs ? 1 : (l)->panel ? (l)->nr : (l)->cols, row_ = 0; row_ < (l)->rows; row_++) \
        for (int64_t col_ = 0, flat, stored, count; \
             col_ < (l)->cols && (count = (l)->cols - col_ < run_ ? (l)->cols - col_ : run_, \
                                  flat = row_ * (l)->cols + col_, stored = stored_at(l, row_, col_), true); \
             col_ += run_)

/* Where element (row, col) stands. */
static inline int64_t stored_at(const fnn_layout *l, int64_t row, int64_t col) {
    if (!l->panel) return row * l->cols + col;
    const int64_t panel = col / l->nr, in_panel = col % l->nr;
    if (!l->pairs) return (panel * l->stride_k + row) * l->nr + in_panel;
    return ((panel * l->stride_k + row / 2) * l->nr + in_panel) * 2 + row % 2;
}

void fnn_layout_read(const fnn_layout *l, size_t size, const void *stored, void *row_major) {
    FOR_RUNS(l, to, from, n)
    memcpy((char *)row_major + (size_t)to * size, (const char *)stored + (size_t)from * size,
           (size_t)n * size);
}

void fnn_layout_put(const fnn_layout *l, size_t size, void *stored, int64_t at, int64_t n, const void *values) {
    const char *from = values;
    for (int64_t row = at / l->cols, col = at % l->cols; n > 0;) {
        const int64_t left = l->cols - col < n ? l->cols - col : n;
        const int64_t whole = l->pairs ? 1 : l->panel ? l->nr - col % l->nr : left, run = whole < left ? whole : left;
        memcpy((char *)stored + (size_t)stored_at(l, row, col) * size, from, (size_t)run * size);
        from += (size_t)run * size;
        n -= run;
        col += run;
        if (col == l->cols) {
            row++;
            col = 0;
        }
    }
}

/* The padding is made zero again: a diverged training may have left NaN there. */
void fnn_layout_write(const fnn_layout *l, size_t size, void *stored, const void *row_major) {
    if (l->panel) memset(stored, 0, (size_t)l->size * size);
    fnn_layout_put(l, size, stored, 0, l->rows * l->cols, row_major);
}

/* ---- reference counts: models, sessions and parameters may be freed in any order, from any thread ---- */

static void hold(int *refs) { __atomic_add_fetch(refs, 1, __ATOMIC_RELAXED); }
static bool drop(int *refs) { return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL) == 0; }

static void guard_free(fnn_guard *g) {
    if (g && drop(&g->refs)) {
        fnn_rwlock_free(g->lock);
        fnn_free(g);
    }
}

static fnn_guard *guard_new(void) {
    fnn_guard *g = fnn_new(1, sizeof *g);
    if (!g) return NULL;
    g->refs = 1;
    g->lock = fnn_rwlock_new();
    if (g->lock) return g;
    fnn_free(g);
    return NULL;
}

/* Bytes of `size` elements, checked; 0 where they do not fit. */
static size_t bytes_of(int64_t size, size_t real_size) {
    int64_t bytes;
    return fnn_mul(size, (int64_t)real_size, &bytes) && (uint64_t)bytes <= SIZE_MAX / 2 ? (size_t)bytes : 0;
}

static fnn_param *param_new(const fnn_kernels *k, const fnn_tensor *t, fnn_guard *guard) {
    fnn_param *p = fnn_new(1, sizeof *p);
    if (!p) return NULL;
    p->refs = 1;
    p->type = t->type;
    p->ndim = t->ndim;
    memcpy(p->dim, t->dim, sizeof p->dim);
    p->layout = fnn_layout_of(k, t);
    size_t bytes = bytes_of(p->layout.size, fnn_type_size(p->type));
    p->w = bytes ? fnn_alloc(bytes) : NULL;
    if (!p->w) {
        fnn_free(p);
        return NULL;
    }
    hold(&guard->refs);
    p->guard = guard;
    return p;
}

void fnn_param_free(fnn_param *p) {
    if (!p || !drop(&p->refs)) return;
    fnn_free(p->w);
    guard_free(p->guard);
    fnn_free(p);
}

/* ---- models ---- */

static int by_address(const void *a, const void *b) {
    uintptr_t x = (uintptr_t)*(fnn_guard *const *)a, y = (uintptr_t)*(fnn_guard *const *)b;
    return (x > y) - (x < y);
}

static int collect_guards(fnn_model *m, fnn_guard *own) {
    int count = 0;
    m->guards = fnn_new((size_t)m->program.n_tensors + 1, sizeof *m->guards);
    if (!m->guards) return FNN_ERR_MEMORY;
    m->guards[count++] = own;
    for (int i = 0; i < m->program.n_tensors; i++)
        if (m->params[i] && m->params[i]->guard != own) m->guards[count++] = m->params[i]->guard;
    qsort(m->guards, (size_t)count, sizeof *m->guards, by_address);
    for (int i = 0; i < count; i++)
        if (m->n_guards == 0 || m->guards[m->n_guards - 1] != m->guards[i])
            m->guards[m->n_guards++] = m->guards[i];
    for (int i = 0; i < m->n_guards; i++) hold(&m->guards[i]->refs);
    return FNN_OK;
}

static int share_or_make(fnn_model *m, int i, fnn_param *given, fnn_guard *own, fnn_error *err) {
    const fnn_tensor *t = &m->program.tensors[i];
    if (given) {
        fnn_layout l = fnn_layout_of(m->kernels, t);
        if (given->type != t->type || given->ndim != t->ndim ||
            memcmp(given->dim, t->dim, sizeof(int64_t) * (size_t)t->ndim) != 0)
            return fnn_fail_at(err, FNN_ERR_ARGUMENT, i, -1, 0,
                               "tensor %d: the parameter given has another type or shape", i);
        if (given->layout.nr != l.nr || given->layout.mr != l.mr)
            return fnn_fail_at(err, FNN_ERR_ARGUMENT, i, -1, 0,
                               "tensor %d: the parameter given belongs to another instruction set", i);
        hold(&given->refs);
        m->params[i] = given;
    } else {
        m->params[i] = param_new(m->kernels, t, own);
        if (!m->params[i])
            return fnn_fail_at(err, FNN_ERR_MEMORY, i, -1, 0, "out of memory for parameter '%.100s'",
                               t->name);
    }
    for (int s = 0; s < (t->updated ? m->program.slots : 0); s++) {
        void **slot = &m->slots[i * FNN_MAX_SLOTS + s];
        *slot = fnn_alloc(bytes_of(m->params[i]->layout.size, fnn_type_size(m->program.real)));
        if (!*slot)
            return fnn_fail_at(err, FNN_ERR_MEMORY, i, -1, 0, "out of memory for the moments of '%.100s'",
                               t->name);
    }
    return FNN_OK;
}

int fnn_model_of(fnn_program *program, const char *isa, fnn_param *const *params, int n_params, fnn_model **out,
                 fnn_error *err) {
    *out = NULL;
    fnn_model *m = fnn_new(1, sizeof *m);
    fnn_guard *own = guard_new();
    int status = m && own ? FNN_OK : fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    if (m) {
        m->refs = 1;
        m->program = *program;
        *program = (fnn_program){0};
    } else {
        fnn_program_clear(program);
    }
    if (status == FNN_OK) status = fnn_program_lower(&m->program, err);
    if (status == FNN_OK) {
        m->kernels = fnn_kernels_find(isa, m->program.real);
        m->mixed = fnn_mixed_find(isa);
        if (!m->kernels && !isa)
            status = fnn_fail(err, FNN_ERR_PROGRAM,
                              "the model computes in float64, for which this library is not built: save it in float32");
        else if (!m->kernels)
            status = fnn_fail(err, FNN_ERR_ARGUMENT,
                              "instruction set '%.40s' is not built in, or not of this CPU", isa ? isa : "");
    }
    int n = m ? m->program.n_tensors : 0;
    if (status == FNN_OK) {
        m->params = fnn_new((size_t)n + 1, sizeof *m->params);
        m->slots = fnn_new((size_t)n * FNN_MAX_SLOTS + 1, sizeof *m->slots);
        if (!m->params || !m->slots) status = fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    }
    for (int i = 0; status == FNN_OK && i < n; i++)
        if (m->program.tensors[i].kind == KIND_PARAM)
            status = share_or_make(m, i, params && i < n_params ? params[i] : NULL, own, err);
    if (status == FNN_OK && collect_guards(m, own) != FNN_OK)
        status = fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    guard_free(own);
    if (status == FNN_OK) *out = m;
    else fnn_model_drop(m);
    return status;
}

int fnn_model_create(const char *text, size_t length, const char *isa, fnn_param *const *params, int n_params,
                     fnn_model **out, fnn_error *err) {
    *out = NULL;
    fnn_program program;
    uint64_t host = fnn_fp_enter();   /* numbers are read */
    int status = fnn_program_parse(text, length, &program, err);
    fnn_fp_restore(host);
    return status == FNN_OK ? fnn_model_of(&program, isa, params, n_params, out, err) : status;
}

void fnn_model_keep(fnn_model *m) { hold(&m->refs); }

void fnn_model_drop(fnn_model *m) {
    if (!m || !drop(&m->refs)) return;
    for (int i = 0; m->params && i < m->program.n_tensors; i++) fnn_param_free(m->params[i]);
    for (int i = 0; m->slots && !m->lender && i < m->program.n_tensors * FNN_MAX_SLOTS; i++) fnn_free(m->slots[i]);
    fnn_model_drop(m->lender);
    for (int i = 0; i < m->n_guards; i++) guard_free(m->guards[i]);
    fnn_free(m->guards);
    fnn_free(m->params);
    fnn_free(m->slots);
    fnn_free(m->snapshot[0]);
    fnn_free(m->snapshot[1]);
    fnn_program_clear(&m->program);
    fnn_file_free(m->file);
    fnn_free(m);
}

void fnn_model_free(fnn_model *m) {
    if (!m) return;
    __atomic_store_n(&m->freed, true, __ATOMIC_RELEASE);
    fnn_model_drop(m);
}

/* ---- the last error ---- */

/* Held for the time of a copy. */
static void begin_telling(fnn_model *m) {
    while (__atomic_exchange_n(&m->telling, true, __ATOMIC_ACQUIRE)) {}
}
static void end_telling(fnn_model *m) { __atomic_store_n(&m->telling, false, __ATOMIC_RELEASE); }

int fnn_model_told(fnn_model *m, int status, const fnn_error *own, fnn_error *err) {
    if (status == FNN_OK) return status;
    begin_telling(m);
    m->last = *own;
    end_telling(m);
    if (err) *err = *own;
    return status;
}

void fnn_model_error(const fnn_model *m, fnn_error *error) {
    if (!error) return;
    memset(error, 0, sizeof *error);
    if (!m) return;
    begin_telling((fnn_model *)(uintptr_t)m);
    *error = m->last;
    end_telling((fnn_model *)(uintptr_t)m);
}

/* The moment of a parameter in another model, NULL where that has none. */
static void *lent(const fnn_model *lender, const fnn_param *param, int slot) {
    for (int i = 0; i < lender->program.n_tensors; i++)
        if (lender->params[i] == param) return lender->slots[i * FNN_MAX_SLOTS + slot];
    return NULL;
}

int fnn_model_share_moments(fnn_model *m, fnn_model *lender, fnn_error *err) {
    int n = m->program.n_tensors * FNN_MAX_SLOTS;
    if (m->lender || m == lender) return fnn_fail(err, FNN_ERR_STATE, "the model shares moments already");
    for (int i = 0; i < n; i++)
        if (m->slots[i] && !lent(lender, m->params[i / FNN_MAX_SLOTS], i % FNN_MAX_SLOTS))
            return fnn_fail(err, FNN_ERR_ARGUMENT, "the lender has no moment %d of '%.100s'", i % FNN_MAX_SLOTS,
                            m->program.tensors[i / FNN_MAX_SLOTS].name);
    for (int i = 0; i < n; i++) {
        if (!m->slots[i]) continue;
        fnn_free(m->slots[i]);
        m->slots[i] = lent(lender, m->params[i / FNN_MAX_SLOTS], i % FNN_MAX_SLOTS);
    }
    hold(&lender->refs);
    m->lender = lender;
    return FNN_OK;
}

bool fnn_model_trains(const fnn_model *m) {
    for (int i = 0; i < m->program.n_roots; i++)
        if (m->program.roots[i].kind == ROOT_LOSS) return true;
    for (int i = 0; i < m->program.n_nodes; i++)
        if (fnn_ops[m->program.nodes[i].op].rule == RULE_UPDATE) return true;
    return false;
}

int fnn_model_slots(const fnn_model *m) { return m->program.slots; }
/* Atomic, since a training in another thread counts on meanwhile. */
int64_t fnn_model_iterations(const fnn_model *m) { return m ? __atomic_load_n(&m->iterations, __ATOMIC_RELAXED) : 0; }
void fnn_model_set_iterations(fnn_model *m, int64_t iterations) {
    __atomic_store_n(&m->iterations, iterations > 0 ? iterations : 0, __ATOMIC_RELAXED);
}

void fnn_model_hold(fnn_model *m, bool write) {
    for (int i = 0; i < m->n_guards; i++) (write ? fnn_rwlock_write : fnn_rwlock_read)(m->guards[i]->lock);
}

void fnn_model_let_go(fnn_model *m, bool write) {
    for (int i = m->n_guards - 1; i >= 0; i--)
        (write ? fnn_rwlock_unwrite : fnn_rwlock_unread)(m->guards[i]->lock);
}

/* ---- values in and out ---- */

fnn_param *fnn_model_param(fnn_model *m, int tensor) {
    if (tensor < 0 || tensor >= m->program.n_tensors || !m->params[tensor]) return NULL;
    hold(&m->params[tensor]->refs);
    return m->params[tensor];
}

int fnn_param_shape(const fnn_param *p, int64_t *dims) {
    memcpy(dims, p->dim, sizeof(int64_t) * (size_t)p->ndim);
    return p->ndim;
}

int fnn_param_dtype(const fnn_param *p) { return fnn_type_dtype(p->type); }

static int check_count(const fnn_param *p, int64_t count, fnn_error *err) {
    int64_t needed = p->layout.rows * p->layout.cols;
    return count == needed ? FNN_OK
                           : fnn_fail(err, FNN_ERR_ARGUMENT, "%lld values for a parameter of %lld",
                                      (long long)count, (long long)needed);
}

int fnn_param_read(fnn_param *p, void *values, int64_t count, fnn_error *err) {
    if (check_count(p, count, err)) return FNN_ERR_ARGUMENT;
    fnn_rwlock_read(p->guard->lock);
    fnn_layout_read(&p->layout, fnn_type_size(p->type), p->w, values);
    fnn_rwlock_unread(p->guard->lock);
    return FNN_OK;
}

int fnn_param_write(fnn_param *p, const void *values, int64_t count, fnn_error *err) {
    if (check_count(p, count, err)) return FNN_ERR_ARGUMENT;
    fnn_rwlock_write(p->guard->lock);
    fnn_layout_write(&p->layout, fnn_type_size(p->type), p->w, values);
    fnn_rwlock_unwrite(p->guard->lock);
    return FNN_OK;
}

static void *find_slot(fnn_model *m, int tensor, int slot) {
    if (tensor < 0 || tensor >= m->program.n_tensors || slot < 0 || slot >= FNN_MAX_SLOTS) return NULL;
    return m->slots[tensor * FNN_MAX_SLOTS + slot];
}

/* A parameter (slot -1) or a moment of it, and how to read it; NULL where there is none. */
static const void *find_value(fnn_model *m, int tensor, int slot) {
    if (slot >= 0) return find_slot(m, tensor, slot);
    return tensor >= 0 && tensor < m->program.n_tensors && m->params[tensor] ? m->params[tensor]->w : NULL;
}

int fnn_model_read(fnn_model *m, int n, const int *tensors, const int *slots, void *const *values,
                   const int64_t *counts, int64_t *iterations, fnn_error *err) {
    for (int i = 0; i < n; i++) {
        if (!find_value(m, tensors[i], slots[i]))
            return fnn_fail(err, FNN_ERR_ARGUMENT, "tensor %d has no value %d", tensors[i], slots[i]);
        if (check_count(m->params[tensors[i]], counts[i], err)) return FNN_ERR_ARGUMENT;
    }
    fnn_model_hold(m, false);
    for (int i = 0; i < n; i++)
        fnn_layout_read(&m->params[tensors[i]]->layout, fnn_type_size(m->params[tensors[i]]->type),
                        find_value(m, tensors[i], slots[i]), values[i]);
    *iterations = fnn_model_iterations(m);
    fnn_model_let_go(m, false);
    return FNN_OK;
}

int fnn_slot_write(fnn_model *m, int tensor, int slot, const void *values, int64_t count, fnn_error *err) {
    void *stored = find_slot(m, tensor, slot);
    if (!stored) return fnn_fail(err, FNN_ERR_ARGUMENT, "tensor %d has no moment %d", tensor, slot);
    if (check_count(m->params[tensor], count, err)) return FNN_ERR_ARGUMENT;
    fnn_model_hold(m, true);
    fnn_layout_write(&m->params[tensor]->layout, fnn_type_size(m->program.real), stored, values);
    fnn_model_let_go(m, true);
    return FNN_OK;
}

/* ---- snapshots: parameters and moments one after the other ---- */

/* Calls on each buffer that training changes. */
static size_t walk_state(fnn_model *m, char *copy, int direction) {
    size_t at = 0;
    for (int i = 0; i < m->program.n_tensors; i++) {
        if (!m->params[i] || !m->program.tensors[i].updated) continue;
        size_t bytes = bytes_of(m->params[i]->layout.size, fnn_type_size(m->program.real));
        for (int s = -1; s < m->program.slots; s++) {
            void *live = s < 0 ? m->params[i]->w : m->slots[i * FNN_MAX_SLOTS + s];
            if (direction > 0) memcpy(copy + at, live, bytes);
            if (direction < 0) memcpy(live, copy + at, bytes);
            at += bytes;
        }
    }
    return at;
}

int fnn_model_snapshot(fnn_model *m, fnn_error *err) {
    fnn_model_hold(m, true);   /* as a writer: the copies are the model's own */
    int to = !m->newest;
    if (!m->snapshot[to]) m->snapshot[to] = fnn_alloc(walk_state(m, NULL, 0));
    bool made = m->snapshot[to] != NULL;
    if (made) {
        walk_state(m, m->snapshot[to], 1);
        m->snapshot_iterations[to] = fnn_model_iterations(m);
        m->newest = to;
        m->snapshots = m->snapshots < 2 ? m->snapshots + 1 : 2;
    }
    fnn_model_let_go(m, true);
    return made ? FNN_OK : fnn_fail(err, FNN_ERR_MEMORY, "out of memory for a copy of the parameters");
}

static void restore_newest(fnn_model *m) {
    walk_state(m, m->snapshot[m->newest], -1);
    fnn_model_set_iterations(m, m->snapshot_iterations[m->newest]);
}

void fnn_model_end_snapshot(fnn_model *m, bool restore) {
    fnn_model_hold(m, true);
    if (restore) restore_newest(m);
    m->newest = !m->newest;
    m->snapshots--;
    fnn_model_let_go(m, true);
}

int fnn_model_restore(fnn_model *m, fnn_error *err) {
    fnn_model_hold(m, true);
    bool left = m->snapshots > 0;
    if (left) {
        restore_newest(m);
        m->newest = !m->newest;
        m->snapshots--;
    }
    fnn_model_let_go(m, true);
    return left ? FNN_OK : fnn_fail(err, FNN_ERR_STATE, "no snapshot is left");
}
