/* Layouts: which matrices without a batch are stored as panels (see fnn_layout), and the copies between the
 * layouts that the program's text knows nothing of.
 *
 * Panels are native to products, so parameters and the gradients of kernels have them, and elementwise work
 * on these that leaves the zeros of the padding alone keeps them. Everything else is row-major. Where an op
 * needs the other layout, a copy of the tensor is made before it, once for all its readers. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    fnn_program *p;
    int *twin;                       /* by tensor: its copy in the other layout, -1 if there is none yet */
    fnn_node *nodes;
    int n_nodes;
} lowering;

static bool is_matrix(const fnn_tensor *t) { return !t->batched && t->ndim == 2; }

/* Do all matrices of this op share one layout, whichever it is? */
static bool follows(const fnn_program *p, const fnn_node *n) {
    switch (n->op) {
    case OP_add: case OP_subtract: case OP_multiply: case OP_penalty_grad: case OP_clip_value:
    case OP_clip_norm: case OP_in_training: break;
    default: return false;
    }
    const fnn_tensor *out = &p->tensors[n->out[0]];
    for (int i = 0; i < n->n_in; i++) {
        const fnn_tensor *in = &p->tensors[n->in[i]];
        bool same = in->ndim == out->ndim && memcmp(in->dim, out->dim, sizeof in->dim) == 0;
        if (!same && !(n->op == OP_clip_norm && i == 1)) return false;
    }
    return is_matrix(out);
}

/* Is the i-th input wanted as panels? */
static bool wants_panels(const fnn_program *p, const fnn_node *n, int i) {
    const fnn_tensor *t = &p->tensors[n->in[i]];
    switch (fnn_ops[n->op].rule) {
    case RULE_MATMUL: case RULE_MATMUL_INT8: case RULE_MATMUL_NT: case RULE_MATMUL_CSR: return i == 1;
    case RULE_EMBED: return i == 0;
    case RULE_UPDATE: return p->tensors[n->in[0]].panel;
    case RULE_SCALAR: return t->panel;   /* as it is */
    default: return n->n_out > 0 && follows(p, n) && p->tensors[n->out[0]].panel;
    }
}

static void add_node(lowering *w, fnn_node n) {
    for (int o = 0; o < n.n_out; o++) w->p->tensors[n.out[o]].producer = w->n_nodes;
    w->nodes[w->n_nodes++] = n;
}

static int in_layout(lowering *w, int tensor, bool panel) {
    fnn_program *p = w->p;
    fnn_tensor *t = &p->tensors[tensor];
    if (!is_matrix(t) || t->panel == panel) return tensor;
    if (w->twin[tensor] < 0) {
        int copy = w->twin[tensor] = p->n_tensors++;
        p->tensors[copy] = *t;
        p->tensors[copy].kind = KIND_TEMP;
        p->tensors[copy].name = NULL;
        p->tensors[copy].updated = false;
        p->tensors[copy].panel = panel;
        add_node(w, (fnn_node){.op = panel ? OP_pack : OP_unpack, .n_in = 1, .n_out = 1, .in = {tensor},
                               .out = {copy}});
    }
    return w->twin[tensor];
}

static void lower_node(lowering *w, fnn_node n) {
    fnn_program *p = w->p;
    const fnn_rule rule = fnn_ops[n.op].rule;
    bool panels = rule == RULE_MATMUL_TN || rule == RULE_MATMUL_CSR_TN || rule == RULE_EMBED_GRAD;
    if (n.n_out > 0 && follows(p, &n))
        for (int i = 0; i < n.n_in; i++) panels |= p->tensors[n.in[i]].panel;
    if (n.n_out > 0) p->tensors[n.out[0]].panel = panels;
    for (int i = 0; i < n.n_in; i++) n.in[i] = in_layout(w, n.in[i], wants_panels(p, &n, i));
    add_node(w, n);
}

int fnn_program_lower(fnn_program *p, fnn_error *err) {
    const size_t tensors = (size_t)p->n_tensors, nodes = (size_t)p->n_nodes;
    lowering w = {.p = p, .twin = fnn_new(tensors + 1, sizeof *w.twin),
                  .nodes = fnn_new(nodes + tensors + 1, sizeof *w.nodes)};
    fnn_tensor *grown = fnn_new(2 * tensors + 1, sizeof *grown);
    if (!w.twin || !w.nodes || !grown) {
        fnn_free(w.twin);
        fnn_free(w.nodes);
        fnn_free(grown);
        return fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    }
    memcpy(grown, p->tensors, tensors * sizeof *grown);
    fnn_free(p->tensors);
    p->tensors = grown;
    for (size_t i = 0; i < tensors; i++) {
        p->tensors[i].panel = p->tensors[i].kind == KIND_PARAM && is_matrix(&p->tensors[i]);
        w.twin[i] = -1;
    }
    for (int i = 0; i < p->n_nodes; i++) lower_node(&w, p->nodes[i]);
    for (int i = 0; i < p->n_roots; i++)
        if (p->roots[i].kind == ROOT_TALLY) p->roots[i].tensor = in_layout(&w, p->roots[i].tensor, false);
    fnn_free(p->nodes);
    fnn_free(w.twin);
    p->nodes = w.nodes;
    p->n_nodes = w.n_nodes;
    return FNN_OK;
}
