/* Programs: read from their text and verified, so that nothing after this file has to check one again. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading: a cursor over one line; every reader says whether it succeeded ---- */

typedef struct { const char *at, *end; } cursor;

static bool take(cursor *c, char expected) {
    if (c->at == c->end || *c->at != expected) return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    if (c->at + n < c->end && c->at[n] != ' ') return false;
    c->at += n;
    if (c->at < c->end) c->at++;
    return true;
}

static bool is_line(cursor c, const char *text) {
    return (size_t)(c.end - c.at) == strlen(text) && memcmp(c.at, text, strlen(text)) == 0;
}

static bool take_int(cursor *c, int64_t max, int64_t *out) {
    int64_t value = 0;
    const char *start = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        value = value * 10 + (*c->at - '0');
        if (value > max) return false;
    }
    *out = value;
    return c->at - start == 1 || (c->at > start && *start != '0');
}

static int hex_digit(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    if (ch >= 'a' && ch <= 'f') return ch - 'a' + 10;
    return -1;
}

/* A C99 hexadecimal floating constant as Python's float.hex() writes it, "-0x1.8p+3" with at most 13 digits behind the
 * point: exact, and no locale. */
static bool take_real(cursor *c, double *out) {
    const bool negative = take(c, '-');
    if (!take(c, '0') || !take(c, 'x')) return false;
    uint64_t mantissa = take(c, '1');
    if (!mantissa && !take(c, '0')) return false;
    int fraction = 0, digits = 0;
    if (take(c, '.')) {
        for (int d; c->at < c->end && (d = hex_digit(*c->at)) >= 0; c->at++, fraction++) {
            if (fraction == 13) return false;
            mantissa = mantissa * 16 + (uint64_t)d;
        }
        if (fraction == 0) return false;
    }
    if (!take(c, 'p')) return false;
    const bool down = take(c, '-');
    if (!down && !take(c, '+')) return false;
    int exponent = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++, digits++) {
        if (digits == 4) return false;
        exponent = exponent * 10 + (*c->at - '0');
    }
    if (digits == 0) return false;
    const double value = ldexp((double)mantissa, (down ? -exponent : exponent) - 4 * fraction);
    *out = negative ? -value : value;
    return isfinite(value);
}

/* "a,b,c" or "-", then a space or the end. */
static bool take_ids(cursor *c, int max_count, int n_tensors, int *ids, int *count) {
    *count = 0;
    if (take(c, '-')) return c->at == c->end || take(c, ' ');
    do {
        int64_t id;
        if (*count == max_count || !take_int(c, FNN_MAX_TENSORS, &id) || id >= n_tensors) return false;
        ids[(*count)++] = (int)id;
    } while (take(c, ','));
    return c->at == c->end || take(c, ' ');
}

static bool take_reals(cursor *c, int max_count, double *values, int *count) {
    *count = 0;
    if (c->end - c->at == 1 && take(c, '-')) return true;
    do {
        if (*count == max_count || !take_real(c, &values[*count])) return false;
        (*count)++;
    } while (take(c, ','));
    return c->at == c->end;
}

static bool take_tensor_or_none(cursor *c, int n_tensors, int *id) {
    if (take(c, '-')) { *id = -1; return take(c, '1') && (c->at == c->end || take(c, ' ')); }
    int64_t value;
    if (!take_int(c, FNN_MAX_TENSORS, &value) || value >= n_tensors) return false;
    *id = (int)value;
    return c->at == c->end || take(c, ' ');
}

/* ---- the three kinds of lines ---- */

static bool read_shape(cursor *c, fnn_tensor *t) {
    t->lead = t->cols = 1;
    if (take(c, '-')) return c->at == c->end || take(c, ' ');
    do {
        if (t->ndim == FNN_MAX_DIMS) return false;
        if (t->ndim == 0 && take(c, 'B')) {
            t->batched = true;
            t->dim[t->ndim++] = 1;
        } else {
            int64_t d;
            if (!take_int(c, FNN_MAX_ELEMENTS, &d) || d < 1) return false;
            t->dim[t->ndim++] = d;
        }
    } while (take(c, ','));
    if (!(t->ndim == 1 && t->batched)) t->cols = t->dim[t->ndim - 1];
    for (int i = 0; i + 1 < t->ndim; i++)
        if (!fnn_mul(t->lead, t->dim[i], &t->lead)) return false;
    int64_t all;
    if (!fnn_mul(t->lead, t->cols, &all) || all > FNN_MAX_ELEMENTS) return false;
    return c->at == c->end || take(c, ' ');
}

static const char *const kind_names[] = {"input", "target", "weight", "param", "temp"};
static const char *const type_names[] = {"float32", "float64", "int32", "int8", "bfloat16", "csr"};

static int read_tensor(cursor c, int index, fnn_program *p, fnn_error *err) {
    fnn_tensor t = {.producer = -1};
    int64_t id;
    if (!take_int(&c, FNN_MAX_TENSORS, &id) || id != index || !take(&c, ' '))
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: expected its number", index);
    int kind = 0, type = 0;
    while (kind < 5 && !take_word(&c, kind_names[kind])) kind++;
    if (kind == 5) return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: unknown kind", index);
    while (type < 6 && !take_word(&c, type_names[type])) type++;
    if (type == 6) return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: unknown type", index);
    t.kind = (fnn_tensor_kind)kind;
    t.type = (fnn_type)type;
    const bool narrow = t.type == TYPE_I8 || t.type == TYPE_BF16;
    if (!narrow && t.type != TYPE_I32 && t.type != TYPE_CSR && t.type != p->real)
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: %s in a program of %s", index, type_names[type],
                        type_names[p->real]);
    if (!read_shape(&c, &t))
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: bad shape, or too large", index);
    bool batched = t.kind == KIND_INPUT || t.kind == KIND_TARGET || t.kind == KIND_WEIGHT;
    if (batched && !t.batched)
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: a %s needs a batch dimension", index,
                        kind_names[kind]);
    if (t.kind == KIND_PARAM && (t.batched || t.type == TYPE_I32))
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: a param is real and has no batch dimension", index);
    if (t.kind == KIND_WEIGHT && (t.ndim != 1 || t.type == TYPE_I32))
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: a weight is real and of shape B", index);
    if (t.type == TYPE_I32 && t.kind != KIND_TARGET && t.kind != KIND_INPUT)
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: only inputs and targets are int32", index);
    if (t.type == TYPE_CSR && (t.kind != KIND_INPUT || t.ndim != 2))
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: only inputs of rows are csr", index);
    if (narrow && (t.kind != KIND_PARAM || t.ndim != 2 || (t.type == TYPE_I8 ? p->real != TYPE_F32 : !p->mixed)))
        return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: only matrices among the params of a %s program are %s",
                        index, t.type == TYPE_I8 ? "float32" : "mixed_bfloat16", type_names[type]);
    size_t length = (size_t)(c.end - c.at);
    if (memchr(c.at, 0, length)) return fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d: a zero in its name", index);
    if (length > FNN_MAX_NAME)
        return fnn_fail(err, FNN_ERR_LIMIT, "tensor %d: a name of %lld bytes, at most %d", index,
                        (long long)length, FNN_MAX_NAME);
    t.name = fnn_new(length + 1, 1);
    if (!t.name) return fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    memcpy(t.name, c.at, length);
    p->tensors[p->n_tensors++] = t;
    return FNN_OK;
}

static bool same_shape(const fnn_tensor *a, const fnn_tensor *b) {
    return a->batched == b->batched && a->ndim == b->ndim &&
           memcmp(a->dim, b->dim, sizeof(int64_t) * (size_t)a->ndim) == 0;
}

/* ---- shape rules ---- */

/* Are the dimensions [from, to) of both tensors the same? */
static bool same_dims(const fnn_tensor *a, const fnn_tensor *b, int from, int to) {
    for (int i = from; i < to; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

/* Is `rows` of the shape of `full` less its last dimension? */
static bool per_row(const fnn_tensor *rows, const fnn_tensor *full) {
    return rows->batched && full->batched && full->ndim >= 2 && rows->ndim == full->ndim - 1 &&
           same_dims(rows, full, 0, rows->ndim);
}

static bool same_but_last(const fnn_tensor *a, const fnn_tensor *b) {
    return a->batched == b->batched && a->ndim == b->ndim && a->ndim >= 2 && same_dims(a, b, 0, a->ndim - 1);
}

/* `full` with 1 in place of its last dimension? */
static bool last_is_one(const fnn_tensor *t, const fnn_tensor *full) {
    return t->ndim == full->ndim && t->batched == full->batched && same_dims(t, full, 0, full->ndim - 1) &&
           t->dim[t->ndim - 1] == 1;
}

/* Rows of a batch, each a vector. */
static bool is_rows(const fnn_tensor *t) { return t->batched && t->ndim >= 2; }
static bool is_matrix(const fnn_tensor *t) { return !t->batched && t->ndim == 2; }
/* One number for each column of x. */
static bool is_column_wise(const fnn_tensor *t, const fnn_tensor *x) {
    return !t->batched && t->ndim == 1 && t->dim[0] == x->cols;
}

static bool whole(double x, int64_t max) { return x >= 0 && x <= (double)max && x == floor(x); }
static bool is_key(double x) { return whole(x, 65535); }

/* An axis other than the batch, -1 where the attribute is none. */
static int axis_of(const fnn_tensor *t, double attr) {
    return whole(attr, FNN_MAX_DIMS) && attr >= t->batched && attr < t->ndim ? (int)attr : -1;
}

/* Elementwise: dimensions are aligned from the last; all tensors with a batch have the output's rank, which
 * those without stay below. */
static bool broadcasts(const fnn_tensor *const *in, int n, const fnn_tensor *out) {
    bool batched = false, larger[FNN_MAX_DIMS] = {false};
    int rank = 0;
    for (int i = 0; i < n; i++) {
        batched |= in[i]->batched;
        if (in[i]->ndim > rank) rank = in[i]->ndim;
    }
    if (batched != out->batched || rank != out->ndim) return false;
    for (int i = 0; i < n; i++) {
        if (in[i]->batched ? in[i]->ndim != rank : batched && in[i]->ndim == rank) return false;
        for (int d = 0; d < in[i]->ndim; d++) {
            int at = d + rank - in[i]->ndim;
            if (in[i]->dim[d] != 1 && in[i]->dim[d] != out->dim[at]) return false;
            larger[at] |= in[i]->dim[d] == out->dim[at];
        }
    }
    for (int d = 0; d < rank; d++)
        if (!larger[d] && out->dim[d] != 1) return false;
    return true;
}

static bool reduces(const fnn_node *n, const fnn_tensor *in, const fnn_tensor *out) {
    if (in->ndim != out->ndim || in->batched != out->batched) return false;
    if (n->op == OP_argmax) return in->ndim > in->batched && last_is_one(out, in);
    for (int d = 0; d < in->ndim; d++)
        if (out->dim[d] != in->dim[d] && out->dim[d] != 1) return false;
    return true;
}

static bool widens(const fnn_tensor *in, const fnn_tensor *out) {
    if (in->ndim > out->ndim || (in->batched && (!out->batched || in->ndim != out->ndim)) ||
        (!in->batched && out->batched && in->ndim == out->ndim))
        return false;
    for (int d = 0; d < in->ndim; d++)
        if (in->dim[d] != 1 && in->dim[d] != out->dim[d + out->ndim - in->ndim]) return false;
    return true;
}

static bool joins(const fnn_program *p, const fnn_node *n, const fnn_tensor *out) {
    int axis = axis_of(out, n->attr[0]);
    if (axis < 0) return false;
    int64_t total = 0;
    for (int i = 0; i < n->n_in; i++) {
        fnn_tensor part = p->tensors[n->in[i]];
        if (part.ndim != out->ndim || !fnn_add(total, part.dim[axis], &total)) return false;
        part.dim[axis] = out->dim[axis];
        if (!same_shape(&part, out)) return false;
    }
    return total == out->dim[axis];
}

/* Is `part` what a cut of `all` gives? */
static bool cuts(const fnn_node *n, const fnn_tensor *all, const fnn_tensor *part) {
    int axis = axis_of(all, n->attr[0]);
    if (axis < 0 || !whole(n->attr[1], FNN_MAX_ELEMENTS) || all->ndim != part->ndim) return false;
    int64_t end;
    fnn_tensor kept = *all;
    kept.dim[axis] = part->dim[axis];
    return same_shape(&kept, part) && fnn_add((int64_t)n->attr[1], part->dim[axis], &end) &&
           end <= all->dim[axis];
}

static bool permutes(const fnn_node *n, const fnn_tensor *in, const fnn_tensor *out) {
    if (in->ndim != out->ndim || in->batched != out->batched ||
        !whole(n->attr[0], ((int64_t)1 << 3 * in->ndim) - 1))
        return false;
    int code = (int)n->attr[0];
    unsigned seen = 0;
    for (int d = 0; d < out->ndim; d++) {
        int from = code >> 3 * d & 7;
        if (from >= in->ndim || seen >> from & 1 || out->dim[d] != in->dim[from]) return false;
        seen |= 1u << from;
    }
    return !in->batched || (code & 7) == 0;
}

/* The one input that is int32, -1 if there is none. */
static int integer_input(fnn_rule rule) {
    switch (rule) {
    case RULE_ONE_HOT: case RULE_TO_REAL: return 0;
    case RULE_LOSS_IDX: case RULE_EMBED: case RULE_EMBED_GRAD: return 1;
    case RULE_LOSS_IDX_GRAD: return 2;
    default: return -1;
    }
}

/* Is the i-th input of sparse rows? */
static bool reads_csr(fnn_rule rule, int i) {
    return i == 0 && (rule == RULE_MATMUL_CSR || rule == RULE_MATMUL_CSR_TN);
}

/* May the i-th input be of this type? */
static bool type_fits(const fnn_program *p, fnn_rule rule, int i, fnn_type type) {
    if (i == integer_input(rule)) return type == TYPE_I32;
    if (reads_csr(rule, i)) return type == TYPE_CSR;
    if (rule == RULE_MATMUL_INT8 && i == 1) return type == TYPE_I8;
    return type == p->real || (type == TYPE_BF16 && rule == RULE_MATMUL && i == 1);
}

static bool same_rule_holds(const fnn_node *n, const fnn_tensor *const *in, const fnn_tensor *out) {
    for (int i = 1; i < n->n_in; i++)
        if (!same_shape(in[0], in[i])) return false;
    if (!same_shape(in[0], out)) return false;
    switch (n->op) {
    case OP_softmax: case OP_log_softmax: case OP_softmax_grad: case OP_log_softmax_grad:
        return is_rows(in[0]);
    case OP_dropout: return in[0]->batched && n->attr[0] >= 0 && n->attr[0] < 1 && is_key(n->attr[1]);
    case OP_mix: case OP_mix_grad: return in[0]->batched && n->attr[0] > 0 && is_key(n->attr[1]);
    case OP_penalty_grad: case OP_clip_value: return !in[0]->batched;
    default: return true;
    }
}

static bool rule_holds(const fnn_program *p, const fnn_node *n) {
    const fnn_tensor *in[FNN_MAX_IN], *out[FNN_MAX_OUT];
    const fnn_rule rule = fnn_ops[n->op].rule;
    for (int i = 0; i < n->n_in; i++) {
        in[i] = &p->tensors[n->in[i]];
        if (!type_fits(p, rule, i, in[i]->type)) return false;
    }
    for (int i = 0; i < n->n_out; i++) {
        out[i] = &p->tensors[n->out[i]];
        if (out[i]->type != p->real) return false;
    }
    switch (rule) {
    case RULE_SAME: return same_rule_holds(n, in, out[0]);
    case RULE_MAP: return broadcasts(in, n->n_in, out[0]);
    case RULE_MATMUL: case RULE_MATMUL_CSR:
        return is_matrix(in[1]) && in[0]->ndim >= 2 && in[0]->cols == in[1]->dim[0] &&
               same_but_last(in[0], out[0]) && out[0]->cols == in[1]->dim[1];
    case RULE_MATMUL_INT8:
        return is_matrix(in[1]) && in[0]->ndim >= 2 && in[0]->cols == in[1]->dim[0] &&
               same_but_last(in[0], out[0]) && out[0]->cols == in[1]->dim[1] && is_column_wise(in[2], out[0]);
    case RULE_MATMUL_NT:
        return is_matrix(in[1]) && in[0]->ndim >= 2 && in[0]->cols == in[1]->dim[1] &&
               same_but_last(in[0], out[0]) && out[0]->cols == in[1]->dim[0];
    case RULE_MATMUL_TN: case RULE_MATMUL_CSR_TN:
        return same_but_last(in[0], in[1]) && is_matrix(out[0]) && out[0]->dim[0] == in[0]->cols &&
               out[0]->dim[1] == in[1]->cols;
    case RULE_BIAS: return is_rows(in[0]) && is_column_wise(in[1], in[0]) && same_shape(in[0], out[0]);
    case RULE_SUM_ROWS: return is_rows(in[0]) && is_column_wise(out[0], in[0]);
    case RULE_REDUCE: return reduces(n, in[0], out[0]);
    case RULE_BROADCAST: return widens(in[0], out[0]);
    case RULE_SPREAD: return is_rows(out[0]) && is_column_wise(in[0], out[0]);
    case RULE_MOMENTS:
        return is_rows(in[0]) && is_column_wise(out[0], in[0]) && is_column_wise(out[1], in[0]);
    case RULE_MOMENTS_GRAD:
        return is_rows(in[2]) && is_column_wise(in[0], in[2]) && is_column_wise(in[1], in[2]) &&
               is_column_wise(in[3], in[2]) && same_shape(in[2], out[0]);
    case RULE_NORM:
        return is_rows(in[0]) && n->attr[0] >= 0 && same_shape(in[0], out[0]) && last_is_one(out[1], in[0]);
    case RULE_NORM_GRAD:
        return is_rows(in[1]) && same_shape(in[0], in[1]) && last_is_one(in[2], in[1]) &&
               same_shape(in[1], out[0]);
    case RULE_CONCAT: return joins(p, n, out[0]);
    case RULE_SLICE: return cuts(n, in[0], out[0]);
    case RULE_PAD: return cuts(n, out[0], in[0]);
    case RULE_RESHAPE:
        return in[0]->batched == out[0]->batched && in[0]->lead * in[0]->cols == out[0]->lead * out[0]->cols;
    case RULE_TRANSPOSE: return permutes(n, in[0], out[0]);
    case RULE_FULL: return !out[0]->batched;
    case RULE_EMBED: return is_matrix(in[0]) && per_row(in[1], out[0]) && out[0]->cols == in[0]->dim[1];
    case RULE_EMBED_GRAD: return is_matrix(out[0]) && per_row(in[1], in[0]) && in[0]->cols == out[0]->dim[1];
    case RULE_ONE_HOT: return per_row(in[0], out[0]);
    case RULE_TO_REAL: return in[0]->batched && same_shape(in[0], out[0]);
    case RULE_RANDOM:
        return out[0]->batched && is_key(n->attr[2]) &&
               (n->op == OP_random_uniform ? n->attr[0] <= n->attr[1] : n->attr[1] >= 0);
    case RULE_WARP:
        return in[0]->batched && in[0]->ndim == 4 && in[1]->batched && in[1]->ndim == 2 && in[1]->cols == 6 &&
               whole(n->attr[0], 3) && same_shape(in[0], out[0]);
    case RULE_LOSS:
        return same_shape(in[0], in[1]) && per_row(out[0], in[0]) &&
               (n->n_out == 1 || same_shape(out[1], in[0]));
    case RULE_LOSS_IDX:
        return per_row(in[1], in[0]) && per_row(out[0], in[0]) &&
               (n->n_out == 1 || same_shape(out[1], in[0]));
    case RULE_LOSS_GRAD:
        return per_row(in[0], in[1]) && same_shape(in[1], in[2]) && same_shape(in[1], out[0]);
    case RULE_LOSS_IDX_GRAD:
        return per_row(in[0], in[1]) && per_row(in[2], in[1]) && same_shape(in[1], out[0]);
    case RULE_SEED: return in[0]->batched && in[0]->ndim == 1 && out[0]->batched;
    case RULE_SCALAR: return !in[0]->batched && out[0]->ndim == 0;
    case RULE_CLIP: return !in[0]->batched && in[1]->ndim == 0 && same_shape(in[0], out[0]);
    case RULE_UPDATE: return in[0]->kind == KIND_PARAM && same_shape(in[0], in[1]) && n->in[0] != n->in[1];
    case RULE_LAYOUT: return false;   /* fnn_program_lower's own */
    }
    return false;
}

static int find_op(cursor *c) {
    for (int op = 0; op < OP_COUNT; op++)
        if (fnn_ops[op].rule != RULE_LAYOUT && take_word(c, fnn_ops[op].name)) return op;
    return -1;
}

static int attr_count(const char *names) {
    int n = *names != 0;
    for (; *names; names++) n += *names == ',';
    return n;
}

static int read_node(cursor c, int index, fnn_program *p, bool *updating, fnn_error *err) {
    fnn_node n = {0};
    n.op = find_op(&c);
    if (n.op < 0) return fnn_fail(err, FNN_ERR_PROGRAM, "node %d: unknown op", index);
    const fnn_op_info *info = &fnn_ops[n.op];
    if (!take_ids(&c, FNN_MAX_IN, p->n_tensors, n.in, &n.n_in) ||
        !take_ids(&c, FNN_MAX_OUT, p->n_tensors, n.out, &n.n_out) ||
        !take_reals(&c, FNN_MAX_ATTR, n.attr, &n.n_attr))
        return fnn_fail(err, FNN_ERR_PROGRAM, "node %d (%s): bad inputs, outputs or attributes", index,
                        info->name);
    if ((info->inputs == VARIADIC ? n.n_in < 1 : n.n_in != info->inputs) || n.n_out != info->outputs ||
        n.n_attr != attr_count(info->attrs))
        return fnn_fail(err, FNN_ERR_PROGRAM,
                        "node %d (%s): %d inputs, %d outputs, %d attributes do not fit the op", index,
                        info->name, n.n_in, n.n_out, n.n_attr);
    for (int i = 0; i < n.n_in; i++) {
        const fnn_tensor *t = &p->tensors[n.in[i]];
        if (t->kind == KIND_TEMP && t->producer < 0)
            return fnn_fail(err, FNN_ERR_PROGRAM, "node %d (%s): reads tensor %d before it is written", index,
                            info->name, n.in[i]);
        if (t->updated)
            return fnn_fail(err, FNN_ERR_PROGRAM, "node %d (%s): reads tensor %d after its update", index,
                            info->name, n.in[i]);
    }
    if (!rule_holds(p, &n))
        return fnn_fail(err, FNN_ERR_PROGRAM, "node %d (%s): the shapes do not fit", index, info->name);
    for (int i = 0; i < n.n_out; i++) {
        fnn_tensor *t = &p->tensors[n.out[i]];
        if (t->kind != KIND_TEMP || t->producer >= 0)
            return fnn_fail(err, FNN_ERR_PROGRAM, "node %d (%s): tensor %d is not its own to write", index,
                            info->name, n.out[i]);
        t->producer = index;
    }
    if (info->rule == RULE_UPDATE) {
        *updating = true;
        int slots = fnn_op_slots(n.op, n.attr);
        if (slots > p->slots) p->slots = slots;
        p->tensors[n.in[0]].updated = true;
    } else if (*updating) {
        return fnn_fail(err, FNN_ERR_PROGRAM, "node %d (%s): stands after an update", index, info->name);
    }
    p->nodes[p->n_nodes++] = n;
    return FNN_OK;
}

static int read_root(cursor c, int index, fnn_program *p, fnn_error *err) {
    static const char *const names[] = {"output", "loss", "metric", "penalty", "grad", "tally"};
    fnn_root r = {.other = -1, .factor = 1};
    int kind = 0;
    while (kind < 6 && !take_word(&c, names[kind])) kind++;
    r.kind = (fnn_root_kind)kind;
    bool good = kind < 6 && take_tensor_or_none(&c, p->n_tensors, &r.tensor) && r.tensor >= 0;
    if (good && (r.kind == ROOT_LOSS || r.kind == ROOT_METRIC)) {
        cursor number;
        good = take_tensor_or_none(&c, p->n_tensors, &r.other);
        number.at = c.at;
        while (c.at < c.end && *c.at != ' ') c.at++;
        number.end = c.at;
        good = good && take_real(&number, &r.factor) && number.at == number.end;
        take(&c, ' ');
    } else if (good && r.kind == ROOT_GRAD) {
        good = take_tensor_or_none(&c, p->n_tensors, &r.other) && r.other >= 0;
    }
    if (good && (r.kind == ROOT_GRAD || r.kind == ROOT_PENALTY)) good = c.at == c.end && c.end[-1] != ' ';
    if (!good) return fnn_fail(err, FNN_ERR_PROGRAM, "root %d does not parse", index);
    const fnn_tensor *t = &p->tensors[r.tensor], *other = r.other >= 0 ? &p->tensors[r.other] : NULL;
    if (t->kind == KIND_TEMP && t->producer < 0)
        return fnn_fail(err, FNN_ERR_PROGRAM, "root %d: tensor %d is never written", index, r.tensor);
    switch (r.kind) {
    case ROOT_OUTPUT: good = t->batched && t->kind == KIND_TEMP; break;
    case ROOT_LOSS: case ROOT_METRIC:
        good = t->batched && t->type == p->real && (!other || other->kind == KIND_WEIGHT); break;
    case ROOT_PENALTY: good = t->ndim == 0 && t->kind == KIND_TEMP; break;
    case ROOT_GRAD:
        good = same_shape(t, other) && t->kind == KIND_TEMP &&
               (other->kind == KIND_PARAM || (other->kind == KIND_INPUT && other->type == p->real));
        break;
    case ROOT_TALLY:
        good = !t->batched && t->kind == KIND_TEMP && fnn_add(p->tallied, t->lead * t->cols, &p->tallied);
        if (good && p->tallied > FNN_MAX_TALLIED)
            return fnn_fail(err, FNN_ERR_LIMIT, "root %d: tallies of more than %d numbers", index,
                            FNN_MAX_TALLIED);
        break;
    }
    if (!good) return fnn_fail(err, FNN_ERR_PROGRAM, "root %d: tensor %d cannot be one", index, r.tensor);
    const size_t length = (size_t)(c.end - c.at);
    if (memchr(c.at, 0, length)) return fnn_fail(err, FNN_ERR_PROGRAM, "root %d: a zero in its name", index);
    if (length > FNN_MAX_NAME)
        return fnn_fail(err, FNN_ERR_LIMIT, "root %d: a name of %lld bytes, at most %d", index, (long long)length,
                        FNN_MAX_NAME);
    r.name = fnn_new(length + 1, 1);
    if (!r.name) return fnn_fail(err, FNN_ERR_MEMORY, "out of memory");
    memcpy(r.name, c.at, length);
    p->roots[p->n_roots++] = r;
    return FNN_OK;
}

int fnn_program_parse(const char *text, size_t length, fnn_program *p, fnn_error *err) {
    memset(p, 0, sizeof *p);
    if (length > FNN_MAX_TEXT)
        return fnn_fail(err, FNN_ERR_LIMIT, "a program of %lld bytes, at most %lld", (long long)length,
                        (long long)FNN_MAX_TEXT);
    int64_t lines[3] = {0};
    cursor all = {text, text + length};
    for (const char *at = all.at; at < all.end;) {
        const char *end = memchr(at, '\n', (size_t)(all.end - at));
        if (!end) return fnn_fail(err, FNN_ERR_PROGRAM, "the last line does not end");
        cursor c = {at, end};
        if (take_word(&c, "tensor")) lines[0]++;
        else if (take_word(&c, "node")) lines[1]++;
        else if (take_word(&c, "root")) lines[2]++;
        at = end + 1;
    }
    if (lines[0] > FNN_MAX_TENSORS || lines[1] > FNN_MAX_NODES || lines[2] > FNN_MAX_TENSORS)
        return fnn_fail(err, FNN_ERR_LIMIT, "%lld tensors, %lld nodes and %lld roots: too many",
                        (long long)lines[0], (long long)lines[1], (long long)lines[2]);
    p->tensors = fnn_new((size_t)lines[0] + 1, sizeof *p->tensors);
    p->nodes = fnn_new((size_t)lines[1] + 1, sizeof *p->nodes);
    p->roots = fnn_new((size_t)lines[2] + 1, sizeof *p->roots);
    int status = p->tensors && p->nodes && p->roots ? FNN_OK : fnn_fail(err, FNN_ERR_MEMORY, "out of memory");

    bool updating = false;
    int64_t line = 0;
    for (const char *at = all.at; status == FNN_OK && at < all.end; line++) {
        const char *end = memchr(at, '\n', (size_t)(all.end - at));
        cursor c = {at, end};
        if (line == 0) {
            if (!is_line(c, "fastnn-program 1"))
                status = fnn_fail(err, FNN_ERR_PROGRAM, "not a program of format 1");
        } else if (line == 1) {
            if (is_line(c, "dtype float32")) p->real = TYPE_F32;
            else if (is_line(c, "dtype float64")) p->real = TYPE_F64;
            else if (is_line(c, "dtype mixed_bfloat16")) p->mixed = true;
            else status = fnn_fail(err, FNN_ERR_PROGRAM, "line 2 must give a known dtype");
        } else if (take_word(&c, "tensor")) {
            status = read_tensor(c, p->n_tensors, p, err);
        } else if (take_word(&c, "node")) {
            status = read_node(c, p->n_nodes, p, &updating, err);
        } else if (take_word(&c, "root")) {
            status = read_root(c, p->n_roots, p, err);
        } else {
            status = fnn_fail(err, FNN_ERR_PROGRAM, "line %lld is of no known kind", (long long)line + 1);
        }
        at = end + 1;
    }
    if (status == FNN_OK && line < 2) status = fnn_fail(err, FNN_ERR_PROGRAM, "not a program of format 1");
    for (int i = 0; status == FNN_OK && i < p->n_tensors; i++)
        if (p->tensors[i].kind == KIND_TEMP && p->tensors[i].producer < 0)
            status = fnn_fail(err, FNN_ERR_PROGRAM, "tensor %d is a temp that no node writes", i);
    if (status != FNN_OK) fnn_program_clear(p);
    return status;
}

void fnn_program_clear(fnn_program *p) {
    for (int i = 0; i < p->n_tensors; i++) fnn_free(p->tensors[i].name);
    for (int i = 0; i < p->n_roots; i++) fnn_free(p->roots[i].name);
    fnn_free(p->tensors);
    fnn_free(p->nodes);
    fnn_free(p->roots);
    memset(p, 0, sizeof *p);
}
