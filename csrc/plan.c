/* Plans: from a program and a mode to a list of stages in phases, with all memory placed. All allocation
 * happens here.
 *
 *   1. keep the nodes that the mode's roots need; in_training becomes one of its inputs
 *   2. fuse: product + bias + relu; kernel gradient + penalty + update
 *   3. give every stage a phase: inside one, a thread needs only its own rows (or part of a parameter)
 *   4. place the tensors: in place where a kernel may, or in the memory of a dead tensor of the same size
 *   5. turn nodes into stages with pointers, ranges and an estimate of their cost; join cheap ones into
 *      chains
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
    fnn_node *nodes;                 /* the program's, reading what in_training stands for */
    int *chosen;                     /* by tensor: what it stands for, mostly itself */
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
    bool *after;                     /* by node: does it come after the exchange */
    bool *exchanged;                 /* by tensor: a sum over rows that goes into the exchange */
    int mixing;                      /* a node that needs all rows of a batch at once, where that cannot be; -1: none */
    bool measures;                   /* only the session's bytes are wanted */
} planner;

static const fnn_op_info *info_of(const fnn_node *n) { return &fnn_ops[n->op]; }
static bool is_forward_product(const fnn_node *n) {
    return n->op == OP_matmul || n->op == OP_matmul_int8 || n->op == OP_matmul_csr;
}

/* ---- 1. which nodes ---- */

/* in_training costs nothing: its readers read the input that this session is for. */
static void resolve_training(planner *w) {
    const fnn_program *p = w->p;
    for (int i = 0; i < p->n_tensors; i++) w->chosen[i] = i;
    for (int i = 0; i < p->n_nodes; i++) {
        fnn_node *n = &w->nodes[i];
        *n = p->nodes[i];
        for (int k = 0; k < n->n_in; k++) n->in[k] = w->chosen[n->in[k]];
        if (n->op != OP_in_training) continue;
        int t = n->in[!w->s->training];
        /* What a root reads after the step must be what the step began with. */
        if (w->s->mode == FNN_TRAIN && p->tensors[t].updated)
            *n = (fnn_node){.op = OP_affine, .n_in = 1, .n_out = 1, .n_attr = 2, .in = {t}, .out = {n->out[0]},
                            .attr = {1, 0}};
        else w->chosen[n->out[0]] = t;
    }
}

static bool root_wanted(const fnn_session *s, const fnn_root *r) {
    switch (r->kind) {
    case ROOT_OUTPUT: return s->mode == FNN_PREDICT;
    case ROOT_METRIC: case ROOT_TALLY: return s->mode == FNN_EVALUATE || s->mode == FNN_TRAIN;
    case ROOT_PENALTY: return s->mode != FNN_PREDICT;
    case ROOT_GRAD: return s->mode == FNN_GRADIENTS;
    default: return s->mode != FNN_PREDICT;
    }
}

static void mark_needed(planner *w) {
    const fnn_program *p = w->p;
    bool *wanted = w->needed + p->n_nodes;   /* by tensor, behind the nodes */
    for (int i = 0; i < p->n_roots; i++)
        if (root_wanted(w->s, &p->roots[i])) {
            int t = w->chosen[p->roots[i].tensor];
            wanted[t] = true;
            w->readers[t] += 2;   /* a root is never fused away */
        }
    for (int i = p->n_nodes - 1; i >= 0; i--) {
        const fnn_node *n = &w->nodes[i];
        w->needed[i] = info_of(n)->rule == RULE_UPDATE && w->s->mode == FNN_TRAIN;
        for (int o = 0; o < n->n_out; o++) w->needed[i] |= wanted[n->out[o]];
        for (int k = 0; w->needed[i] && k < n->n_in; k++) {
            wanted[n->in[k]] = true;
            w->readers[n->in[k]]++;
            w->only_reader[n->in[k]] = i;
        }
    }
}

/* ---- what several sessions exchange ---- */

static bool mixes_rows(const fnn_node *n);

/* Sums over rows, to which each share of a batch adds its part. */
static bool sums_rows(int op) {
    return op == OP_sum_rows || op == OP_matmul_tn || op == OP_matmul_csr_tn || op == OP_embedding_grad;
}

/* Sums over rows are exchanged where another node reads them, and what follows from them comes after: down to the
 * updates nothing of it may belong to a row. Sums that are results only are added up when the pass is over. */
static void find_exchange(planner *w) {
    const fnn_program *p = w->p;
    bool *known = w->exchanged + p->n_tensors;   /* by tensor, behind the others: does it follow from an exchange */
    for (int i = 0; i < p->n_nodes; i++)
        for (int k = 0; w->needed[i] && k < w->nodes[i].n_in; k++) w->exchanged[w->nodes[i].in[k]] = true;
    for (int t = 0; t < p->n_tensors; t++) {
        const int from = p->tensors[t].producer;
        bool sum = w->exchanged[t] && from >= 0 && w->needed[from] && !p->tensors[t].batched;
        bool batched = false;
        for (int k = 0; sum && k < w->nodes[from].n_in; k++) batched |= p->tensors[w->nodes[from].in[k]].batched;
        w->exchanged[t] = known[t] = sum && batched;
        if (sum && batched && !sums_rows(w->nodes[from].op) && w->mixing < 0) w->mixing = from;
    }
    for (int i = 0; i < p->n_nodes; i++) {
        const fnn_node *n = &w->nodes[i];
        if (!w->needed[i]) continue;
        w->after[i] = info_of(n)->rule == RULE_UPDATE;
        for (int k = 0; k < n->n_in; k++) w->after[i] |= known[n->in[k]];
        bool apart = !mixes_rows(n);
        for (int o = 0; o < n->n_out; o++) {
            known[n->out[o]] |= w->after[i];
            apart &= !w->after[i] || (!p->tensors[n->out[o]].batched && !w->exchanged[n->out[o]]);
        }
        if (!apart && w->mixing < 0) w->mixing = i;
    }
    for (int i = 0; i < p->n_roots; i++)
        if (root_wanted(w->s, &p->roots[i]) && known[w->chosen[p->roots[i].tensor]] && w->mixing < 0)
            w->mixing = p->tensors[w->chosen[p->roots[i].tensor]].producer;
}

/* ---- 2. fusion ---- */

/* The one needed node that reads the node's first output, if it is the only reader and reads it as input
 * `at`. */
static int sole_reader(const planner *w, int node, int at) {
    int t = w->nodes[node].out[0], reader = w->only_reader[t];
    if (w->readers[t] != 1 || w->nodes[reader].in[at] != t) return -1;
    return reader;
}

static void absorb(planner *w, int node, int next) {
    w->fused_into[next] = node;
    w->last_node[node] = next;
}

static void fuse(planner *w) {
    const fnn_node *nodes = w->nodes;
    for (int i = 0; i < w->p->n_nodes; i++) w->fused_into[i] = w->last_node[i] = i;
    for (int i = 0; i < w->p->n_nodes; i++) {
        if (!w->needed[i]) continue;
        int op = nodes[i].op, next;
        if (is_forward_product(&nodes[i]) && (next = sole_reader(w, i, 0)) >= 0 && nodes[next].op == OP_bias_add) {
            absorb(w, i, next);
            int relu = sole_reader(w, next, 0);
            if (relu >= 0 && nodes[relu].op == OP_relu) absorb(w, i, relu);
        } else if (op == OP_matmul_tn && !w->s->exchanges) {
            int at = i;
            next = sole_reader(w, at, 0);
            if (next >= 0 && nodes[next].op == OP_penalty_grad) at = next;
            int update = sole_reader(w, at, 1);
            if (update < 0 || info_of(&nodes[update])->rule != RULE_UPDATE ||
                nodes[update].op == OP_moving_average)
                continue;
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
         m = m == end_ ? -1 : (w)->only_reader[(w)->nodes[m].out[0]])

/* ---- 3. phases ---- */

#define NS_BYTE (1.0 / 25)           /* read beyond the L2 cache */

/* Rough nanoseconds that reading the weights of a product takes. */
static double ns_of_weights(const planner *w, const fnn_node *n) {
    const fnn_tensor *t = &w->p->tensors[n->in[1]];
    return NS_BYTE * (double)fnn_type_size(t->type) * (double)t->dim[0] * (double)t->dim[1];
}

static const fnn_tensor *worked_on(const planner *w, const fnn_node *n) {
    return &w->p->tensors[n->n_out ? n->out[0] : n->in[0]];
}

static bool same_extent(const fnn_tensor *a, const fnn_tensor *b) {
    return a->batched == b->batched && a->panel == b->panel && a->ndim == b->ndim &&
           memcmp(a->dim, b->dim, sizeof(int64_t) * (size_t)a->ndim) == 0;
}

/* Element by element, all buffers alike? */
static bool is_flat_map(const planner *w, const fnn_node *n) {
    for (int i = 0; i < n->n_in; i++)
        if (!same_extent(&w->p->tensors[n->in[i]], worked_on(w, n))) return false;
    return true;
}

/* A product of few rows is over as soon as its weights were read. */
static bool is_shared_by_columns(const planner *w, const fnn_node *n) {
    const fnn_tensor *out = worked_on(w, n);
    return is_forward_product(n) && n->op != OP_matmul_csr && out->batched && w->s->max_rows * out->lead <= FNN_FEW_ROWS &&
           ns_of_weights(w, n) > FNN_SHARE_NS / 2;
}

static fnn_share share_of(const planner *w, const fnn_node *n) {
    if (is_shared_by_columns(w, n)) return SHARE_PANELS;
    if (n->n_out && w->p->tensors[n->out[0]].batched) return SHARE_ROWS;
    switch (info_of(n)->rule) {
    case RULE_MATMUL_TN: return SHARE_TILES;
    case RULE_EMBED_GRAD: case RULE_MATMUL_CSR_TN: return SHARE_PANELS;
    case RULE_SAME: case RULE_CLIP: case RULE_UPDATE: case RULE_SUM_ROWS: case RULE_MOMENTS:
        return SHARE_ELEMENTS;
    case RULE_MAP: return is_flat_map(w, n) ? SHARE_ELEMENTS : SHARE_ONE;
    default: return SHARE_ONE;
    }
}

/* Made when the session is, and there from the beginning, as parameters are. */
static bool is_constant(const fnn_node *n) { return n->op == OP_full; }

/* Does it read rows of other threads? */
static bool mixes_rows(const fnn_node *n) { return n->op == OP_mix || n->op == OP_mix_grad; }

static int max_int(int a, int b) { return a > b ? a : b; }

/* Does a thread that has done its share of `before` have all that its share of `after` reads? */
static bool own_share(const planner *w, const fnn_node *before, const fnn_node *after) {
    fnn_share a = share_of(w, before), b = share_of(w, after);
    if (a == SHARE_ROWS || b == SHARE_ROWS) return a == b && !mixes_rows(after);
    if (a == SHARE_ONE && b == SHARE_ONE) return true;
    if (a == SHARE_ONE || b == SHARE_ONE || a == SHARE_PANELS || b == SHARE_PANELS) return false;
    return same_extent(worked_on(w, before), worked_on(w, after));
}

/* The earliest phase of a stage, given those of the stages before; `writable` is the first phase, by tensor,
 * in which a parameter may be updated: every thread that reads more of it than its own share has done so. */
static int earliest_phase(const planner *w, int first, const int *writable) {
    const fnn_program *p = w->p;
    int phase = 0;
    FOR_MEMBERS(w, first, m) {
        const fnn_node *n = &w->nodes[m];
        for (int k = 0; k < n->n_in; k++) {
            int from = p->tensors[n->in[k]].producer;
            if (from >= 0 && is_constant(&w->nodes[from])) continue;
            if (from >= 0 && w->fused_into[from] != first)
                phase = max_int(phase, w->phase[w->fused_into[from]] +
                                       !own_share(w, &w->nodes[w->fused_into[from]], n));
            /* Each thread brings in its own rows, in phase 0. */
            if (from < 0 && p->tensors[n->in[k]].batched && (share_of(w, n) != SHARE_ROWS || mixes_rows(n)))
                phase = max_int(phase, 1);
        }
        if (info_of(n)->rule == RULE_UPDATE) phase = max_int(phase, writable[n->in[0]]);
    }
    return phase;
}

static bool has_stage(const planner *w, int node) { return w->needed[node] && !is_constant(&w->nodes[node]); }

/* Phases of the stages before or after the exchange; returns the last one. */
static int assign_side(planner *w, bool after, int least, int last) {
    const fnn_program *p = w->p;
    int *writable = w->last_other, *next = w->next_in_phase;
    /* A stage stands where its last node stands: what reads a parameter before that node reads it before the
     * update. */
    for (int i = 0; i < p->n_nodes; i++) {
        int first = w->fused_into[i];
        if (!has_stage(w, i) || w->last_node[first] != i || w->after[i] != after) continue;
        int phase = w->phase[first] = max_int(least, earliest_phase(w, first, writable));
        FOR_MEMBERS(w, first, m) {
            const fnn_node *n = &w->nodes[m];
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
    return last;
}

static void assign_phases(planner *w) {
    const fnn_program *p = w->p;
    int *writable = w->last_other;   /* by tensor, for now */
    /* Never in phase 0, where bad data are found: a step that fails has changed nothing. */
    for (int i = 0; i < p->n_tensors; i++) writable[i] = 1;
    int *next = w->next_in_phase, last = assign_side(w, false, 0, 0);
    if (w->s->exchanges) {
        w->s->update_phase = last + 1;       /* of the planner's, until make_phases leaves out empty ones */
        last = assign_side(w, true, last + 1, last);
    }
    for (int phase = 0; phase < last; phase++) next[phase + 1] += next[phase];
    for (int i = 0; i < p->n_nodes; i++) {
        int first = w->fused_into[i];
        if (has_stage(w, i) && w->last_node[first] == i) w->order[next[w->phase[first]]++] = first;
    }
}

/* ---- 4. memory ---- */

/* The tensor that a stage writes in the place of its first node's i-th output. */
static int final_output(const planner *w, int first, int i) {
    const fnn_node *last = &w->nodes[w->last_node[first]];
    return i == 0 && last->n_out ? last->out[0] : w->nodes[first].out[i];
}

static bool updates_in_passing(const planner *w, int first) {
    return w->last_node[first] != first && info_of(&w->nodes[w->last_node[first]])->rule == RULE_UPDATE;
}

/* Per-row tensors are read by flat index, and a reshape is free only between contiguous ones. */
static bool must_be_contiguous(const fnn_program *p, int tensor, const bool *flat) {
    const fnn_tensor *t = &p->tensors[tensor];
    return !t->batched || t->ndim != 2 || t->type == TYPE_I32 || t->type == TYPE_CSR || flat[tensor];
}

static void choose_strides(planner *w) {
    const fnn_program *p = w->p;
    bool *flat = w->needed + p->n_nodes;     /* by tensor; the marks of step 1 are no longer needed */
    memset(flat, 0, sizeof(bool) * (size_t)p->n_tensors);
    for (int i = 0; i < p->n_nodes; i++) {
        const fnn_node *n = &w->nodes[i];
        if (!w->needed[i]) continue;
        fnn_rule rule = info_of(n)->rule;
        bool reshape = rule == RULE_RESHAPE;
        if (reshape || rule == RULE_LOSS || rule == RULE_LOSS_IDX || rule == RULE_SEED)
            flat[n->out[0]] = true;
        if (reshape || rule == RULE_LOSS_GRAD || rule == RULE_LOSS_IDX_GRAD || rule == RULE_SEED)
            flat[n->in[0]] = true;
    }
    for (int i = 0; i < p->n_roots; i++)
        if (p->roots[i].kind == ROOT_LOSS || p->roots[i].kind == ROOT_METRIC)
            flat[w->chosen[p->roots[i].tensor]] = true;
    int64_t size = (int64_t)fnn_type_size(p->real);
    for (int i = 0; i < p->n_tensors; i++) {
        w->ld[i] = p->tensors[i].type == TYPE_CSR ? 1 : p->tensors[i].cols;   /* one extent a row */
        if (!must_be_contiguous(p, i, flat) && fnn_rows_collide(w->ld[i] * size)) w->ld[i] += FNN_ALIGN / size;
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
        at->stride = elements = fnn_layout_of(w->s->model->kernels, t).size;
    }
    if (elements > FNN_MAX_ELEMENTS) return false;
    size_t size = fnn_type_size(t->type);
    if (!add_bytes(w, elements, size, &at->offset)) return false;
    w->place_of[tensor] = w->n_places++;
    return true;
}

/* All sums that are exchanged, one after the other in the order of the program, then the notes. */
static bool place_exchange(planner *w) {
    const fnn_program *p = w->p;
    const size_t size = fnn_type_size(p->real);
    int64_t unit = FNN_ALIGN / (int64_t)size, total = 0;
    for (int t = 0; t < p->n_tensors; t++) {
        if (!w->exchanged[t]) continue;
        place *at = &w->places[w->n_places];
        *at = (place){.stride = fnn_layout_of(w->s->model->kernels, &p->tensors[t]).size, .last_use = TO_THE_END,
                      .last_other_phase = TO_THE_END, .offset = (size_t)total * size};
        int64_t end;
        if (!fnn_add(at->stride, unit - 1, &end) || !fnn_add(total, end / unit * unit, &total) ||
            total > FNN_MAX_ELEMENTS)
            return false;
        w->place_of[t] = w->n_places++;
    }
    w->s->exchange_count = total + FNN_EXCHANGE_NOTES;
    if (!add_bytes(w, w->s->exchange_count, size, &w->s->exchange_offset)) return false;
    for (int t = 0; t < p->n_tensors; t++)
        if (w->exchanged[t]) w->places[w->place_of[t]].offset += w->s->exchange_offset;
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
    switch (fnn_ops[op].rule) {
    case RULE_BIAS: case RULE_MAP: return true;
    case RULE_SAME:
        return op != OP_softmax_grad && op != OP_log_softmax_grad && op != OP_mix && op != OP_mix_grad;
    default: return false;
    }
}

/* The memory of the node's i-th input, if the output may stand there: element by element, each is read before
 * it is written. */
static int place_of_input(const planner *w, int position, int i, int tensor) {
    int node = w->order[position], in = w->nodes[node].in[i], from = w->place_of[in];
    const fnn_tensor *source = &w->p->tensors[in];
    bool fits = from >= 0 && source->kind == KIND_TEMP && same_extent(source, &w->p->tensors[tensor]) &&
                w->ld[in] == w->ld[tensor] && is_free(&w->places[from], position, w->phase[node], true);
    return fits ? from : -1;
}

static bool place_output(planner *w, int position, int tensor) {
    int node = w->order[position];
    const fnn_node *n = &w->nodes[node];
    const fnn_tensor *t = &w->p->tensors[tensor];
    bool real = t->batched && t->type != TYPE_I32;
    int candidates = !real || !may_work_in_place(n->op) ? 0 : info_of(n)->rule == RULE_MAP ? n->n_in : 1;
    for (int i = 0; i < candidates; i++) {
        int from = place_of_input(w, position, i, tensor);
        if (from < 0) continue;
        w->place_of[tensor] = from;
        return true;
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
 * place. A parameter's memory is not the session's. */
static bool is_free_of_work(const planner *w, const fnn_node *n) {
    if (n->op != OP_dropout && n->op != OP_reshape) return false;
    const fnn_tensor *from = &w->p->tensors[n->in[0]], *to = &w->p->tensors[n->out[0]];
    const int64_t in = w->ld[n->in[0]], out = w->ld[n->out[0]];
    if (n->op == OP_dropout) return !w->s->training && in == out;
    return in == from->cols && out == to->cols && from->kind != KIND_PARAM;
}

static void find_last_reads(planner *w) {
    const fnn_program *p = w->p;
    for (int i = 0; i < p->n_tensors; i++) w->last_read[i] = w->last_other[i] = NOT_READ;
    for (int at = 0; at < w->n_order; at++) w->position[w->order[at]] = at;
    for (int i = 0; i < p->n_nodes; i++) {
        if (!has_stage(w, i)) continue;
        const fnn_node *n = &w->nodes[i];
        int stage = w->fused_into[i];
        for (int k = 0; k < n->n_in; k++) {
            w->last_read[n->in[k]] = max_int(w->last_read[n->in[k]], w->position[stage]);
            if (share_of(w, n) != SHARE_ROWS || mixes_rows(n))
                w->last_other[n->in[k]] = max_int(w->last_other[n->in[k]], w->phase[stage]);
        }
    }
    for (int i = 0; i < p->n_roots; i++)
        if (root_wanted(w->s, &p->roots[i])) {
            w->last_read[w->chosen[p->roots[i].tensor]] = TO_THE_END;
            if (p->roots[i].other >= 0) w->last_read[p->roots[i].other] = TO_THE_END;
        }
    /* A tensor that is only another name for its source keeps the source alive. */
    for (int at = w->n_order - 1; at >= 0; at--) {
        const fnn_node *n = &w->nodes[w->order[at]];
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
    for (int i = 0; i < p->n_nodes; i++) {
        if (!w->needed[i] || !is_constant(&w->nodes[i])) continue;
        if (!new_place(w, w->nodes[i].out[0])) return false;
        settle(w, w->nodes[i].out[0], TO_THE_END);
    }
    if (w->s->exchanges && !place_exchange(w)) return false;
    for (int at = 0; at < w->n_order; at++) {
        const fnn_node *n = &w->nodes[w->order[at]];
        for (int o = 0; o < n->n_out; o++) {
            int t = final_output(w, w->order[at], o);
            if (w->exchanged[t]) continue;
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
#define SPARSE 100                   /* values of a sparse row: how many there will be nobody knows yet */

static double ns_element(int op) {
    switch (fnn_ops[op].rule) {
    case RULE_LOSS: case RULE_LOSS_IDX: return 2;
    case RULE_SEED: return 4;
    case RULE_SUM_ROWS: return 0.05;
    case RULE_BIAS: case RULE_CONCAT: case RULE_SLICE: case RULE_PAD: case RULE_RESHAPE: case RULE_BROADCAST:
    case RULE_SPREAD: case RULE_MOMENTS: case RULE_EMBED: case RULE_ONE_HOT: case RULE_LAYOUT: return 0.2;
    case RULE_REDUCE: case RULE_MOMENTS_GRAD: case RULE_UPDATE: return 0.5;
    case RULE_RANDOM: return op == OP_random_normal ? 10 : 2;
    case RULE_WARP: return 10;
    default: break;
    }
    switch (op) {
    case OP_power: case OP_sin: case OP_cos: return 10;
    case OP_gelu: case OP_gelu_grad: return 3;
    case OP_step: case OP_step_grad: case OP_sigmoid_grad: case OP_hard_sigmoid: case OP_hard_sigmoid_grad:
    case OP_tanh_grad: case OP_relu: case OP_relu_grad: case OP_leaky_relu: case OP_leaky_relu_grad:
    case OP_selu_grad: case OP_softsign: case OP_softsign_grad:
    case OP_add: case OP_subtract: case OP_multiply: case OP_maximum: case OP_minimum: case OP_less:
    case OP_less_equal: case OP_equal: case OP_where: case OP_affine: case OP_abs: case OP_sign:
    case OP_square: case OP_floor: return 0.2;
    default: return 1;
    }
}

static void estimate(const planner *w, const fnn_node *n, fnn_stage *stage) {
    const fnn_tensor *out = worked_on(w, n), *a = n->n_in ? &w->p->tensors[n->in[0]] : out;
    double wide = w->p->real == TYPE_F64 ? 2 : 1, lead = (double)a->lead, read = lead * (double)a->cols,
           work = (double)out->lead * (double)out->cols;
    double element = wide * ns_element(n->op), ns = work * element;
    switch (fnn_ops[n->op].rule) {
    case RULE_MATMUL: case RULE_MATMUL_INT8: case RULE_MATMUL_NT:
        ns = lead * (NS_PRODUCT_ROW + 2 * wide * (double)a->cols * (double)out->cols * NS_FLOP);
        if (stage->share == SHARE_PANELS) stage->ns_fixed += ns_of_weights(w, n);
        break;
    case RULE_MATMUL_CSR: ns = SPARSE * 2 * wide * (double)out->cols * NS_FLOP; break;
    case RULE_MATMUL_CSR_TN:
        ns = SPARSE * 2 * wide * (double)out->cols * NS_FLOP;
        stage->ns_fixed += NS_BYTE * (double)fnn_type_size(w->p->real) * work;
        break;
    case RULE_MATMUL_TN: ns = lead * (NS_PRODUCT_ROW + 2 * wide * work * NS_FLOP); break;
    case RULE_SUM_ROWS: case RULE_MOMENTS: case RULE_LOSS: case RULE_LOSS_IDX: case RULE_REDUCE:
    case RULE_EMBED_GRAD: ns = read * element; break;
    default: break;
    }
    if (a->batched || out->batched) stage->ns_row += ns;
    else stage->ns_fixed += ns;
}

static fnn_view view_of(const planner *w, int tensor) {
    const fnn_tensor *t = &w->p->tensors[tensor];
    fnn_view v = {.ld = w->ld[tensor], .cols = t->cols, .lead = t->lead};
    if (t->kind == KIND_PARAM) v.p = w->s->model->params[tensor]->w;
    else if (w->place_of[tensor] >= 0) v.p = w->s->arena + w->places[w->place_of[tensor]].offset;
    return v;
}

/* The tensor as a stage of this share sees it: work on elements sees one column, in whatever layout. */
static fnn_view operand(const planner *w, int tensor, fnn_share share) {
    fnn_view v = view_of(w, tensor);
    if (share == SHARE_ELEMENTS && !w->p->tensors[tensor].batched) v.ld = v.cols = v.lead = 1;
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
    case RULE_MAP: case RULE_REDUCE: case RULE_BROADCAST: case RULE_TRANSPOSE: case RULE_CONCAT:
    case RULE_SLICE: case RULE_PAD: case RULE_RESHAPE: case RULE_RANDOM: case RULE_WARP: case RULE_SCALAR: case RULE_LAYOUT:
    case RULE_FULL: return 1;
    case RULE_SAME: return mixes_rows(n) ? 1 : out->lead;
    case RULE_LOSS: case RULE_LOSS_IDX: return w->p->tensors[n->in[0]].lead;
    default: return out->lead;
    }
}

/* ---- walks: see fnn_walk ---- */

/* One operand's strides along the `rank` dimensions (the batch left out) of the walk, 0 where it is
 * broadcast. */
static void set_strides(const planner *w, fnn_walk *walk, int operand, int tensor, int rank,
                        const int64_t *dim) {
    const fnn_tensor *t = &w->p->tensors[tensor];
    int own = t->ndim - t->batched;
    int64_t stride = 1;
    for (int d = rank - 1; d >= 0; d--) {
        int at = d - (rank - own);
        int64_t size = at < 0 ? 1 : t->dim[at + t->batched];
        walk->stride[operand][d] = size == dim[d] ? stride : 0;
        stride = at == own - 1 && own > 0 ? w->ld[tensor] : stride * size;
    }
    walk->sample[operand] = t->batched ? t->lead * w->ld[tensor] : 0;
}

static void permute_strides(fnn_walk *walk, const fnn_tensor *in, double code) {
    int64_t stride[FNN_MAX_DIMS];
    memcpy(stride, walk->stride[0], sizeof stride);
    for (int d = 0; d < walk->n; d++)
        walk->stride[0][d] = stride[((int)code >> 3 * (d + in->batched) & 7) - in->batched];
}

/* Leaves out dimensions of one element and joins neighbours that all operands walk alike. The dimension that
 * argmax is over stays as it is. */
static void collapse(fnn_walk *walk, bool keeps_last) {
    int n = 0;
    for (int d = 0; d < walk->n; d++) {
        bool kept = keeps_last && d == walk->n - 1, joined = n > 0 && !kept;
        if (walk->dim[d] == 1 && !kept) continue;
        for (int k = 0; k < 4; k++)
            joined = joined && walk->stride[k][n - 1] == walk->dim[d] * walk->stride[k][d];
        n -= joined;
        walk->dim[n] = joined ? walk->dim[n] * walk->dim[d] : walk->dim[d];
        for (int k = 0; k < 4; k++) walk->stride[k][n] = walk->stride[k][d];
        n++;
    }
    if (n == 0) {
        walk->dim[n++] = 1;
        for (int k = 0; k < 4; k++) walk->stride[k][0] = walk->sample[k];
    }
    walk->n = n;
    walk->whole = true;
    for (int k = 0; k < 4; k++) walk->whole &= walk->sample[k] == walk->dim[0] * walk->stride[k][0];
}

static void set_walk(const planner *w, const fnn_node *n, fnn_share share, fnn_walk *walk) {
    const fnn_tensor *in = &w->p->tensors[n->in[0]], *out = &w->p->tensors[n->out[0]];
    if (share == SHARE_ELEMENTS) {       /* samples of one element */
        *walk = (fnn_walk){.n = 1, .whole = true, .dim = {1}, .sample = {1, 1, 1, 1}};
        for (int k = 0; k < 4; k++) walk->stride[k][0] = 1;
        return;
    }
    const fnn_rule rule = fnn_ops[n->op].rule;
    const fnn_tensor *shaped = rule == RULE_REDUCE ? in : out;
    const int rank = walk->n = shaped->ndim - shaped->batched;
    memcpy(walk->dim, shaped->dim + shaped->batched, sizeof(int64_t) * (size_t)rank);
    if (rule == RULE_TRANSPOSE) {
        set_strides(w, walk, 0, n->in[0], rank, in->dim + in->batched);
        permute_strides(walk, in, n->attr[0]);
    } else {
        for (int i = 0; i < n->n_in; i++) set_strides(w, walk, i, n->in[i], rank, walk->dim);
    }
    set_strides(w, walk, WALK_OUT, n->out[0], rank, walk->dim);
    collapse(walk, n->op == OP_argmax);
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

static const fnn_step one_row = {.rows = 1};     /* of tasks without a batch */

static bool touches_batch(const planner *w, const fnn_node *n) {
    bool batched = false;
    for (int i = 0; i < n->n_in; i++) batched |= w->p->tensors[n->in[i]].batched;
    for (int o = 0; o < n->n_out; o++) batched |= w->p->tensors[n->out[o]].batched;
    return batched;
}

/* The operand whose layout the kernel is told. */
static int laid_out(const fnn_node *n, fnn_share share) {
    switch (fnn_ops[n->op].rule) {
    case RULE_MATMUL: case RULE_MATMUL_INT8: case RULE_MATMUL_NT: case RULE_MATMUL_CSR: return n->in[1];
    case RULE_EMBED: case RULE_SCALAR: return n->in[0];
    case RULE_LAYOUT: return n->op == OP_pack ? n->out[0] : n->in[0];
    default: return share == SHARE_ROWS ? -1 : n->n_out ? n->out[0] : n->in[0];
    }
}

/* Blocks of concat, slice and pad: see shape.c. */
static void set_blocks(const planner *w, const fnn_node *n, fnn_task *t) {
    const fnn_tensor *out = &w->p->tensors[n->out[0]], *in = &w->p->tensors[n->in[0]];
    int axis = (int)n->attr[0];
    t->outer = extent(out, out->batched, axis);
    int64_t inside = extent(out, axis + 1, out->ndim);
    if (n->op == OP_concat) {
        for (int i = 0; i < n->n_in; i++) t->inner[i] = w->p->tensors[n->in[i]].dim[axis] * inside;
    } else {
        t->inner[0] = in->dim[axis] * inside;
        t->inner[1] = (int64_t)n->attr[1] * inside;
        t->inner[2] = out->dim[axis] * inside;
    }
}

static fnn_kernel kernel_of(const planner *w, const fnn_node *n) {
    const fnn_mixed *mixed = w->s->model->mixed;
    const int op = w->p->mixed ? n->op : -1;
    return op == OP_matmul ? mixed->matmul
         : op == OP_matmul_nt ? mixed->matmul_nt
         : op == OP_matmul_tn ? mixed->matmul_tn : w->s->model->kernels->run[n->op];
}

static void make_stage(planner *w, int first, fnn_stage *stage) {
    fnn_session *s = w->s;
    const fnn_node *n = &w->nodes[first];
    fnn_task *t = &stage->task;
    stage->share = share_of(w, n);
    stage->unit = rows_a_sample(w, n);
    stage->phase = w->phase[first];
    stage->chain = 1;
    t->by_columns = stage->share == SHARE_PANELS && is_forward_product(n);
    t->run = kernel_of(w, n);
    t->op = n->op;
    t->n_in = n->n_in;
    t->step = touches_batch(w, n) ? &s->step : &one_row;
    memcpy(t->attr, n->attr, sizeof t->attr);
    if (n->op == OP_dropout && !s->training) t->attr[0] = 0;   /* a copy */
    for (int i = 0; i < n->n_in; i++) t->in[i] = operand(w, n->in[i], stage->share);
    for (int o = 0; o < n->n_out; o++) t->out[o] = operand(w, final_output(w, first, o), stage->share);
    int laid = laid_out(n, stage->share);
    if (laid >= 0) t->layout = fnn_layout_of(s->model->kernels, &w->p->tensors[laid]);

    FOR_MEMBERS(w, first, m) {
        const fnn_node *member = &w->nodes[m];
        estimate(w, member, stage);
        if (fnn_ops[member->op].rule == RULE_UPDATE) set_update(s, t, member);
        if (m == first) continue;
        if (member->op == OP_bias_add) t->bias = view_of(w, member->in[1]).p;
        if (member->op == OP_relu) t->relu = true;
        if (member->op == OP_penalty_grad) { t->l1 = member->attr[0]; t->l2 = member->attr[1]; }
    }
    switch (fnn_ops[n->op].rule) {
    case RULE_MAP: case RULE_REDUCE: case RULE_BROADCAST: case RULE_TRANSPOSE:
        set_walk(w, n, stage->share, &t->walk); break;
    case RULE_CONCAT: case RULE_SLICE: case RULE_PAD: set_blocks(w, n, t); break;
    case RULE_WARP: t->outer = w->p->tensors[n->out[0]].dim[1]; break;
    default: break;
    }
}

static void write_constants(planner *w) {
    for (int i = 0; i < w->p->n_nodes; i++) {
        if (!w->needed[i] || !is_constant(&w->nodes[i])) continue;
        fnn_stage stage = {0};
        make_stage(w, i, &stage);
        stage.task.run(&stage.task, 0, 1, NULL);
    }
}

/* Chains: see run_chain. */
enum {
    CHAIN_BYTES = 32 << 10,          /* of a block: the L1 cache of a core */
    CHAIN_BUFFERS = 32,              /* at most, so that a call is long beside its start */
    BLOCK_UNIT = 16                  /* samples: whole groups of the kernels that go by several rows */
};

static bool may_chain(const planner *w, int first) {
    const fnn_node *n = &w->nodes[first];
    fnn_rule rule = info_of(n)->rule;
    return share_of(w, n) == SHARE_ROWS && !mixes_rows(n) && !is_forward_product(n) &&
           rule != RULE_MATMUL_NT;
}

/* Adds what a sample of this tensor takes to *bytes, unless its place was counted for this chain before. */
static void count_buffer(const planner *w, int tensor, int chain, int *counted, int *buffers,
                         int64_t *bytes) {
    int at = w->place_of[tensor];
    if (at < 0 || !w->places[at].batched || counted[at] == chain) return;
    counted[at] = chain;
    ++*buffers;
    *bytes += w->places[at].stride * (int64_t)fnn_type_size(w->p->real);
}

/* Joins stages of one phase that follow each other into chains; `first` are their first nodes. */
static void make_chains(planner *w, const int *first) {
    fnn_session *s = w->s;
    int *counted = w->last_other;    /* by place, for now: the chain that counted it last */
    for (int i = 0; i < w->p->n_tensors; i++) counted[i] = -1;
    for (int head = 0; head < s->n_stages; head += s->stages[head].chain) {
        fnn_stage *stage = &s->stages[head];
        int buffers = 0, length = 0;
        int64_t bytes = 0;
        while (head + length < s->n_stages && stage[length].phase == stage->phase &&
               may_chain(w, first[head + length]) && buffers < CHAIN_BUFFERS) {
            const fnn_node *n = &w->nodes[first[head + length++]];
            for (int i = 0; i < n->n_in; i++) count_buffer(w, n->in[i], head, counted, &buffers, &bytes);
            for (int o = 0; o < n->n_out; o++) count_buffer(w, n->out[o], head, counted, &buffers, &bytes);
        }
        if (length < 2) continue;
        stage->chain = length;
        stage->block = CHAIN_BYTES / (bytes + 1);
        if (stage->block > BLOCK_UNIT) stage->block -= stage->block % BLOCK_UNIT;
        if (stage->block < 1) stage->block = 1;
    }
}

/* Products take rows at any distance from each other. */
static bool takes_any_rows(const fnn_task *t) {
    return t->op == OP_matmul || t->op == OP_matmul_int8 || t->op == OP_matmul_nt || t->op == OP_matmul_tn;
}

static void find_readers(fnn_session *s) {
    const fnn_program *p = &s->model->program;
    for (int k = 0; k < s->n_in_ports; k++) {
        fnn_port *port = &s->ports[k];
        const int before = s->n_readers;
        port->readable = p->tensors[port->tensor].type == p->real;
        for (int i = 0; i < p->n_roots; i++)
            port->readable &= s->views[p->roots[i].tensor].p != port->view.p &&
                              (p->roots[i].other < 0 || s->views[p->roots[i].other].p != port->view.p);
        for (int i = 0; i < s->n_stages; i++)
            for (int j = 0; j < s->stages[i].task.n_in; j++) {
                fnn_view *view = &s->stages[i].task.in[j];
                if (view->p != port->view.p) continue;
                port->readable &= takes_any_rows(&s->stages[i].task);
                if (port->readable) s->readers[s->n_readers++] = (fnn_reader){k, view, view->ld};
            }
        if (!port->readable) s->n_readers = before;
    }
}

/* Products of sparse rows read the matrix that will be bound to their input. */
static void find_matrices(fnn_session *s, const planner *w, const int *first) {
    for (int k = 0; k < s->n_in_ports; k++)
        for (int i = 0; w->p->tensors[s->ports[k].tensor].type == TYPE_CSR && i < s->n_stages; i++)
            if (w->nodes[first[i]].in[0] == s->ports[k].tensor) s->stages[i].task.csr = &s->ports[k].csr;
}

/* Phase 0 is always there, be it empty: rows are gathered in it. */
static void make_phases(fnn_session *s) {
    int last = 0, border = s->update_phase;
    s->n_phases = s->update_phase = 1;
    for (int i = 0; i < s->n_in_ports; i++) {
        const fnn_view *v = &s->views[s->ports[i].tensor];
        const bool sparse = s->model->program.tensors[s->ports[i].tensor].type == TYPE_CSR;
        s->phases[0].ns_row += NS_GATHERED_ROW + NS_GATHERED * (sparse ? SPARSE : (double)v->lead * (double)v->cols);
    }
    for (int i = 0; i < s->n_stages; i++) {
        fnn_stage *stage = &s->stages[i];
        if (stage->phase != last) {
            s->phases[s->n_phases++] = (fnn_phase){.first = i};
            last = stage->phase;
        }
        if (stage->phase < border) s->update_phase = s->n_phases;
        fnn_phase *phase = &s->phases[s->n_phases - 1];
        phase->last = i + 1;
        phase->ns_row += stage->ns_row;
        phase->ns_fixed += stage->ns_fixed;
    }
}

/* ---- sessions ---- */

/* How many classes, rows or columns the node's int32 input, the `at`-th one, chooses from; 0 where it is no
 * index. */
static int64_t classes_of(const planner *w, const fnn_node *n, int *at) {
    const fnn_tensor *tensors = w->p->tensors;
    switch (info_of(n)->rule) {
    case RULE_LOSS_IDX: *at = 1; return tensors[n->in[0]].cols;
    case RULE_LOSS_IDX_GRAD: *at = 2; return tensors[n->in[1]].cols;
    case RULE_EMBED: *at = 1; return tensors[n->in[0]].dim[0];
    case RULE_EMBED_GRAD: *at = 1; return tensors[n->out[0]].dim[0];
    case RULE_ONE_HOT: *at = 0; return tensors[n->out[0]].cols;
    default: return 0;
    }
}

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
        port->lowest = INT32_MIN;
        port->highest = INT32_MAX;
        w->place_of[port->tensor] = k;
    }
    for (int i = 0; i < p->n_nodes; i++) {
        int at;
        int64_t classes = classes_of(w, &w->nodes[i], &at);
        if (!w->needed[i] || classes == 0) continue;
        fnn_port *port = &s->ports[w->place_of[w->nodes[i].in[at]]];
        port->lowest = 0;
        if (classes - 1 < port->highest) port->highest = classes - 1;
    }
}

static void *carve(char **at, size_t bytes) {
    void *p = *at;
    *at += (bytes + 15) / 16 * 16;
    return p;
}

/* Memory that the session keeps. */
static void *keep(fnn_session *s, size_t count, size_t size) {
    s->bytes += count * size;
    return fnn_new(count, size);
}

/* Where the planner only measures, it stops when the session's bytes are known. */
static int plan_into(planner *w) {
    fnn_session *s = w->s;
    const fnn_program *p = w->p;
    size_t nodes = (size_t)p->n_nodes, tensors = (size_t)p->n_tensors;
    /* The planner's own arrays, in one piece: bounded by the limits on nodes and tensors. */
    size_t each = 4 * sizeof(bool) + 13 * sizeof(int) + sizeof(int64_t) + sizeof(fnn_zone) + sizeof(place);
    size_t bytes = (nodes + tensors) * each + nodes * sizeof(fnn_node) + 64 * 16;
    char *all = fnn_new(1, bytes), *at = all;
    if (!all) return FNN_ERR_MEMORY;
    w->nodes = carve(&at, nodes * sizeof(fnn_node));
    w->chosen = carve(&at, tensors * sizeof(int));
    w->needed = carve(&at, (nodes + tensors) * sizeof(bool));
    w->after = carve(&at, nodes * sizeof(bool));
    w->exchanged = carve(&at, 2 * tensors * sizeof(bool));
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

    s->ports = keep(s, tensors + (size_t)p->n_roots + 1, sizeof *s->ports);
    s->views = keep(s, tensors + 1, sizeof *s->views);
    s->sums = keep(s, 2 * (size_t)p->n_roots + (size_t)p->tallied + 1, sizeof *s->sums);
    int status = s->ports && s->views && s->sums ? FNN_OK : FNN_ERR_MEMORY;
    if (status == FNN_OK) {
        resolve_training(w);
        mark_needed(w);
        if (s->exchanges) find_exchange(w);
        if (w->mixing >= 0) status = FNN_ERR_ARGUMENT;
    }
    if (status == FNN_OK) {
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
        s->stages = keep(s, (size_t)w->n_order + 1, sizeof *s->stages);
        s->phases = keep(s, (size_t)w->n_order + 2, sizeof *s->phases);
        s->optimizers = keep(s, (size_t)w->n_order + 1, sizeof *s->optimizers);
        s->readers = keep(s, (size_t)w->n_order * 2 + 1, sizeof *s->readers);
        s->zones = keep(s, (size_t)w->n_zones + 1, sizeof *s->zones);
        s->bytes += s->arena_bytes + (size_t)s->max_rows * 4 * sizeof *s->chosen;
        if (!s->stages || !s->phases || !s->optimizers || !s->readers || !s->zones) status = FNN_ERR_MEMORY;
    }
    if (status == FNN_OK && !w->measures) {
        s->arena = fnn_alloc(s->arena_bytes);
        s->chosen = fnn_new((size_t)s->max_rows, 4 * sizeof *s->chosen);
        if (!s->arena || !s->chosen) status = FNN_ERR_MEMORY;
    }
    if (status == FNN_OK && !w->measures) {
        s->batch = (fnn_batch){.step = -1, .sample = s->chosen, .row = s->chosen + s->max_rows};
        s->next = (fnn_batch){.step = -1, .sample = s->chosen + 2 * s->max_rows, .row = s->chosen + 3 * s->max_rows};
        int *first = w->position;    /* by stage, from now on */
        for (int i = 0; i < w->n_order; i++)
            if (!is_free_of_work(w, &w->nodes[w->order[i]])) {
                first[s->n_stages] = w->order[i];
                make_stage(w, w->order[i], &s->stages[s->n_stages++]);
            }
        make_chains(w, first);
        write_constants(w);
        for (size_t i = 0; i < tensors; i++) s->views[i] = view_of(w, w->chosen[i]);
        make_phases(s);
        s->end_phase = s->n_phases;
        for (int i = 0; i < s->n_ports; i++) s->ports[i].view = s->views[s->ports[i].tensor];
        find_readers(s);
        find_matrices(s, w, first);
        s->n_zones = s->guarded ? w->n_zones : 0;
        memcpy(s->zones, w->zones, (size_t)w->n_zones * sizeof *w->zones);
        for (int i = 0; i < s->n_zones; i++)
            memset(s->arena + s->zones[i].start, FNN_SENTINEL, s->zones[i].end - s->zones[i].start);
        s->share_ns = FNN_SHARE_NS;
        s->shares = !s->alone && fnn_session_shared_ns(s, s->max_rows, FNN_SHARE_LEAST_NS) > 0;
        status = fnn_session_fit_threads(s);
    }
    fnn_free(all);
    return status;
}

double fnn_session_shared_ns(const fnn_session *s, int64_t rows, double share_ns) {
    double shared = 0;
    for (int i = 0; i < s->n_phases; i++) {
        double ns = s->phases[i].ns_row * (double)rows + s->phases[i].ns_fixed;
        if (ns > share_ns) shared += ns;
    }
    return shared;
}

int fnn_session_fit_threads(fnn_session *s) {
    int threads = s->shares ? fnn_get_threads() : 1;
    if (threads <= s->threads) return FNN_OK;
    char *scratch = fnn_alloc((size_t)threads * FNN_SCRATCH);
    fnn_error *faults = fnn_new((size_t)threads, sizeof *faults);
    if (!scratch || !faults) {
        fnn_free(scratch);
        fnn_free(faults);
        return FNN_ERR_MEMORY;
    }
    fnn_free(s->scratch);
    fnn_free(s->faults);
    s->scratch = scratch;
    s->faults = faults;
    s->threads = threads;
    return FNN_OK;
}

static int session_new(fnn_model *model, int mode, int64_t max_rows, int flags, bool measures, fnn_session **out,
                       fnn_error *err) {
    if (mode < FNN_PREDICT || mode > FNN_GRADIENTS)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "unknown mode %d", mode);
    if (flags & ~(FNN_TRAINING | FNN_ONE_THREAD | FNN_GUARD | FNN_EXCHANGE)) return fnn_fail(err, FNN_ERR_ARGUMENT, "unknown flags %d", flags);
    if (max_rows < 1 || max_rows > FNN_MAX_ROWS)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a session for %lld rows: at least 1, at most 2^40",
                        (long long)max_rows);
    if ((uint64_t)max_rows > SIZE_MAX / 64)
        return fnn_fail(err, FNN_ERR_LIMIT, "a session for %lld rows: too many for this machine", (long long)max_rows);
    if (mode == FNN_TRAIN && model->file && !fnn_model_trains(model))
        return fnn_fail(err, FNN_ERR_STATE, "the model has no loss to train for: compile it in Python, and save it again");
    fnn_session *s = fnn_new(1, sizeof *s);
    if (!s) return fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    fnn_model_keep(model);
    s->model = model;
    s->mode = mode;
    s->training = mode == FNN_TRAIN || (flags & FNN_TRAINING);
    s->alone = flags & FNN_ONE_THREAD;
    s->guarded = flags & FNN_GUARD;
    s->exchanges = (flags & FNN_EXCHANGE) && mode == FNN_TRAIN;
    s->parts = 1;
    s->max_rows = max_rows;
    s->bytes = sizeof *s;
    planner w = {.s = s, .p = &model->program, .mixing = -1, .measures = measures};
    uint64_t host = fnn_fp_enter();   /* estimates are in floating point */
    int status = plan_into(&w);
    fnn_fp_restore(host);
    if (status == FNN_OK) {
        *out = s;
        return FNN_OK;
    }
    double need = (double)s->bytes;
    fnn_session_free(s);
    if (status == FNN_ERR_ARGUMENT) {
        const fnn_node *n = &model->program.nodes[w.mixing];
        return fnn_fail(err, status, "'%.100s', made by %s, needs all rows of a batch at once, and here they are shared out",
                        n->n_out ? model->program.tensors[n->out[0]].name : "a statistic", fnn_ops[n->op].name);
    }
    if (status == FNN_ERR_LIMIT)
        return fnn_fail(err, status, "batches of %lld rows are too large for this program",
                        (long long)max_rows);
    return fnn_fail(err, status, "out of memory: a session for %lld rows needs %.1f MB", (long long)max_rows,
                    need / 1e6);
}

int fnn_session_create(fnn_model *model, int mode, int64_t max_rows, int flags, fnn_session **out, fnn_error *err) {
    if (out) *out = NULL;
    if (!model || !out) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model, or no place for a session");
    fnn_error own;
    return fnn_model_told(model, session_new(model, mode, max_rows, flags, false, out, &own), &own, err);
}

int fnn_session_size(fnn_model *model, int mode, int64_t max_rows, int flags, size_t *bytes, fnn_error *err) {
    if (!model || !bytes) return fnn_fail(err, FNN_ERR_ARGUMENT, "no model, or no place for the size");
    fnn_error own;
    fnn_session *s = NULL;
    int status = session_new(model, mode, max_rows, flags, true, &s, &own);
    if (status == FNN_OK) {
        s->threads = s->alone ? 1 : fnn_get_threads();
        *bytes = fnn_session_bytes(s);
        fnn_session_free(s);
    }
    return fnn_model_told(model, status, &own, err);
}

void fnn_session_free(fnn_session *s) {
    if (!s) return;
    fnn_free(s->ports);
    fnn_free(s->readers);
    fnn_free(s->views);
    fnn_free(s->sums);
    fnn_free(s->chosen);
    fnn_free(s->faults);
    fnn_free(s->stages);
    fnn_free(s->phases);
    fnn_free(s->optimizers);
    fnn_free(s->zones);
    fnn_free(s->arena);
    fnn_free(s->scratch);
    fnn_model_drop(s->model);
    fnn_free(s);
}

size_t fnn_session_bytes(const fnn_session *s) {
    return s ? s->bytes + (size_t)s->threads * (FNN_SCRATCH + sizeof *s->faults) : 0;
}

int fnn_session_check(const fnn_session *s, fnn_error *err) {
    for (int i = 0; i < s->n_zones; i++)
        for (size_t b = s->zones[i].start; b < s->zones[i].end; b++)
            if ((unsigned char)s->arena[b] != FNN_SENTINEL)
                return fnn_fail(err, FNN_ERR_STATE,
                                "the sentinel before buffer %d was overwritten %lld bytes after its start", i,
                                (long long)(b - s->zones[i].start));
    return FNN_OK;
}
