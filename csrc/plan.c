/* Plans: from a program and a mode to a list of stages in phases, with all memory placed. All allocation
 * happens here.
 *
 *   1. keep the nodes that the mode's roots need
 *   2. fuse: product + bias + relu; kernel gradient + penalty + update
 *   3. give every stage a phase: inside one, a thread needs only its own rows (or part of a parameter)
 *   4. place the tensors: in place where a kernel may, or in the memory of a dead tensor of the same size
 *   5. turn nodes into stages with pointers, ranges and an estimate of their cost
 */
#include "internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_READ = -1, BEFORE_ALL = -1, TO_THE_END = INT_MAX };
enum { LOOK_BACK = 256 }; /* entries of a list that are searched, so that planning takes linear time */

/* What a tensor's memory must do; tensors that are one and the same memory share a place. */
typedef struct {
    bool batched;
    int64_t stride;                  /* elements a sample, or in all */
    int last_use;                    /* position in the order of execution */
    int last_other_phase;            /* last phase in which threads read it across rows, -1: none */
    size_t offset;
    bool placed;
} place;

typedef struct {
    fnn_session *s;
    const fnn_program *p;
    bool *needed;                    /* by node */
    int *readers;                    /* by tensor: needed nodes and roots that read it */
    int *only_reader;                /* by tensor: the last such node */
    int *fused_into; /* by node: the first node of the stage that does its work, often itself */
    int *last_node;                  /* by first node: the last one of the stage */
    int *phase;                      /* by first node */
    int *order, n_order;             /* first nodes, in the order of execution */
    int *next_in_phase;              /* by phase, while the order is made */
    int *place_of;                   /* by tensor, -1: none */
    int64_t *ld;                     /* by tensor */
    place *places;
    int n_places;
    int *position;                   /* by first node: in order */
    int *last_read;                  /* by tensor: position in order */
    int *last_other;                 /* by tensor */
    size_t bytes;                    /* end of the last buffer */
    fnn_zone *zones;
    int n_zones;
} planner;

static const fnn_op_info *info_of(const fnn_node *n) { return &fnn_ops[n->op]; }

/* ---- 1. which nodes ---- */

static bool root_wanted(const fnn_session *s, const fnn_root *r) {
    switch (r->kind) {
    case ROOT_OUTPUT: return s->mode == FNN_PREDICT;
    case ROOT_METRIC: case ROOT_PENALTY: return s->mode == FNN_EVALUATE || s->mode == FNN_TRAIN;
    case ROOT_GRAD: return s->mode == FNN_GRADIENTS;
    default: return s->mode != FNN_PREDICT;
    }
}

static void mark_needed(planner *w) {
    const fnn_program *p = w->p;
    bool *wanted = w->needed + p->n_nodes;   /* by tensor, behind the nodes */
    for (int i = 0; i < p->n_roots; i++)
        if (root_wanted(w->s, &p->roots[i])) {
            wanted[p->roots[i].tensor] = true;
            w->readers[p->roots[i].tensor] += 2;   /* a root is never fused away */
        }
    for (int i = p->n_nodes - 1; i >= 0; i--) {
        const fnn_node *n = &p->nodes[i];
        w->needed[i] = info_of(n)->rule == RULE_UPDATE && w->s->mode == FNN_TRAIN;
        for (int o = 0; o < n->n_out; o++) w->needed[i] |= wanted[n->out[o]];
        for (int k = 0; w->needed[i] && k < n->n_in; k++) {
            wanted[n->in[k]] = true;
            w->readers[n->in[k]]++;
            w->only_reader[n->in[k]] = i;
        }
    }
}

/* ---- 2. fusion ---- */

/* The one needed node that reads the node's first output, if it is the only reader and reads it as input
 * `at`. */
static int sole_reader(const planner *w, int node, int at) {
    int t = w->p->nodes[node].out[0], reader = w->only_reader[t];
    if (w->readers[t] != 1 || w->p->nodes[reader].in[at] != t) return -1;
    return reader;
}

static void absorb(planner *w, int node, int next) {
    w->fused_into[next] = node;
    w->last_node[node] = next;
}

static void fuse(planner *w) {
    const fnn_node *nodes = w->p->nodes;
    for (int i = 0; i < w->p->n_nodes; i++) w->fused_into[i] = w->last_node[i] = i;
    for (int i = 0; i < w->p->n_nodes; i++) {
        if (!w->needed[i]) continue;
        int op = nodes[i].op, next;
        if (op == OP_matmul && (next = sole_reader(w, i, 0)) >= 0 && nodes[next].op == OP_bias_add) {
            absorb(w, i, next);
            int relu = sole_reader(w, next, 0);
            if (relu >= 0 && nodes[relu].op == OP_relu) absorb(w, i, relu);
        } else if (op == OP_matmul_tn) {
            int at = i;
            next = sole_reader(w, at, 0);
            if (next >= 0 && nodes[next].op == OP_penalty_grad) at = next;
            int update = sole_reader(w, at, 1);
            if (update < 0 || info_of(&nodes[update])->rule != RULE_UPDATE) continue;
            if (at != i && nodes[at].in[1] != nodes[update].in[0]) continue; /* another parameter's penalty */
            if (at != i) absorb(w, i, at);
            absorb(w, i, update);
        }
    }
}

/* The nodes of the stage that begins with `first`, in order: each but the last has the next as its only
 * reader. */
#define FOR_MEMBERS(w, first, m) \
    for (int m = (first), end_ = (w)->last_node[m]; m >= 0; \
         m = m == end_ ? -1 : (w)->only_reader[(w)->p->nodes[m].out[0]])

/* ---- 3. phases ---- */

static fnn_share share_of(const planner *w, const fnn_node *n) {
    if (info_of(n)->rule == RULE_SCALAR) return SHARE_ONE;
    if (n->op == OP_matmul_tn) return SHARE_TILES;
    if (n->n_out == 0 || !w->p->tensors[n->out[0]].batched) return SHARE_ELEMENTS;
    return SHARE_ROWS;
}

static const fnn_tensor *worked_on(const planner *w, const fnn_node *n) {
    return &w->p->tensors[n->n_out ? n->out[0] : n->in[0]];
}

static int max_int(int a, int b) { return a > b ? a : b; }

static bool same_extent(const fnn_tensor *a, const fnn_tensor *b) {
    return a->ndim == b->ndim && memcmp(a->dim, b->dim, sizeof(int64_t) * (size_t)a->ndim) == 0;
}

/* Does a thread that has done its share of `before` have all that its share of `after` reads? */
static bool own_share(const planner *w, const fnn_node *before, const fnn_node *after) {
    fnn_share a = share_of(w, before), b = share_of(w, after);
    if (a == SHARE_ONE || b == SHARE_ONE) return false;
    if (a == SHARE_ROWS || b == SHARE_ROWS) return a == b;
    return same_extent(worked_on(w, before), worked_on(w, after));
}

/* The earliest phase of a stage, given those of the stages before; `writable` is the first phase, by tensor,
 * in which a parameter may be updated: every thread that reads more of it than its own share has done so. */
static int earliest_phase(const planner *w, int first, const int *writable) {
    const fnn_program *p = w->p;
    int phase = 0;
    FOR_MEMBERS(w, first, m) {
        const fnn_node *n = &p->nodes[m];
        for (int k = 0; k < n->n_in; k++) {
            int from = p->tensors[n->in[k]].producer;
            if (from >= 0 && w->fused_into[from] != first)
                phase = max_int(phase, w->phase[w->fused_into[from]] + !own_share(w, &p->nodes[from], n));
            /* Each thread brings in its own rows, in phase 0. */
            if (from < 0 && p->tensors[n->in[k]].batched && share_of(w, n) != SHARE_ROWS)
                phase = max_int(phase, 1);
        }
        if (info_of(n)->rule == RULE_UPDATE) phase = max_int(phase, writable[n->in[0]]);
    }
    return phase;
}

static void assign_phases(planner *w) {
    const fnn_program *p = w->p;
    int *writable = w->last_other;   /* by tensor, for now */
    /* Never in phase 0, where bad data are found: a step that fails has changed nothing. */
    for (int i = 0; i < p->n_tensors; i++) writable[i] = 1;
    int *next = w->next_in_phase, last = 0;
    /* A stage stands where its last node stands: what reads a parameter before that node reads it before the
     * update. */
    for (int i = 0; i < p->n_nodes; i++) {
        int first = w->fused_into[i];
        if (!w->needed[i] || w->last_node[first] != i) continue;
        int phase = w->phase[first] = earliest_phase(w, first, writable);
        FOR_MEMBERS(w, first, m) {
            const fnn_node *n = &p->nodes[m];
            for (int k = 0; k < n->n_in; k++) {
                const fnn_tensor *t = &p->tensors[n->in[k]];
                bool own = share_of(w, n) == SHARE_ELEMENTS && same_extent(worked_on(w, n), t);
                if (t->kind == KIND_PARAM) writable[n->in[k]] = max_int(writable[n->in[k]], phase + !own);
            }
        }
        last = max_int(last, phase);
        next[phase + 1]++;
        w->n_order++;
    }
    for (int phase = 0; phase < last; phase++) next[phase + 1] += next[phase];
    for (int i = 0; i < p->n_nodes; i++) {
        int first = w->fused_into[i];
        if (w->needed[i] && w->last_node[first] == i) w->order[next[w->phase[first]]++] = first;
    }
}

/* ---- 4. memory ---- */

/* The tensor that a stage writes in the place of its first node's i-th output. */
static int final_output(const planner *w, int first, int i) {
    const fnn_node *last = &w->p->nodes[w->last_node[first]];
    return i == 0 && last->n_out ? last->out[0] : w->p->nodes[first].out[i];
}

static bool updates_in_passing(const planner *w, int first) {
    return w->last_node[first] != first && info_of(&w->p->nodes[w->last_node[first]])->rule == RULE_UPDATE;
}

/* Per-row tensors are read by flat index, and a reshape is free only between contiguous ones. */
static bool must_be_contiguous(const fnn_program *p, int tensor, const bool *flat) {
    const fnn_tensor *t = &p->tensors[tensor];
    return !t->batched || t->ndim != 2 || t->type == TYPE_I32 || flat[tensor];
}

static void choose_strides(planner *w) {
    const fnn_program *p = w->p;
    bool *flat = w->needed + p->n_nodes;     /* by tensor; the marks of step 1 are no longer needed */
    memset(flat, 0, sizeof(bool) * (size_t)p->n_tensors);
    for (int i = 0; i < p->n_nodes; i++) {
        const fnn_node *n = &p->nodes[i];
        fnn_rule rule = info_of(n)->rule;
        bool reshape = rule == RULE_RESHAPE;
        if (reshape || rule == RULE_LOSS || rule == RULE_LOSS_IDX || rule == RULE_SEED)
            flat[n->out[0]] = true;
        if (reshape || rule == RULE_LOSS_GRAD || rule == RULE_LOSS_IDX_GRAD || rule == RULE_SEED)
            flat[n->in[0]] = true;
    }
    for (int i = 0; i < p->n_roots; i++)
        if (p->roots[i].kind == ROOT_LOSS || p->roots[i].kind == ROOT_METRIC) flat[p->roots[i].tensor] = true;
    int64_t size = (int64_t)fnn_real_size(p->real);
    for (int i = 0; i < p->n_tensors; i++) {
        w->ld[i] = p->tensors[i].cols;
        /* Rows a multiple of 512 bytes apart would fall into few cache sets. */
        if (!must_be_contiguous(p, i, flat) && w->ld[i] * size >= 1024 && w->ld[i] * size % 512 == 0)
            w->ld[i] += FNN_ALIGN / size;
    }
}

/* A buffer behind a zone of sentinels that begins at the very end of the buffer before. */
static bool add_bytes(planner *w, int64_t elements, size_t size, size_t *offset) {
    int64_t bytes, end;
    if (!fnn_mul(elements, (int64_t)size, &bytes) || !fnn_add(bytes, FNN_ZONE + FNN_ALIGN, &end) ||
        !fnn_add((int64_t)w->bytes, end, &end) || (uint64_t)end > SIZE_MAX / 4)
        return false;
    *offset = (w->bytes + FNN_ZONE + FNN_ALIGN - 1) / FNN_ALIGN * FNN_ALIGN;
    w->zones[w->n_zones++] = (fnn_zone){w->bytes, *offset};
    w->bytes = *offset + (size_t)bytes;
    return true;
}

static bool new_place(planner *w, int tensor) {
    const fnn_tensor *t = &w->p->tensors[tensor];
    place *at = &w->places[w->n_places];
    int64_t elements;
    at->batched = t->batched;
    at->last_other_phase = -1;
    if (t->batched) {
        if (!fnn_mul(t->lead, w->ld[tensor], &at->stride) || !fnn_mul(at->stride, w->s->max_rows, &elements))
            return false;
    } else {
        fnn_layout l = fnn_layout_of(w->s->model->kernels, t->ndim, t->dim);
        at->stride = elements = l.size;
    }
    if (elements > FNN_MAX_ELEMENTS) return false;
    size_t size = t->type == TYPE_I32 ? sizeof(int32_t) : fnn_real_size(t->type);
    if (!add_bytes(w, elements, size, &at->offset)) return false;
    w->place_of[tensor] = w->n_places++;
    return true;
}

static void settle(planner *w, int tensor, int position) {
    place *at = &w->places[w->place_of[tensor]];
    at->last_use = max_int(at->last_use, max_int(w->last_read[tensor], position));
    at->last_other_phase = max_int(at->last_other_phase, w->last_other[tensor]);
}

/* May a stage of `phase` at `position` take this memory over? Every thread must be done with its rows. */
static bool is_free(const place *at, int position, int phase, bool in_place) {
    return (in_place ? at->last_use <= position : at->last_use < position) && at->last_other_phase < phase;
}

static bool may_work_in_place(int op) {
    const fnn_rule rule = fnn_ops[op].rule;
    return rule == RULE_BIAS || rule == RULE_MAP || (rule == RULE_SAME && op != OP_softmax_grad && op != OP_log_softmax_grad);
}

static bool place_output(planner *w, int position, int tensor) {
    int node = w->order[position];
    const fnn_node *n = &w->p->nodes[node];
    const fnn_tensor *t = &w->p->tensors[tensor];
    bool real = t->batched && t->type != TYPE_I32;
    if (real && may_work_in_place(n->op)) {
        int from = w->place_of[n->in[0]];
        const fnn_tensor *source = &w->p->tensors[n->in[0]];
        if (from >= 0 && source->kind == KIND_TEMP && w->ld[n->in[0]] == w->ld[tensor] &&
            is_free(&w->places[from], position, w->phase[node], true)) {
            w->place_of[tensor] = from;
            return true;
        }
    }
    for (int i = w->n_places - 1, seen = 0; real && i >= 0 && seen < LOOK_BACK; i--, seen++) {
        place *at = &w->places[i];
        if (at->batched && at->stride == t->lead * w->ld[tensor] && at->placed &&
            is_free(at, position, w->phase[node], false)) {
            w->place_of[tensor] = i;
            return true;
        }
    }
    if (!new_place(w, tensor)) return false;
    w->places[w->n_places - 1].placed = real;
    return true;
}

/* Outside training dropout is the identity, and a reshape of contiguous memory moves nothing: no stage, one
 * place. */
static bool is_free_of_work(const planner *w, const fnn_node *n) {
    const int64_t in = w->ld[n->in[0]], out = n->n_out ? w->ld[n->out[0]] : 0;
    if (n->op == OP_dropout) return !w->s->training && in == out;
    return n->op == OP_reshape && in == w->p->tensors[n->in[0]].cols && out == w->p->tensors[n->out[0]].cols;
}

static void find_last_reads(planner *w) {
    const fnn_program *p = w->p;
    for (int i = 0; i < p->n_tensors; i++) w->last_read[i] = w->last_other[i] = NOT_READ;
    for (int at = 0; at < w->n_order; at++) w->position[w->order[at]] = at;
    for (int i = 0; i < p->n_nodes; i++) {
        if (!w->needed[i]) continue;
        const fnn_node *n = &p->nodes[i];
        int stage = w->fused_into[i];
        for (int k = 0; k < n->n_in; k++) {
            w->last_read[n->in[k]] = max_int(w->last_read[n->in[k]], w->position[stage]);
            if (share_of(w, n) != SHARE_ROWS)
                w->last_other[n->in[k]] = max_int(w->last_other[n->in[k]], w->phase[stage]);
        }
    }
    for (int i = 0; i < p->n_roots; i++)
        if (root_wanted(w->s, &p->roots[i])) {
            w->last_read[p->roots[i].tensor] = TO_THE_END;
            if (p->roots[i].other >= 0) w->last_read[p->roots[i].other] = TO_THE_END;
        }
    /* A tensor that is only another name for its source keeps the source alive. */
    for (int at = w->n_order - 1; at >= 0; at--) {
        const fnn_node *n = &p->nodes[w->order[at]];
        if (!is_free_of_work(w, n)) continue;
        w->last_read[n->in[0]] = max_int(w->last_read[n->in[0]], w->last_read[n->out[0]]);
        w->last_other[n->in[0]] = max_int(w->last_other[n->in[0]], w->last_other[n->out[0]]);
    }
}

static bool place_all(planner *w) {
    const fnn_program *p = w->p;
    for (int i = 0; i < p->n_tensors; i++) w->place_of[i] = -1;
    for (int i = 0; i < w->s->n_ports; i++) {
        int t = w->s->ports[i].tensor;
        if (p->tensors[t].kind == KIND_TEMP || w->place_of[t] >= 0) continue;
        if (!new_place(w, t)) return false;
        settle(w, t, BEFORE_ALL);
    }
    for (int at = 0; at < w->n_order; at++) {
        const fnn_node *n = &p->nodes[w->order[at]];
        for (int o = 0; o < n->n_out; o++) {
            int t = final_output(w, w->order[at], o);
            if (o == 0 && updates_in_passing(w, w->order[at])) continue;
            if (is_free_of_work(w, n)) w->place_of[t] = w->place_of[n->in[0]];
            else if (!place_output(w, at, t)) return false;
            settle(w, t, at);
        }
    }
    return true;
}

/* ---- 5. stages ---- */

/* Rough nanoseconds on one core, measured with AVX2 on Zen 3: they only decide whether a second thread is
 * worth waking. */
#define NS_FLOP (1.0 / 80)           /* of a product in float32 */
#define NS_PRODUCT_ROW 3             /* a row of a product, beside its flops */
#define NS_GATHERED 0.3              /* an element of the caller's arrays */
#define NS_GATHERED_ROW 10

static double ns_element(int op) {
    switch (fnn_ops[op].rule) {
    case RULE_LOSS: case RULE_LOSS_IDX: return 2;
    case RULE_SEED: return 4;
    case RULE_SUM_ROWS: return 0.05;
    case RULE_BIAS: case RULE_CONCAT: case RULE_SLICE: case RULE_RESHAPE: return 0.2;
    case RULE_UPDATE: return 0.5;
    default: break;
    }
    switch (op) {
    case OP_gelu: case OP_gelu_grad: return 3;
    case OP_step: case OP_step_grad: case OP_sigmoid_grad: case OP_hard_sigmoid: case OP_hard_sigmoid_grad:
    case OP_tanh_grad: case OP_relu: case OP_relu_grad: case OP_leaky_relu: case OP_leaky_relu_grad:
    case OP_selu_grad: case OP_softsign:
    case OP_softsign_grad: case OP_add: case OP_multiply: return 0.2;
    default: return 1;
    }
}

static void estimate(const planner *w, const fnn_node *n, fnn_stage *stage) {
    const fnn_tensor *a = &w->p->tensors[n->in[0]], *out = worked_on(w, n);
    double wide = w->p->real == TYPE_F64 ? 2 : 1, lead = (double)a->lead,
           work = (double)out->lead * (double)out->cols;
    double element = wide * ns_element(n->op);
    switch (fnn_ops[n->op].rule) {
    case RULE_MATMUL: case RULE_MATMUL_NT:
        stage->ns_row += lead * (NS_PRODUCT_ROW + 2 * wide * (double)a->cols * (double)out->cols * NS_FLOP);
        break;
    case RULE_MATMUL_TN: stage->ns_row += lead * (NS_PRODUCT_ROW + 2 * wide * work * NS_FLOP); break;
    case RULE_SUM_ROWS: stage->ns_row += lead * work * element; break;
    case RULE_LOSS: case RULE_LOSS_IDX: stage->ns_row += lead * (double)a->cols * element; break;
    default:
        if (out->batched) stage->ns_row += work * element;
        else stage->ns_fixed += work * element;
    }
}

static fnn_view view_of(const planner *w, int tensor) {
    const fnn_tensor *t = &w->p->tensors[tensor];
    fnn_view v = {.ld = w->ld[tensor], .cols = t->cols, .lead = t->lead};
    if (t->kind == KIND_PARAM) v.p = w->s->model->params[tensor]->w;
    else if (w->place_of[tensor] >= 0) v.p = w->s->arena + w->places[w->place_of[tensor]].offset;
    if (!t->batched)
        v = (fnn_view){v.p, 1, 1, 1}; /* parameters are seen as one column, in whatever layout they have */
    return v;
}

static int64_t extent(const fnn_tensor *t, int from, int to) {
    int64_t size = 1;
    for (int i = from; i < to; i++) size *= t->dim[i];
    return size;
}

static int64_t rows_a_sample(const planner *w, const fnn_node *n) {
    const fnn_tensor *out = worked_on(w, n);
    switch (fnn_ops[n->op].rule) {
    case RULE_CONCAT: case RULE_SLICE: case RULE_RESHAPE: return 1;
    case RULE_LOSS: case RULE_LOSS_IDX: return w->p->tensors[n->in[0]].lead;
    default: return out->lead;
    }
}

static double *optimizer_coefficients(fnn_session *s, const fnn_node *n) {
    fnn_prepare prepare = s->model->kernels->prepare[n->op];
    for (int i = s->n_optimizers - 1, seen = 0; i >= 0 && seen < LOOK_BACK; i--, seen++)
        if (s->optimizers[i].prepare == prepare &&
            memcmp(s->optimizers[i].attr, n->attr, sizeof n->attr) == 0)
            return s->optimizers[i].coef;
    int i = s->n_optimizers++;
    s->optimizers[i].prepare = prepare;
    memcpy(s->optimizers[i].attr, n->attr, sizeof n->attr);
    return s->optimizers[i].coef;
}

static void set_update(fnn_session *s, fnn_task *t, const fnn_node *n) {
    int param = n->in[0];
    t->update = s->model->kernels->update[n->op];
    t->coef = optimizer_coefficients(s, n);
    t->w = s->model->params[param]->w;
    for (int i = 0; i < fnn_op_slots(n->op, n->attr); i++)
        t->slot[i] = s->model->slots[param * FNN_MAX_SLOTS + i];
}

static void make_stage(planner *w, int first, fnn_stage *stage) {
    fnn_session *s = w->s;
    const fnn_program *p = w->p;
    const fnn_node *n = &p->nodes[first];
    fnn_task *t = &stage->task;
    stage->share = share_of(w, n);
    stage->unit = rows_a_sample(w, n);
    stage->phase = w->phase[first];
    t->run = s->model->kernels->run[n->op];
    t->op = n->op;
    t->n_in = n->n_in;
    t->step = &s->step;
    memcpy(t->attr, n->attr, sizeof t->attr);
    if (n->op == OP_dropout && !s->training) t->attr[0] = 0;   /* a copy */
    for (int i = 0; i < n->n_in; i++) t->in[i] = view_of(w, n->in[i]);
    for (int o = 0; o < n->n_out; o++) t->out[o] = view_of(w, final_output(w, first, o));

    const fnn_tensor *shaped = stage->share == SHARE_ROWS ? NULL : worked_on(w, n);
    if (n->op == OP_matmul || n->op == OP_matmul_nt) shaped = &p->tensors[n->in[1]];
    if (fnn_ops[n->op].rule == RULE_SCALAR) shaped = &p->tensors[n->in[0]];
    if (shaped) t->layout = fnn_layout_of(s->model->kernels, shaped->ndim, shaped->dim);

    FOR_MEMBERS(w, first, m) {
        const fnn_node *member = &p->nodes[m];
        estimate(w, member, stage);
        if (fnn_ops[member->op].rule == RULE_UPDATE) set_update(s, t, member);
        if (m == first) continue;
        if (member->op == OP_bias_add) t->bias = view_of(w, member->in[1]).p;
        if (member->op == OP_relu) t->relu = true;
        if (member->op == OP_penalty_grad) { t->l1 = member->attr[0]; t->l2 = member->attr[1]; }
    }
    if (n->op == OP_concat || n->op == OP_slice) {
        int axis = (int)n->attr[0];
        const fnn_tensor *out = &p->tensors[n->out[0]], *in = &p->tensors[n->in[0]];
        t->outer = extent(out, 1, axis);
        int64_t inside = extent(out, axis + 1, out->ndim);
        for (int i = 0; n->op == OP_concat && i < n->n_in; i++)
            t->inner[i] = p->tensors[n->in[i]].dim[axis] * inside;
        if (n->op == OP_slice) {
            t->inner[0] = in->dim[axis] * inside;
            t->inner[1] = (int64_t)n->attr[1] * inside;
            t->inner[2] = out->dim[axis] * inside;
        }
    }
}

/* Phase 0 is always there, be it empty: rows are gathered in it. */
static void make_phases(fnn_session *s) {
    int last = 0;
    s->n_phases = 1;
    for (int i = 0; i < s->n_in_ports; i++) {
        const fnn_view *v = &s->views[s->ports[i].tensor];
        s->phases[0].ns_row += NS_GATHERED_ROW + NS_GATHERED * (double)v->lead * (double)v->cols;
    }
    for (int i = 0; i < s->n_stages; i++) {
        fnn_stage *stage = &s->stages[i];
        if (stage->phase != last) {
            s->phases[s->n_phases++] = (fnn_phase){.first = i};
            last = stage->phase;
        }
        fnn_phase *phase = &s->phases[s->n_phases - 1];
        phase->last = i + 1;
        phase->ns_row += stage->ns_row;
        phase->ns_fixed += stage->ns_fixed;
    }
}

/* ---- sessions ---- */

static void find_ports(planner *w) {
    fnn_session *s = w->s;
    const fnn_program *p = w->p;
    bool *wanted = w->needed + p->n_nodes;
    for (int i = 0; i < p->n_roots; i++)
        if (root_wanted(s, &p->roots[i]) && p->roots[i].other >= 0 && p->roots[i].kind != ROOT_GRAD)
            wanted[p->roots[i].other] = true;
    for (int i = 0; i < p->n_tensors; i++)
        if (wanted[i] && p->tensors[i].kind != KIND_TEMP && p->tensors[i].kind != KIND_PARAM)
            s->ports[s->n_ports++] = (fnn_port){.tensor = i};
    s->n_in_ports = s->n_ports;
    for (int i = 0; i < p->n_roots && s->mode == FNN_PREDICT; i++)
        if (p->roots[i].kind == ROOT_OUTPUT)
            s->ports[s->n_ports++] = (fnn_port){.tensor = p->roots[i].tensor};
    /* Class indices are checked as they come in: the kernels trust them. */
    for (int k = 0; k < s->n_in_ports; k++) {
        fnn_port *port = &s->ports[k];
        bool classes = p->tensors[port->tensor].type == TYPE_I32;
        port->lowest = classes ? 0 : INT32_MIN;
        port->highest = INT32_MAX;
        w->place_of[port->tensor] = k;
    }
    for (int i = 0; i < p->n_nodes; i++) {
        const fnn_node *n = &p->nodes[i];
        bool loss = info_of(n)->rule == RULE_LOSS_IDX;
        if (!w->needed[i] || !(loss || info_of(n)->rule == RULE_LOSS_IDX_GRAD)) continue;
        fnn_port *port = &s->ports[w->place_of[n->in[loss ? 1 : 2]]];
        int64_t classes = p->tensors[n->in[loss ? 0 : 1]].cols;
        if (classes - 1 < port->highest) port->highest = classes - 1;
    }
}

static void *carve(char **at, size_t bytes) {
    void *p = *at;
    *at += (bytes + 15) / 16 * 16;
    return p;
}

static int plan_into(planner *w) {
    fnn_session *s = w->s;
    const fnn_program *p = w->p;
    size_t nodes = (size_t)p->n_nodes, tensors = (size_t)p->n_tensors;
    /* The planner's own arrays, in one piece: bounded by the limits on nodes and tensors. */
    size_t each = sizeof(bool) + 12 * sizeof(int) + sizeof(int64_t) + sizeof(fnn_zone) + sizeof(place);
    size_t bytes = (nodes + tensors) * each + 64 * 16;
    char *all = calloc(1, bytes), *at = all;
    if (!all) return FNN_ERR_MEMORY;
    w->needed = carve(&at, (nodes + tensors) * sizeof(bool));
    w->phase = carve(&at, nodes * sizeof(int));
    w->fused_into = carve(&at, nodes * sizeof(int));
    w->order = carve(&at, nodes * sizeof(int));
    w->position = carve(&at, nodes * sizeof(int));
    w->last_node = carve(&at, nodes * sizeof(int));
    w->next_in_phase = carve(&at, (nodes + 2) * sizeof(int));
    w->readers = carve(&at, tensors * sizeof(int));
    w->only_reader = carve(&at, tensors * sizeof(int));
    w->place_of = carve(&at, tensors * sizeof(int));
    w->last_read = carve(&at, tensors * sizeof(int));
    w->last_other = carve(&at, tensors * sizeof(int));
    w->ld = carve(&at, tensors * sizeof(int64_t));
    w->zones = carve(&at, (tensors + 1) * sizeof(fnn_zone));
    w->places = carve(&at, tensors * sizeof(place));

    s->ports = calloc(tensors + (size_t)p->n_roots + 1, sizeof *s->ports);
    s->views = calloc(tensors + 1, sizeof *s->views);
    s->sums = calloc(2 * (size_t)p->n_roots + 1, sizeof *s->sums);
    s->sample = calloc((size_t)s->max_rows, sizeof *s->sample);
    s->step.sample = s->sample;
    int status = s->ports && s->views && s->sums && s->sample ? FNN_OK : FNN_ERR_MEMORY;
    if (status == FNN_OK) {
        mark_needed(w);
        fuse(w);
        assign_phases(w);
        find_ports(w);
        choose_strides(w);
        find_last_reads(w);
        if (!place_all(w)) status = FNN_ERR_LIMIT;
        s->arena_bytes = w->bytes + FNN_ZONE;
        w->zones[w->n_zones++] = (fnn_zone){w->bytes, s->arena_bytes};
    }
    if (status == FNN_OK) {
        s->arena = fnn_alloc(s->arena_bytes);
        s->stages = calloc((size_t)w->n_order + 1, sizeof *s->stages);
        s->phases = calloc((size_t)w->n_order + 2, sizeof *s->phases);
        s->optimizers = calloc((size_t)w->n_order + 1, sizeof *s->optimizers);
        s->zones = calloc((size_t)w->n_zones + 1, sizeof *s->zones);
        if (!s->arena || !s->stages || !s->phases || !s->optimizers || !s->zones) status = FNN_ERR_MEMORY;
    }
    if (status == FNN_OK) {
        for (int i = 0; i < w->n_order; i++)
            if (!is_free_of_work(w, &p->nodes[w->order[i]]))
                make_stage(w, w->order[i], &s->stages[s->n_stages++]);
        for (size_t i = 0; i < tensors; i++) s->views[i] = view_of(w, (int)i);
        make_phases(s);
        for (int i = 0; i < s->n_ports; i++) s->ports[i].view = s->views[s->ports[i].tensor];
        s->n_zones = s->guarded ? w->n_zones : 0;
        memcpy(s->zones, w->zones, (size_t)w->n_zones * sizeof *w->zones);
        for (int i = 0; i < s->n_zones; i++)
            memset(s->arena + s->zones[i].start, FNN_SENTINEL, s->zones[i].end - s->zones[i].start);
        s->shares = fnn_session_shared_ns(s, s->max_rows) > 0;
        status = fnn_session_fit_threads(s);
    }
    free(all);
    return status;
}

double fnn_session_shared_ns(const fnn_session *s, int64_t rows) {
    double shared = 0;
    for (int i = 0; i < s->n_phases; i++) {
        double ns = s->phases[i].ns_row * (double)rows + s->phases[i].ns_fixed;
        if (ns > FNN_SHARE_NS) shared += ns;
    }
    return shared;
}

int fnn_session_fit_threads(fnn_session *s) {
    int threads = s->shares ? fnn_get_threads() : 1;
    if (threads <= s->threads) return FNN_OK;
    char *scratch = fnn_alloc((size_t)threads * FNN_SCRATCH);
    fnn_error *faults = calloc((size_t)threads, sizeof *faults);
    if (!scratch || !faults) {
        fnn_free(scratch);
        free(faults);
        return FNN_ERR_MEMORY;
    }
    fnn_free(s->scratch);
    free(s->faults);
    s->scratch = scratch;
    s->faults = faults;
    s->threads = threads;
    return FNN_OK;
}

int fnn_session_create(fnn_model *model, int mode, int64_t max_rows, int flags, fnn_session **out,
                       fnn_error *err) {
    *out = NULL;
    if (mode < FNN_PREDICT || mode > FNN_GRADIENTS)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "unknown mode %d", mode);
    if (max_rows < 1 || max_rows > FNN_MAX_ROWS)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a session for %lld rows: at least 1, at most 2^40",
                        (long long)max_rows);
    fnn_session *s = calloc(1, sizeof *s);
    if (!s) return fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    __atomic_add_fetch(&model->refs, 1, __ATOMIC_RELAXED);
    s->model = model;
    s->mode = mode;
    s->training = mode == FNN_TRAIN || (flags & FNN_TRAINING);
    s->guarded = flags & FNN_GUARD;
    s->max_rows = max_rows;
    planner w = {.s = s, .p = &model->program};
    uint64_t host = fnn_fp_enter();   /* estimates are in floating point */
    int status = plan_into(&w);
    fnn_fp_restore(host);
    if (status == FNN_OK) {
        *out = s;
        return FNN_OK;
    }
    double need = (double)s->arena_bytes;
    fnn_session_free(s);
    if (status == FNN_ERR_LIMIT)
        return fnn_fail(err, status, "batches of %lld rows are too large for this program",
                        (long long)max_rows);
    return fnn_fail(err, status, "out of memory: a session for %lld rows needs %.1f MB", (long long)max_rows,
                    need / 1e6);
}

void fnn_session_free(fnn_session *s) {
    if (!s) return;
    free(s->ports);
    free(s->views);
    free(s->sums);
    free(s->sample);
    free(s->faults);
    free(s->stages);
    free(s->phases);
    free(s->optimizers);
    free(s->zones);
    fnn_free(s->arena);
    fnn_free(s->scratch);
    fnn_model_free(s->model);
    free(s);
}

size_t fnn_session_bytes(const fnn_session *s) { return s->arena_bytes + (size_t)s->threads * FNN_SCRATCH; }

int fnn_session_check(const fnn_session *s, fnn_error *err) {
    for (int i = 0; i < s->n_zones; i++)
        for (size_t b = s->zones[i].start; b < s->zones[i].end; b++)
            if ((unsigned char)s->arena[b] != FNN_SENTINEL)
                return fnn_fail(err, FNN_ERR_STATE,
                                "the sentinel before buffer %d was overwritten %zu bytes after its start", i,
                                b - s->zones[i].start);
    return FNN_OK;
}
