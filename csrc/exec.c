/* Running a plan: one loop over phases, one over steps. No step allocates, looks up or decides by time; how many
 * threads share a phase is tried from time to time, and changes no result. */
#include "internal.h"

#include <math.h>
#include <string.h>

/* ---- the samples of a step ---- */

static void set_batch(const fnn_session *s, fnn_batch *b, int64_t step) {
    int64_t left = s->pass.n - step * s->pass.batch_size;
    b->step = step;
    b->whole = left < s->pass.batch_size ? left : s->pass.batch_size;
    b->first = 0;
    b->rows = b->whole;
    if (s->parts == 1) return;       /* a division takes longer than the smallest layer */
    b->first = b->whole * s->part / s->parts;
    b->rows = b->whole * (s->part + 1) / s->parts - b->first;
}

/* Samples [lo, hi) of a batch. */
static void choose(const fnn_session *s, const fnn_batch *b, int64_t lo, int64_t hi) {
    fnn_order(&s->pass, b->step * s->pass.batch_size + b->first + lo, hi - lo, b->sample + lo);
    for (int64_t r = lo; r < hi; r++) b->row[r] = s->selected ? s->selected[b->sample[r]] : b->sample[r];
}

/* ---- one step on all threads ---- */

static int64_t cut(int64_t n, int thread, int threads) {
    return threads == 1 ? n * thread : n * thread / threads;
}

/* The share of one of `threads` threads; rows [lo, hi) are its samples. */
static void run_stage(const fnn_stage *stage, int thread, int threads, int64_t lo, int64_t hi,
                      void *scratch) {
    const fnn_task *t = &stage->task;
    switch (stage->share) {
    case SHARE_ROWS:
        lo *= stage->unit;
        hi *= stage->unit;
        break;
    case SHARE_ONE:
        lo = 0;
        hi = thread == 0 ? stage->unit : 0;
        break;
    case SHARE_PANELS: {
        int64_t panels = t->layout.items / t->layout.tiles_k;
        lo = cut(panels, thread, threads) * t->layout.nr;
        hi = cut(panels, thread + 1, threads) * t->layout.nr;
        if (hi > t->layout.cols) hi = t->layout.cols;
        break;
    }
    default:
        lo = cut(t->layout.items, thread, threads);
        hi = cut(t->layout.items, thread + 1, threads);
        if (stage->share == SHARE_ELEMENTS) {
            lo = fnn_item_start(&t->layout, lo);
            hi = fnn_item_start(&t->layout, hi);
        }
    }
    if (lo < hi) t->run(t, lo, hi, scratch);
}

/* A chain of cheap row-wise stages: block after block of samples, so that what one stage writes is
 * still in the L1 cache when the next one reads it. */
static void run_chain(const fnn_stage *stage, int thread, int threads, int64_t lo, int64_t hi,
                      void *scratch) {
    for (int64_t at = lo; at < hi; at += stage->block) {
        int64_t end = hi - at < stage->block ? hi : at + stage->block;
        for (int k = 0; k < stage->chain; k++) run_stage(&stage[k], thread, threads, at, end, scratch);
    }
}

static bool is_shared(const fnn_session *s, int phase, int threads) {
    const fnn_phase *p = &s->phases[phase];
    return threads > 1 && p->ns_row * (double)s->step.rows + p->ns_fixed > s->share_ns;
}

/* All phases, by one of `threads` threads. A phase too short to be shared is thread 0's alone. */
static void walk(void *arg, int thread, int threads) {
    fnn_session *s = arg;
    void *scratch = s->scratch + (size_t)thread * FNN_SCRATCH;
    for (int i = s->first_phase; i < s->end_phase; i++) {
        const fnn_phase *phase = &s->phases[i];
        int of = is_shared(s, i, threads) ? threads : 1;
        if (thread < of) {
            int64_t lo = cut(s->step.rows, thread, of), hi = cut(s->step.rows, thread + 1, of);
            for (int k = 0; i == 0 && k < s->n_in_ports; k++) fnn_gather(s, k, lo, hi, &s->faults[thread]);
            if (i == 0 && s->next.step >= 0) {
                int64_t first = cut(s->next.rows, thread, of), end = cut(s->next.rows, thread + 1, of);
                choose(s, &s->next, first, end);
                fnn_foresee(s, first, end);
            }
            if (s->faults[thread].status != FNN_OK) __atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
            else
                for (int k = phase->first; k < phase->last; k += s->stages[k].chain) {
                    const fnn_stage *stage = &s->stages[k];
                    /* Kernels have at least one row: a share of none computes what belongs to no row. */
                    if (s->step.rows == 0 && stage->task.step == &s->step) continue;
                    if (stage->chain == 1) run_stage(stage, thread, of, lo, hi, scratch);
                    else run_chain(stage, thread, of, lo, hi, scratch);
                }
        }
        /* The end of the job is the last meeting, unless rows are still to be copied out. Thread 0 passes
         * alone from one phase of its own to the next; but after phase 0, whose faults end the step, all meet. */
        bool meet = i + 1 == s->end_phase ? s->n_ports > s->n_in_ports
                                         : i == 0 || of > 1 || is_shared(s, i + 1, threads);
        if (threads > 1 && meet) fnn_pool_barrier(thread, threads);
        if (__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) return;
    }
    for (int k = s->n_in_ports; k < s->n_ports; k++)
        fnn_scatter(s, k, cut(s->step.rows, thread, threads), cut(s->step.rows, thread + 1, threads));
}

/* ---- sums ---- */

static double element(const fnn_session *s, const fnn_view *v, int64_t i) {
    return s->model->program.real == TYPE_F64 ? ((const double *)v->p)[i] : (double)((const float *)v->p)[i];
}

/* Adds this batch's losses, metrics, penalties and tallies, each in the order of its rows; returns its
 * loss. */
static double add_up(fnn_session *s) {
    const fnn_program *p = &s->model->program;
    double rows = (double)s->step.rows, batch_loss = 0, *tally = s->sums + 2 * p->n_roots;
    for (int i = 0; i < p->n_roots; i++) {
        const fnn_root *r = &p->roots[i];
        const fnn_view *v = &s->views[r->tensor];
        double *sum = &s->sums[2 * i];
        if (s->mode == FNN_GRADIENTS && (r->kind == ROOT_METRIC || r->kind == ROOT_TALLY)) continue;
        if (r->kind == ROOT_PENALTY) {
            double value = element(s, v, 0);
            sum[0] += value * rows;
            sum[1] += rows;
            batch_loss += value;
        } else if (r->kind == ROOT_TALLY) {
            int64_t size = v->lead * v->cols;
            for (int64_t k = 0; k < size; k++) tally[k] += element(s, v, k);
            tally += size;
        } else if (r->kind == ROOT_LOSS || r->kind == ROOT_METRIC) {
            int64_t each = v->lead * v->cols;
            double total = 0, weights = 0;
            for (int64_t row = 0; row < s->step.rows; row++) {
                double value = 0, weight = r->other >= 0 ? element(s, &s->views[r->other], row) : 1;
                for (int64_t k = 0; k < each; k++) value += element(s, v, row * each + k);
                total += weight * (value / (double)each);
                weights += weight;
            }
            sum[0] += total;
            sum[1] += r->kind == ROOT_LOSS ? rows : weights;
            if (r->kind == ROOT_LOSS) batch_loss += r->factor * total / (double)s->step.whole;
        }
    }
    return batch_loss;
}

/* The numbers of the results, in their order: copies them from the sums to `out`, or back from `in`; returns
 * how many there are. */
static int64_t copy_sums(const fnn_session *s, double *out, const double *in, int64_t count) {
    static const fnn_root_kind kinds[] = {ROOT_LOSS, ROOT_METRIC, ROOT_PENALTY};
    const fnn_program *p = &s->model->program;
    int64_t n = 0;
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < p->n_roots; i++)
            for (int part = 0; p->roots[i].kind == kinds[k] && part < 2; part++, n++) {
                if (out && n < count) out[n] = s->sums[2 * i + part];
                if (in) s->sums[2 * i + part] = in[n];
            }
    for (int64_t t = 0; t < p->tallied; t++, n++) {
        if (out && n < count) out[n] = s->sums[2 * p->n_roots + t];
        if (in) s->sums[2 * p->n_roots + t] = in[n];
    }
    return n;
}

int fnn_results(const fnn_session *s, double *values, int count) {
    if (!s) return 0;
    return (int)copy_sums(s, values, NULL, count);
}

/* ---- passes ---- */

/* One thread at a time: the others are told. */
static int enter(fnn_session *s, fnn_error *err) {
    if (!s) return fnn_fail(err, FNN_ERR_ARGUMENT, "no session");
    if (__atomic_exchange_n(&s->busy, true, __ATOMIC_ACQUIRE))
        return fnn_fail(err, FNN_ERR_STATE, "the session is at work in another thread");
#if defined(FNN_DEBUG)
    if (__atomic_load_n(&s->model->freed, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&s->busy, false, __ATOMIC_RELEASE);
        return fnn_fail(err, FNN_ERR_STATE, "the session's model was freed");
    }
#endif
    return FNN_OK;
}

/* What failed wrote its error to s->last. */
static int leave(fnn_session *s, int status, fnn_error *err) {
    if (status != FNN_OK && err) *err = s->last;
    __atomic_store_n(&s->busy, false, __ATOMIC_RELEASE);
    return status;
}

const fnn_error *fnn_session_error(const fnn_session *s) { return s ? &s->last : NULL; }

static bool row_major(const fnn_array *a, int64_t size) {
    for (int i = a->ndim - 1; i >= 0; size *= a->shape[i--])
        if (a->shape[i] > 1 && a->strides[i] != size) return false;
    return true;
}

static int bind_port(fnn_session *s, int tensor, const fnn_array *array, fnn_error *err) {
    int k = 0;
    if (tensor < 0 || tensor >= s->model->program.n_tensors)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "tensor %d of %d; fnn_model_tensor gives the ids", tensor,
                        s->model->program.n_tensors);
    while (k < s->n_ports && s->ports[k].tensor != tensor) k++;
    if (k == s->n_ports) return FNN_OK;   /* this session has no use for it */
    const fnn_tensor *t = &s->model->program.tensors[tensor];
    if (array) {
        bool fits = t->type != TYPE_CSR && array->ndim == t->ndim && array->dtype >= FNN_F32 && array->dtype <= FNN_U64 &&
                    array->shape[0] >= 0 && (array->data || array->shape[0] == 0);
        for (int i = 1; fits && i < t->ndim; i++) fits = array->shape[i] == t->dim[i];
        if (fits && k >= s->n_in_ports)
            fits = array->dtype == fnn_type_dtype(t->type) && !array->swapped &&
                   row_major(array, (int64_t)fnn_type_size(t->type));
        if (!fits)
            return fnn_fail_at(err, FNN_ERR_ARGUMENT, tensor, -1, 0, "the array does not fit tensor '%.100s'",
                               t->name);
        if (!array->data && array->shape[0] > 0)
            return fnn_fail_at(err, FNN_ERR_ARGUMENT, tensor, -1, 0, "no data for '%.100s'", t->name);
        s->ports[k].array = *array;
    }
    s->ports[k].bound = array != NULL;
    s->begun = false;
    return FNN_OK;
}

/* Is p aligned to elements of so many bytes? */
static bool is_aligned(const void *p, size_t size) { return (uintptr_t)p % size == 0; }

static int bind_matrix(fnn_session *s, int tensor, const fnn_csr *m, fnn_error *err) {
    int k = 0;
    while (k < s->n_in_ports && s->ports[k].tensor != tensor) k++;
    if (k == s->n_in_ports) return FNN_OK;
    const fnn_tensor *t = &s->model->program.tensors[tensor];
    if (m) {
        bool fits = t->type == TYPE_CSR && m->dtype >= FNN_F32 && m->dtype <= FNN_U64 && m->cols == t->cols &&
                    m->rows >= 0 && m->count >= 0;
        for (int i = 0; fits && i < 2; i++) {
            const int dtype = i ? m->pointer_dtype : m->index_dtype;
            fits = (dtype == FNN_I32 || dtype == FNN_I64) &&
                   is_aligned(i ? m->indptr : m->indices, dtype == FNN_I64 ? 8 : 4);
        }
        if (!fits || !is_aligned(m->data, fnn_dtype_size(m->dtype)))
            return fnn_fail_at(err, FNN_ERR_ARGUMENT, tensor, -1, 0, "the matrix does not fit tensor '%.100s'",
                               t->name);
        s->ports[k].csr = *m;
    }
    s->ports[k].bound = m != NULL;
    s->begun = false;
    return FNN_OK;
}

int fnn_bind_csr(fnn_session *s, int tensor, const fnn_csr *matrix, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, bind_matrix(s, tensor, matrix, &s->last), err);
}

bool fnn_session_writes(const fnn_session *s, int tensor) {
    for (int k = s->n_in_ports; k < s->n_ports; k++)
        if (s->ports[k].tensor == tensor) return true;
    return false;
}

/* Whether a caller's array may be bound to the tensor, even where this session has no use for it. */
static bool is_port(const fnn_program *p, int tensor) {
    if (tensor < 0 || tensor >= p->n_tensors) return false;
    if (p->tensors[tensor].kind != KIND_TEMP) return p->tensors[tensor].kind != KIND_PARAM;
    for (int i = 0; i < p->n_roots; i++)
        if (p->roots[i].kind == ROOT_OUTPUT && p->roots[i].tensor == tensor) return true;
    return false;
}

static int bind_checked(fnn_session *s, int tensor, const fnn_array *array, fnn_error *err) {
    if (!is_port(&s->model->program, tensor))
        return fnn_fail_at(err, FNN_ERR_ARGUMENT, tensor, -1, 0, "tensor %d is no input, target, sample weight or output", tensor);
    return bind_port(s, tensor, array, err);
}

int fnn_bind(fnn_session *s, int tensor, const fnn_array *array, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, bind_checked(s, tensor, array, &s->last), err);
}

static int select_rows(fnn_session *s, const int64_t *rows, int64_t count, fnn_error *err) {
    int64_t highest = -1;
    for (int64_t i = 0; rows && i < count; i++) {
        if (rows[i] < 0)
            return fnn_fail(err, FNN_ERR_ARGUMENT, "row %lld selected", (long long)rows[i]);
        if (rows[i] > highest) highest = rows[i];
    }
    s->selected = rows;
    s->n_selected = count;
    s->highest_selected = highest;
    s->begun = false;
    return FNN_OK;
}

int fnn_select(fnn_session *s, const int64_t *rows, int64_t count, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, select_rows(s, rows, count, &s->last), err);
}

/* May a port's readers take contiguous rows of the program's type where these stand? */
static bool may_read_at(const fnn_port *port, const void *rows, size_t size) {
    return port->readable && (uintptr_t)rows % size == 0 && !fnn_rows_collide(port->view.cols * (int64_t)size);
}

static bool fits_in_place(const fnn_port *port, fnn_type type) {
    const fnn_array *a = &port->array;
    const size_t size = fnn_type_size(type);
    return a->dtype == fnn_type_dtype(type) && !a->swapped && row_major(a, (int64_t)size) &&
           may_read_at(port, a->data, size);
}

/* Lets the readers of a port take rows from there on; NULL: from the arena, where they are copied to. */
static void read_from(fnn_session *s, int port, const void *rows) {
    const fnn_view *v = &s->ports[port].view;
    for (int i = 0; i < s->n_readers; i++) {
        if (s->readers[i].port != port) continue;
        s->readers[i].view->p = rows ? (void *)(uintptr_t)rows : v->p;
        s->readers[i].view->ld = rows ? s->readers[i].view->cols : s->readers[i].ld;
    }
}

static int begin(fnn_session *s, const fnn_pass *pass, fnn_error *err) {
    if (!pass) return fnn_fail(err, FNN_ERR_ARGUMENT, "no pass");
    if (pass->n < 1 || pass->n > FNN_MAX_ROWS)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a pass over %lld samples: at least 1", (long long)pass->n);
    if (pass->batch_size < 1 || (pass->batch_size - 1) / s->parts + 1 > s->max_rows)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a batch size of %lld in a session for %lld rows",
                        (long long)pass->batch_size, (long long)s->max_rows);
    if (s->selected && pass->n > s->n_selected)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a pass over %lld samples of %lld selected", (long long)pass->n,
                        (long long)s->n_selected);
    if (pass->shuffle < 0)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a shuffle of %lld samples", (long long)pass->shuffle);
    int64_t steps = (pass->n - 1) / pass->batch_size + 1;
    if (pass->first_step < 0 || pass->first_step > steps)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "step %lld of %lld", (long long)pass->first_step,
                        (long long)steps);
    for (int i = 0; i < s->n_ports; i++) {
        const fnn_port *port = &s->ports[i];
        const fnn_tensor *t = &s->model->program.tensors[port->tensor];
        if (!port->bound && i < s->n_in_ports && t->kind != KIND_WEIGHT)
            return fnn_fail_at(err, FNN_ERR_STATE, port->tensor, -1, 0, "nothing is bound to '%.100s'",
                               t->name);
        int64_t needed = s->selected && i < s->n_in_ports ? s->highest_selected + 1 : pass->n;
        int64_t given = t->type == TYPE_CSR ? port->csr.rows : port->array.shape[0];
        if (port->bound && given < needed)
            return fnn_fail_at(err, FNN_ERR_ARGUMENT, port->tensor, -1, 0,
                               "'%.100s' has %lld samples, the pass needs %lld", t->name,
                               (long long)given, (long long)needed);
    }
    fnn_session_fit_threads(s);
    for (int i = 0; i < s->n_in_ports; i++) {
        fnn_port *port = &s->ports[i];
        port->in_place = port->bound && port->readable && !pass->shuffle && !s->selected &&
                         fits_in_place(port, s->model->program.tensors[port->tensor].type);
        read_from(s, i, NULL);
    }
    s->pass = *pass;
    s->steps_done = pass->first_step;
    s->next.step = -1;
    s->asked = -1;
    s->steps_total = steps;
    s->step.seed = pass->seed;
    s->step.epoch = pass->epoch;
    const fnn_program *p = &s->model->program;
    memset(s->sums, 0, sizeof *s->sums * (2 * (size_t)p->n_roots + (size_t)p->tallied));
    s->begun = true;
    s->pending = false;
    return FNN_OK;
}

int fnn_begin(fnn_session *s, const fnn_pass *pass, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, begin(s, pass, &s->last), err);
}

static int set_results(fnn_session *s, const double *values, int count, fnn_error *err) {
    int64_t needed = copy_sums(s, NULL, NULL, 0);
    if (count != needed)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "%d results for a session of %lld", count, (long long)needed);
    if (!s->begun || s->steps_done != s->pass.first_step)
        return fnn_fail(err, FNN_ERR_STATE,
                        "results are put back after a pass was begun, before its first step");
    copy_sums(s, NULL, values, count);
    return FNN_OK;
}

int fnn_set_results(fnn_session *s, const double *values, int count, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, set_results(s, values, count, &s->last), err);
}

static int report_fault(fnn_session *s, int threads, fnn_error *err) {
    for (int t = 0; t < threads; t++)
        if (s->faults[t].status != FNN_OK) {
            if (err) *err = s->faults[t];
            return s->faults[t].status;
        }
    return FNN_OK;
}

static char *exchange_at(const fnn_session *s, int64_t element) {
    return s->arena + s->exchange_offset + (size_t)element * fnn_type_size(s->model->program.real);
}

/* The i-th note behind the sums that are exchanged. */
static bool is_noted(const fnn_session *s, int i) {
    const char *note = exchange_at(s, s->exchange_count - FNN_EXCHANGE_NOTES + i);
    return s->model->program.real == TYPE_F64 ? *(const double *)(const void *)note > 0 : *(const float *)(const void *)note > 0;
}

static void go(fnn_session *s, int threads) {
    if (threads > 1 && fnn_session_shared_ns(s, s->step.rows, s->share_ns) > 0) fnn_pool_run(threads, walk, s);
    else walk(s, 0, 1);
}

static int not_finite(fnn_session *s, double loss, fnn_error *err) {
    s->begun = false;
    return fnn_fail_at(err, FNN_ERR_NONFINITE, -1, s->steps_done - 1, loss, "the loss is %g at step %lld", loss,
                       (long long)(s->steps_done - 1));
}

/* The second half of a step that was exchanged. */
static int finish_step(fnn_session *s, int threads, fnn_error *err) {
    s->pending = false;
    s->steps_done++;
    if (is_noted(s, 0)) return not_finite(s, NAN, err);
    s->first_phase = s->update_phase;
    s->end_phase = s->n_phases;
    if (s->first_phase < s->end_phase) go(s, threads);
    fnn_model_set_iterations(s->model, s->step.iteration);
    return FNN_OK;
}

static int one_step(fnn_session *s, double lr, int threads, fnn_error *err) {
    bool training = s->mode == FNN_TRAIN;
    if (s->exchanges) {
        s->first_phase = 0;
        s->end_phase = s->update_phase;
    }
    s->foreseen = s->next.step == s->steps_done;
    if (s->foreseen) {
        fnn_batch chosen = s->next;
        s->next = s->batch;
        s->batch = chosen;
    } else {
        set_batch(s, &s->batch, s->steps_done);
        choose(s, &s->batch, 0, s->batch.rows);
    }
    fnn_read_ahead(s);
    if (s->steps_done + 1 < s->steps_total) set_batch(s, &s->next, s->steps_done + 1);
    else s->next.step = -1;
    s->step.rows = s->batch.rows;
    s->step.whole = s->batch.whole;
    s->step.sample = s->batch.sample;
    for (int i = 0; i < s->n_in_ports; i++)
        if (s->ports[i].in_place && s->step.rows > 0)
            read_from(s, i, (const char *)s->ports[i].array.data + s->step.sample[0] * s->ports[i].array.strides[0]);
    s->step.lr = lr;
    s->step.iteration = fnn_model_iterations(s->model) + 1;
    for (int i = 0; i < s->n_optimizers; i++)
        s->optimizers[i].prepare(s->optimizers[i].attr, lr, s->step.iteration, s->optimizers[i].coef);
    const bool idle = s->step.rows == 0;
    go(s, threads);
    if (s->stop) {
        s->stop = 0;
        int status = report_fault(s, threads, err);
        for (int t = 0; t < threads; t++) s->faults[t].status = FNN_OK;
        s->begun = false;
        return status;
    }
    if (s->exchanges) {
        const size_t size = fnn_type_size(s->model->program.real);
        const int64_t notes = s->exchange_count - FNN_EXCHANGE_NOTES;
        s->pending = true;
        if (idle) memset(exchange_at(s, 0), 0, (size_t)notes * size);
        memset(exchange_at(s, notes), 0, FNN_EXCHANGE_NOTES * size);
        if (!idle && !isfinite(add_up(s))) {
            if (size == sizeof(double)) *(double *)(void *)exchange_at(s, notes) = 1;
            else *(float *)(void *)exchange_at(s, notes) = 1;
        }
        return FNN_OK;
    }
    s->steps_done++;
    if (training) fnn_model_set_iterations(s->model, s->step.iteration);
    if (s->mode == FNN_PREDICT) return FNN_OK;
    double loss = idle ? 0 : add_up(s);
    return training && !isfinite(loss) ? not_finite(s, loss, err) : FNN_OK;
}

/* ---- how many phases are shared ---- */

enum { TRIED_STEPS = 3 };            /* at least, of each choice */
#define TRIED_NS 100e3               /* that a choice is tried for */
#define SHORTEST_TRIED_NS 4e3        /* a step that takes less is never shared */
#define LONGEST_TRIED_NS 500e3       /* one that takes longer is shared in any case */
#define FIRST_TRIAL_MS 1.0           /* after a session's first step, when caches are warm */
#define PAUSE_MS 20.0                /* that a choice holds; twice as long each time it is confirmed */
#define LONGEST_PAUSE_MS 320.0
#define LONGEST_ALONE_MS 40.0        /* if the choice is one thread, as what holds up the others may end soon */

/* Steps still to be made by a call, and what they need. */
typedef struct { const double *lr; int64_t lr_count, done, left; int threads; fnn_error *err; } stretch;

static int next_step(fnn_session *s, stretch *run) {
    int status = one_step(s, run->lr[run->lr_count == 1 ? 0 : run->done], run->threads, run->err);
    run->done += status == FNN_OK;
    return status;
}

/* Makes up to `steps` steps, fewer once they have taken `limit` ms; *each: how many ms one took. */
static int time_steps(fnn_session *s, stretch *run, int64_t steps, double limit, double *each) {
    const double start = fnn_now_ms();
    double now = start;
    int64_t made = 0;
    int status = FNN_OK;
    while (status == FNN_OK && made < steps && run->done < run->left && now - start < limit) {
        status = next_step(s, run);
        now = fnn_now_ms();
        made++;
    }
    *each = (now - start) / (double)(made > 0 ? made : 1);
    return status;
}

/* Cores may lie near each other or far apart, and others may be at work on them: so the next steps are made on one
 * thread, then with the longer phases shared, then with the shorter ones too, and the fastest way is kept. */
static int try_sharing(fnn_session *s, stretch *run) {
    const double choices[] = {INFINITY, FNN_SHARE_NS, FNN_SHARE_LEAST_NS}, before = s->share_ns;
    const double ns = fnn_session_ns(s, s->pass.batch_size);
    const int64_t steps = TRIED_NS / ns > TRIED_STEPS ? (int64_t)(TRIED_NS / ns) : TRIED_STEPS;
    double shared = -1, fastest = INFINITY, best = before;
    int status = FNN_OK;
    for (int i = 0; i < 3 && status == FNN_OK; i++) {
        const double would_share = fnn_session_shared_ns(s, s->pass.batch_size, choices[i]);
        double each;
        if (would_share == shared) continue;
        shared = would_share;
        s->share_ns = choices[i];
        /* The first time wakes the others, and lets them find cores of their own. */
        if (i > 0) status = time_steps(s, run, steps, 2 * fastest * (double)steps, &each);
        if (status == FNN_OK) status = time_steps(s, run, steps, 2 * fastest * (double)steps, &each);
        if (run->done == run->left) each = INFINITY;
        if (status == FNN_OK && each < fastest) {
            fastest = each;
            best = choices[i];
        }
    }
    s->share_ns = best;
    const double longest = isinf(best) ? LONGEST_ALONE_MS : LONGEST_PAUSE_MS;
    s->pause_ms = best != before ? PAUSE_MS : s->pause_ms * 2 < longest ? s->pause_ms * 2 : longest;
    s->trial_ms = fnn_now_ms() + s->pause_ms;
    return status;
}

/* Others get their turn at the parameters this often, at the end of a step. */
#define TURN_MS 1.0
/* Looking at the clock costs as much as a tenth of a step of the smallest nets: many of those pass between
 * two looks. */
#define LOOK_NS 20000.0

static int run(fnn_session *s, int64_t max_steps, double max_ms, const double *lr, int64_t lr_count,
               int64_t *steps_done, fnn_error *err) {
    if (!s->begun) return fnn_fail(err, FNN_ERR_STATE, "no pass was begun");
    stretch run = {.lr = lr, .lr_count = lr_count, .left = s->steps_total - s->steps_done, .err = err};
    if (max_steps >= 0 && max_steps < run.left) run.left = max_steps;
    if (!lr || lr_count < 1 || (lr_count > 1 && lr_count < run.left && max_steps < 0))
        return fnn_fail(err, FNN_ERR_ARGUMENT, "%lld learning rates for %lld steps", (long long)lr_count,
                        (long long)run.left);
    if (lr_count > 1 && lr_count < run.left) run.left = lr_count;
    bool writes = s->mode == FNN_TRAIN;
    int status = FNN_OK;
    fnn_model_hold(s->model, writes);
    uint64_t host = fnn_fp_enter();
    const double ns = fnn_session_ns(s, s->pass.batch_size), steps = (double)run.left;
    const bool tries = s->threads > 1 && !s->exchanges && ns > SHORTEST_TRIED_NS && ns < LONGEST_TRIED_NS &&
                       ns * steps > FIRST_TRIAL_MS * 1e6 &&
                       fnn_session_shared_ns(s, s->pass.batch_size, FNN_SHARE_LEAST_NS) > 0;
    const bool pooled =
        tries || (s->threads > 1 &&
                  fnn_session_shared_ns(s, s->pass.batch_size, s->share_ns) * steps > FNN_WAKE_NS);
    run.threads = pooled ? fnn_pool_acquire(s->threads) : 1;
    double now = fnn_now_ms(), until = now + max_ms, turn = now + TURN_MS;
    if (s->trial_ms == 0) s->trial_ms = now + FIRST_TRIAL_MS;
    double looks = LOOK_NS / (ns + 1000);
    int64_t look_every = looks > 1 ? (int64_t)looks : 1, look = look_every;
    if (s->pending && run.left > 0) {
        status = finish_step(s, run.threads, err);
        run.done = status == FNN_OK;
    }
    if (s->exchanges && status == FNN_OK && run.done < run.left)
        status = one_step(s, lr[lr_count == 1 ? 0 : run.done], run.threads, err);
    while (!s->exchanges && run.done < run.left && status == FNN_OK) {
        const bool due = tries && run.threads > 1 && now >= s->trial_ms;
        status = due ? try_sharing(s, &run) : next_step(s, &run);
        if (!due && run.done < look) continue;
        look = run.done + look_every;
        now = fnn_now_ms();
        if (max_ms >= 0 && now >= until) break;
        if (now >= turn && run.done < run.left) {
            fnn_model_let_go(s->model, writes);
            fnn_model_hold(s->model, writes);
            turn = fnn_now_ms() + TURN_MS;
        }
    }
    if (pooled) fnn_pool_release(run.threads);
    fnn_fp_restore(host);
    fnn_model_let_go(s->model, writes);
    *steps_done = run.done;
    return status;
}

int fnn_run(fnn_session *s, int64_t max_steps, double max_ms, const double *lr, int64_t lr_count,
            int64_t *steps_done, int *finished, fnn_error *err) {
    int64_t done = 0;
    if (steps_done) *steps_done = 0;
    if (finished) *finished = 0;
    const int refused = enter(s, err);
    if (refused) return refused;
    int status = run(s, max_steps, max_ms, lr, lr_count, &done, &s->last);
    if (steps_done) *steps_done = done;
    if (finished) *finished = status == FNN_OK && s->steps_done == s->steps_total;
    return leave(s, status, err);
}

/* ---- training on several machines ---- */

void fnn_exchange(const fnn_session *s, void **values, int64_t *count, int *pending) {
    *values = s->exchanges ? exchange_at(s, 0) : NULL;
    *count = s->exchange_count;
    *pending = s->pending;
}

static int set_share(fnn_session *s, int64_t part, int64_t parts, fnn_error *err) {
    if (part < 0 || part >= parts || parts > INT32_MAX)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "part %lld of %lld of each batch", (long long)part, (long long)parts);
    if (parts > 1 && !s->exchanges && s->mode != FNN_EVALUATE)
        return fnn_fail(err, FNN_ERR_STATE, "a share of each batch needs a session with FNN_EXCHANGE, or of FNN_EVALUATE");
    s->part = part;
    s->parts = parts;
    s->begun = false;
    return FNN_OK;
}

int fnn_take_share(fnn_session *s, int64_t part, int64_t parts, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, set_share(s, part, parts, &s->last), err);
}

/* ---- gradients ---- */

static int copy_gradient(const fnn_session *s, int index, void *values, int64_t count, fnn_error *err) {
    const fnn_program *p = &s->model->program;
    size_t size = fnn_type_size(p->real);
    for (int i = 0; i < p->n_roots; i++) {
        if (p->roots[i].kind != ROOT_GRAD || index-- > 0) continue;
        const fnn_tensor *t = &p->tensors[p->roots[i].tensor];
        const fnn_view *v = &s->views[p->roots[i].tensor];
        if (s->mode != FNN_GRADIENTS || s->steps_done == 0)
            return fnn_fail(err, FNN_ERR_STATE, "no gradients were computed");
        int64_t needed = t->lead * t->cols * (t->batched ? s->step.rows : 1);
        if (count != needed)
            return fnn_fail(err, FNN_ERR_ARGUMENT, "%lld values for a gradient of %lld", (long long)count,
                            (long long)needed);
        if (!t->batched) {
            fnn_layout l = fnn_layout_of(s->model->kernels, t);
            fnn_layout_read(&l, size, v->p, values);
        } else {
            for (int64_t r = 0; r < s->step.rows * v->lead; r++)
                memcpy((char *)values + (size_t)(r * v->cols) * size,
                       (const char *)v->p + (size_t)(r * v->ld) * size, (size_t)v->cols * size);
        }
        return FNN_OK;
    }
    return fnn_fail(err, FNN_ERR_ARGUMENT, "the program has no such gradient");
}

int fnn_gradient(fnn_session *s, int index, void *values, int64_t count, fnn_error *err) {
    const int refused = enter(s, err);
    return refused ? refused : leave(s, copy_gradient(s, index, values, count, &s->last), err);
}

double fnn_session_ns(const fnn_session *s, int64_t rows) {
    double ns = 0;
    for (int i = 0; i < s->n_phases; i++) ns += s->phases[i].ns_row * (double)rows + s->phases[i].ns_fixed;
    return ns;
}

/* ---- prediction with nothing left to decide ---- */

/* `rows` rows between a contiguous buffer and the arena. */
static void copy_rows(const fnn_view *v, char *buffer, int64_t rows, size_t size, bool in) {
    size_t row = (size_t)v->cols * size, gap = (size_t)v->ld * size;
    if (row == gap) {
        row *= (size_t)rows;
        rows = rows > 0;
    }
    for (int64_t r = 0; r < rows; r++) {
        char *ours = (char *)v->p + (size_t)r * gap, *theirs = buffer + (size_t)r * row;
        if (in) memcpy(ours, theirs, row);
        else memcpy(theirs, ours, row);
    }
}

int fnn_predict(fnn_session *s, const void *x, void *y, int64_t n) {
    const int refused = enter(s, NULL);
    if (refused) return refused;
    const fnn_tensor *input = s->n_in_ports == 1 ? &s->model->program.tensors[s->ports[0].tensor] : NULL;
    if (s->mode != FNN_PREDICT || !input || s->n_ports != 2 || input->kind != KIND_INPUT || input->type != s->model->program.real)
        return leave(s, fnn_fail(&s->last, FNN_ERR_STATE, "fnn_predict needs a session of FNN_PREDICT, and one input and "
                                 "one output of the model's own type; use fnn_predict_many"), NULL);
    if (n < 0 || (n > 0 && (!x || !y)))
        return leave(s, fnn_fail(&s->last, FNN_ERR_ARGUMENT, "%lld rows, or no arrays", (long long)n), NULL);
    const fnn_view *in = &s->ports[0].view, *out = &s->ports[1].view;
    size_t size = fnn_type_size(s->model->program.real);
    size_t x_sample = (size_t)(in->lead * in->cols) * size, y_sample = (size_t)(out->lead * out->cols) * size;
    const bool in_place = may_read_at(&s->ports[0], x, size);
    uint64_t host = fnn_fp_enter();
    int64_t batch = n < s->max_rows ? n : s->max_rows;
    bool pooled = s->threads > 1 && n > 0 &&
                  fnn_session_shared_ns(s, batch, s->share_ns) * ((double)n / (double)batch) > FNN_WAKE_NS;
    int in_ports = s->n_in_ports, ports = s->n_ports, threads = pooled ? fnn_pool_acquire(s->threads) : 1;
    s->n_in_ports = s->n_ports = 0;   /* rows are copied here instead */
    s->next.step = -1;
    s->step.seed = s->step.epoch = 0; /* what is drawn is what fnn_predict_many draws */
    s->step.sample = s->batch.sample;
    for (int64_t at = 0; at < n; at += s->max_rows) {
        s->step.rows = s->step.whole = n - at < s->max_rows ? n - at : s->max_rows;
        for (int64_t r = 0; r < s->step.rows; r++) s->batch.sample[r] = at + r;
        char *rows = (char *)(uintptr_t)x + (size_t)at * x_sample;
        if (in_place) read_from(s, 0, rows);
        else copy_rows(in, rows, s->step.rows * in->lead, size, true);
        if (threads > 1 && fnn_session_shared_ns(s, s->step.rows, s->share_ns) > 0) fnn_pool_run(threads, walk, s);
        else walk(s, 0, 1);
        copy_rows(out, (char *)y + (size_t)at * y_sample, s->step.rows * out->lead, size, false);
    }
    s->n_in_ports = in_ports;
    s->n_ports = ports;
    s->step.seed = s->pass.seed;
    s->step.epoch = s->pass.epoch;
    read_from(s, 0, NULL);
    if (pooled) fnn_pool_release(threads);
    fnn_fp_restore(host);
    return leave(s, FNN_OK, NULL);
}

/* ---- whole arrays in one call ---- */

/* A contiguous array of n rows, of the tensor's own type. */
static fnn_array rows_of(const fnn_tensor *t, const void *data, int64_t n) {
    fnn_array a = {.data = (void *)(uintptr_t)data, .dtype = fnn_type_dtype(t->type), .ndim = t->ndim};
    int64_t stride = (int64_t)fnn_type_size(t->type);
    for (int i = t->ndim - 1; i >= 0; i--) {
        a.shape[i] = i == 0 ? n : t->dim[i];
        a.strides[i] = stride;
        stride *= a.shape[i];
    }
    return a;
}

/* Binds `arrays` to the inputs, then the targets where there are any for this mode. */
static int bind_rows(fnn_session *s, const void *const *arrays, int64_t n, fnn_error *err) {
    const fnn_program *p = &s->model->program;
    if (!arrays) return fnn_fail(err, FNN_ERR_ARGUMENT, "no arrays");
    for (int kind = KIND_INPUT; kind <= (s->mode == FNN_PREDICT ? KIND_INPUT : KIND_TARGET); kind++)
        for (int i = 0; i < p->n_tensors; i++) {
            if (p->tensors[i].kind != (fnn_tensor_kind)kind) continue;
            if (!*arrays)
                return fnn_fail_at(err, FNN_ERR_ARGUMENT, i, -1, 0, "no array for '%.100s'", p->tensors[i].name);
            const fnn_array a = rows_of(&p->tensors[i], *arrays++, n);
            int status = bind_port(s, i, &a, err);
            if (status != FNN_OK) return status;
        }
    return FNN_OK;
}

static void unbind_all(fnn_session *s) {
    for (int k = 0; k < s->n_ports; k++) s->ports[k].bound = false;
    s->begun = false;
}

static int predict_many(fnn_session *s, const void *const *inputs, void *const *outputs, int64_t n, fnn_error *err) {
    const fnn_program *p = &s->model->program;
    if (s->mode != FNN_PREDICT) return fnn_fail(err, FNN_ERR_STATE, "predictions need a session of FNN_PREDICT");
    if (n == 0) return FNN_OK;
    if (!outputs) return fnn_fail(err, FNN_ERR_ARGUMENT, "no arrays for the outputs");
    int status = bind_rows(s, inputs, n, err);
    for (int i = 0; status == FNN_OK && i < p->n_roots; i++) {
        if (p->roots[i].kind != ROOT_OUTPUT) continue;
        const fnn_array a = rows_of(&p->tensors[p->roots[i].tensor], *outputs, n);
        if (*outputs++) status = bind_port(s, p->roots[i].tensor, &a, err);
    }
    const fnn_pass pass = {.n = n, .batch_size = n < s->max_rows ? n : s->max_rows};
    if (status == FNN_OK) status = begin(s, &pass, err);
    s->asked = INT64_MAX;            /* nothing is asked of the system */
    if (status != FNN_OK) return status;
    uint64_t host = fnn_fp_enter();
    const bool pooled =
        s->threads > 1 && fnn_session_shared_ns(s, pass.batch_size, s->share_ns) * (double)s->steps_total > FNN_WAKE_NS;
    const int threads = pooled ? fnn_pool_acquire(s->threads) : 1;
    while (status == FNN_OK && s->steps_done < s->steps_total) status = one_step(s, 0, threads, err);
    if (pooled) fnn_pool_release(threads);
    fnn_fp_restore(host);
    return status;
}

int fnn_predict_many(fnn_session *s, const void *const *inputs, void *const *outputs, int64_t n, fnn_error *err) {
    const int refused = enter(s, err);
    if (refused) return refused;
    int status = predict_many(s, inputs, outputs, n, &s->last);
    unbind_all(s);
    return leave(s, status, err);
}

/* One pass of training over n rows; *loss: their mean, all losses by their weights and the penalties. */
static int train(fnn_session *s, const void *const *arrays, const fnn_pass *pass, double lr, double *loss, fnn_error *err) {
    if (s->mode != FNN_TRAIN) return fnn_fail(err, FNN_ERR_STATE, "training needs a session of FNN_TRAIN");
    if (!(lr >= 0 && isfinite(lr)))
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a learning rate of %g: at least 0, such as fnn_model_learning_rate gives", lr);
    if (s->n_optimizers == 0) return fnn_fail(err, FNN_ERR_STATE, "the file's optimizer changes no parameter by steps");
    int status = bind_rows(s, arrays, pass->n, err);
    if (status == FNN_OK) status = begin(s, pass, err);
    if (status == FNN_OK) status = fnn_model_snapshot(s->model, err);
    if (status != FNN_OK) return status;
    int64_t done;
    status = run(s, -1, -1, &lr, 1, &done, err);
    fnn_model_end_snapshot(s->model, status == FNN_ERR_NONFINITE);
    if (status != FNN_OK || !loss) return status;
    const fnn_program *p = &s->model->program;
    *loss = 0;
    for (int i = 0; i < p->n_roots; i++)
        if (p->roots[i].kind == ROOT_LOSS || p->roots[i].kind == ROOT_PENALTY)
            *loss += (p->roots[i].kind == ROOT_LOSS ? p->roots[i].factor : 1) * s->sums[2 * i] / s->sums[2 * i + 1];
    return status;
}

static int train_whole(fnn_session *s, const void *const *arrays, const fnn_pass *pass, double lr, double *loss,
                       fnn_error *err) {
    const int refused = enter(s, err);
    if (refused) return refused;
    int status = train(s, arrays, pass, lr, loss, &s->last);
    unbind_all(s);
    return leave(s, status, err);
}

int fnn_train_batch(fnn_session *s, const void *const *arrays, int64_t n, double learning_rate, double *loss,
                    fnn_error *err) {
    const fnn_pass pass = {.n = n, .batch_size = n, .check_finite = 1, .seed = s ? fnn_file_batch_seed(s->model->file) : 0,
                           .epoch = s ? (uint64_t)fnn_model_iterations(s->model) : 0};
    return train_whole(s, arrays, &pass, learning_rate, loss, err);
}

int fnn_train_epoch(fnn_session *s, const void *const *arrays, int64_t n, uint64_t seed, uint64_t epoch,
                    double learning_rate, double *loss, fnn_error *err) {
    const fnn_pass pass = {.n = n, .batch_size = s && n > s->max_rows ? s->max_rows : n, .shuffle = 1, .check_finite = 1,
                           .seed = seed, .epoch = epoch};
    return train_whole(s, arrays, &pass, learning_rate, loss, err);
}
