/* What the rooms of csrc share: the program, the plan's tasks, the kernel table. */
#ifndef FASTNN_INTERNAL_H
#define FASTNN_INTERNAL_H

#include "engine.h"

#include <stdbool.h>

#define FNN_MAX_IN 16
#define FNN_MAX_OUT 2
#define FNN_MAX_ATTR 8
#define FNN_ALIGN 64

/* ---- ops ---- */

typedef enum {
    RULE_SAME, RULE_MAP, RULE_MATMUL, RULE_MATMUL_INT8, RULE_MATMUL_NT, RULE_MATMUL_TN, RULE_MATMUL_CSR,
    RULE_MATMUL_CSR_TN, RULE_BIAS, RULE_SUM_ROWS, RULE_REDUCE, RULE_BROADCAST, RULE_SPREAD, RULE_MOMENTS, RULE_MOMENTS_GRAD, RULE_NORM, RULE_NORM_GRAD, RULE_CONCAT,
    RULE_SLICE, RULE_PAD, RULE_RESHAPE, RULE_TRANSPOSE, RULE_FULL, RULE_EMBED, RULE_EMBED_GRAD, RULE_ONE_HOT,
    RULE_TO_REAL, RULE_RANDOM, RULE_WARP, RULE_LOSS, RULE_LOSS_GRAD, RULE_LOSS_IDX, RULE_LOSS_IDX_GRAD,
    RULE_SEED, RULE_SCALAR, RULE_CLIP, RULE_UPDATE, RULE_LAYOUT
} fnn_rule;
typedef enum { NEEDS_NONE, NEEDS_X, NEEDS_Y } fnn_needs;

#define VARIADIC -1
enum {
#define OP(name, inputs, outputs, rule, attrs, needs) OP_##name,
#include "ops.def"
#undef OP
    OP_COUNT
};

typedef struct {
    const char *name;
    int inputs, outputs;
    fnn_rule rule;
    const char *attrs;
    fnn_needs needs;
} fnn_op_info;
extern const fnn_op_info fnn_ops[OP_COUNT];
int fnn_op_slots(int op, const double *attr);   /* moments an optimizer op keeps, 0 for other ops */

/* ---- program: a verified list of tensors and nodes ---- */

typedef enum { KIND_INPUT, KIND_TARGET, KIND_WEIGHT, KIND_PARAM, KIND_TEMP } fnn_tensor_kind;
/* I8 and BF16: kernels alone; CSR: inputs alone, sparse rows of the program's real type. */
typedef enum { TYPE_F32, TYPE_F64, TYPE_I32, TYPE_I8, TYPE_BF16, TYPE_CSR } fnn_type;

typedef struct {
    fnn_tensor_kind kind;
    fnn_type type;
    int ndim;                        /* batched tensors: the batch counts as dimension 0 */
    bool batched;
    int64_t dim[FNN_MAX_DIMS];       /* dim[0] is 1 where batched */
    char *name;
    int64_t lead, cols;              /* the product of the other dimensions without the batch; the last one */
    int producer;                    /* node, -1 if none */
    bool updated;                    /* a param that an optimizer writes */
    bool panel;                      /* stored as PANEL: two dimensions, no batch, see fnn_layout */
} fnn_tensor;

typedef struct {
    int op, n_in, n_out, n_attr;
    int in[FNN_MAX_IN], out[FNN_MAX_OUT];
    double attr[FNN_MAX_ATTR];
} fnn_node;

typedef enum { ROOT_OUTPUT, ROOT_LOSS, ROOT_METRIC, ROOT_PENALTY, ROOT_GRAD, ROOT_TALLY } fnn_root_kind;
/* loss, metric: a per-row tensor and the sample weights that go with it (-1: none), factor = loss weight;
 * tally: a tensor without a batch whose elements are summed over the batches of a pass */
typedef struct { fnn_root_kind kind; int tensor, other; double factor; char *name; } fnn_root;

typedef struct {
    fnn_type real;                   /* TYPE_F32 or TYPE_F64 */
    bool mixed;                      /* float32, but products round their operands to bfloat16 */
    int n_tensors, n_nodes, n_roots;
    fnn_tensor *tensors;
    fnn_node *nodes;
    fnn_root *roots;
    int slots;
    int64_t tallied;                 /* elements of all tallies */
} fnn_program;

int fnn_program_parse(const char *text, size_t length, fnn_program *program, fnn_error *err);
int fnn_program_lower(fnn_program *program, fnn_error *err);
void fnn_program_clear(fnn_program *program);

/* ---- how a parameter lies in memory ----
 * FLAT: row-major, contiguous. PANEL: a (rows, cols) kernel as [cols/NR][stride_k][NR], columns padded with
 * zeros to NR, stride_k odd (an even number of 64-byte lines between panels would land in the same cache
 * sets). Kernels of int8 and bfloat16 are PANEL in pairs, [cols/NR][stride_k][NR][2]: rows 2 i and 2 i + 1 beside
 * each other, stride_k counting pairs, zeros in the place of a missing row. Work on parameters is cut into items that lie one after the other in memory, so a range of items is
 * a range of elements; the cut depends on the layout alone, never on threads. */
typedef struct {
    bool panel, pairs;
    int64_t rows, cols, nr, mr, stride_k;
    int64_t size;                    /* elements, padding included */
    int64_t tiles_k, items;
} fnn_layout;
#define FNN_FLAT_ITEM 256            /* elements an item of a FLAT layout */
/* First element of item i; i == items gives size. PANEL: item = panel * tiles_k + tile; the padding row
 * belongs to the last tile of its panel. */
static inline int64_t fnn_item_start(const fnn_layout *l, int64_t i) {
    if (!l->panel) { int64_t at = i * FNN_FLAT_ITEM; return at < l->size ? at : l->size; }
    return (i / l->tiles_k) * l->stride_k * l->nr + (i % l->tiles_k) * l->mr * l->nr;
}

/* ---- kernels ---- */

/* What changes from step to step; one per session, seen by all its tasks. */
typedef struct {
    int64_t rows;                    /* samples in this batch, of this session's share */
    int64_t whole;                   /* of all shares */
    double lr;
    int64_t iteration;               /* updates made, this one included: 1 at the first */
    uint64_t seed, epoch;
    const int64_t *sample;           /* (rows) global sample indices */
} fnn_step;

/* A matrix operand: element (r, c) of a batched tensor stands at p[r * ld + c]. */
typedef struct { void *p; int64_t ld, cols, lead; } fnn_view;
/* What the arena has of a sparse row: the values [first, end) of the caller's matrix. */
typedef struct { int64_t first, end; } fnn_extent;

/* How the operands of MAP, REDUCE, BROADCAST and TRANSPOSE are walked: element (i0, i1, ...) of sample s of an
 * operand stands at p + s * sample + i0 * stride[0] + i1 * stride[1] + ...; a stride is 0 where the operand is
 * broadcast (or the output reduced). `dim` are those of the output, for REDUCE those of the input; neighbours
 * that all operands walk alike are one. */
enum { WALK_OUT = 3 };               /* operand of the output; 0 to 2 are inputs */
typedef struct {
    int n;                           /* dimensions without the batch, 1 or more */
    bool whole;                      /* samples follow each other as dimension 0 does: n samples are one with n * dim[0] */
    int64_t dim[FNN_MAX_DIMS], sample[4], stride[4][FNN_MAX_DIMS];
} fnn_walk;

typedef struct fnn_task fnn_task;
/* Ranges [lo, hi): matrix rows for batched work, but samples for walks, concat, slice, pad, reshape, warp, mix
 * and random draws; elements of a FLAT or PANEL buffer for elementwise work on parameters (seen as a matrix of
 * one column); items of the output's layout for matmul_tn; columns for sum_rows, mean_rows and batch_moments;
 * columns, whole panels, of the table for embedding_grad, of the gradient for matmul_csr_tn and of w for a matmul
 * of few rows; ignored by penalty and sum_squares, which one thread runs whole.
 * Work on tensors without a batch that is neither is one sample, [0, 1), or the rows of a matrix, on one
 * thread. scratch: FNN_SCRATCH bytes of the calling thread's own, aligned to FNN_ALIGN. */
typedef void (*fnn_kernel)(const fnn_task *t, int64_t lo, int64_t hi, void *scratch);
#define FNN_SCRATCH ((size_t)256 << 10)

/* Flat update of n contiguous elements: w, up to three moments, gradient. coef comes from the op's prepare
 * function. */
typedef void (*fnn_update)(const double *coef, void *w, void *s0, void *s1, void *s2, const void *g,
                           int64_t n);
typedef void (*fnn_prepare)(const double *attr, double lr, int64_t iteration, double *coef);
#define FNN_MAX_COEF 12

struct fnn_task {
    fnn_kernel run;
    int op;
    fnn_view in[FNN_MAX_IN], out[FNN_MAX_OUT];
    int n_in;
    double attr[FNN_MAX_ATTR];
    const fnn_step *step;
    fnn_layout layout;               /* of matmul*'s kernel, matmul_tn's gradient, the update's parameter, the
                                      * table of embedding and embedding_grad */
    /* matmul with its bias, and relu where that follows: out = relu?(x w + bias) */
    const void *bias;                /* (n), NULL if none */
    bool relu;
    bool by_columns;                 /* the range is one of columns of w, whole panels, for all rows */
    /* matmul_tn and update fused: the gradient goes through penalty_grad and the update while hot,
     * and is written to out[0].p only if that is not NULL */
    fnn_update update;               /* NULL: none */
    const double *coef;              /* prepared once a step */
    void *w, *slot[FNN_MAX_SLOTS];   /* parameter and moments, first element of the buffer */
    double l1, l2;                   /* penalty_grad before the update; 0, 0: none */
    int64_t outer, inner[FNN_MAX_IN];/* blocks a sample, elements of each input in one; slice, pad: see shape.c;
                                      * warp: outer is the rows of a picture */
    fnn_walk walk;
    const fnn_csr *csr;              /* the matrix of which in[0] has the extents of rows */
};

typedef struct {
    const char *isa;
    int nr, mr;                      /* register tile of this table's products */
    fnn_kernel run[OP_COUNT];
    fnn_update update[OP_COUNT];     /* optimizers only */
    fnn_prepare prepare[OP_COUNT];
    bool (*all_finite)(const void *x, int64_t n);    /* n elements of this table's type */
    void (*perceptron_decide)(const fnn_perceptron *p, void *out);   /* out (n, units) */
    void (*perceptron_learn)(const fnn_perceptron *p, int64_t *mistakes, double *losses);
} fnn_kernels;

/* One table per instruction set and type, made by kernels/table.c. */
const fnn_kernels *fnn_kernels_find(const char *isa, fnn_type real); /* dispatch.c; NULL: the active one */

/* In place of those in `run` where a program is mixed. */
typedef struct { fnn_kernel matmul, matmul_nt, matmul_tn; } fnn_mixed;
const fnn_mixed *fnn_mixed_find(const char *isa);    /* as above */

/* ---- random numbers: rng.c ---- */
typedef struct { uint32_t v[4]; } fnn_u32x4;
/* Fills order (n) with a permutation of [0, n), which (seed, epoch) decides; n is below 2^31. */
void fnn_shuffle(uint64_t seed, uint64_t epoch, int32_t *order, int64_t n);
fnn_u32x4 fnn_philox(fnn_u32x4 counter, uint32_t key0, uint32_t key1);

/* The samples that stand at positions [first, first + count) of the order of a pass. */
void fnn_order(const fnn_pass *pass, int64_t first, int64_t count, int64_t *samples);
/* Where a pass is mixed within windows: its piece `i` of `size` samples begins at sample `start` (and goes on at
 * sample 0 after the last one), and a window is `count` pieces. False where it is not. */
typedef struct { int64_t start, size, count; } fnn_piece;
bool fnn_piece_of(const fnn_pass *pass, int64_t i, fnn_piece *piece);

/* ---- threads.c ---- */
/* A job runs once on each of the threads granted, the caller being thread 0. One caller holds the pool at a
 * time; the others are granted one thread, their own. */
int fnn_pool_acquire(int wanted);                 /* threads granted, 1 if the pool is busy; then release */
void fnn_pool_run(int threads, void (*job)(void *arg, int thread, int threads), void *arg);
void fnn_pool_barrier(int thread, int threads);   /* inside a job: all threads of it meet */
void fnn_pool_release(int threads);
/* Threads that work side by side on things of their own, +1 as each begins and -1 as it ends: while there are
 * several, every caller of fnn_pool_acquire is granted one thread. */
void fnn_pool_crowd(int change);

typedef struct fnn_rwlock fnn_rwlock;             /* readers or one writer; both get in by turns */
fnn_rwlock *fnn_rwlock_new(void);
void fnn_rwlock_free(fnn_rwlock *l);
void fnn_rwlock_read(fnn_rwlock *l);
void fnn_rwlock_unread(fnn_rwlock *l);
void fnn_rwlock_write(fnn_rwlock *l);
void fnn_rwlock_unwrite(fnn_rwlock *l);
double fnn_now_ms(void);                          /* monotonic */
/* Round to nearest, subnormals flushed, no traps; returns the host's state for fnn_fp_restore. */
uint64_t fnn_fp_enter(void);
void fnn_fp_restore(uint64_t state);

/* ---- model.c: parameters and their owner ---- */

typedef struct fnn_file fnn_file;
void fnn_file_free(fnn_file *f);
uint64_t fnn_file_batch_seed(const fnn_file *f);  /* what keys fnn_train_batch; 0 for NULL */

/* One lock for all models that share parameters. */
typedef struct { int refs; fnn_rwlock *lock; } fnn_guard;

struct fnn_param {
    int refs;
    fnn_type type;
    int ndim;
    int64_t dim[FNN_MAX_DIMS];
    fnn_layout layout;
    void *w;                         /* layout.size elements */
    fnn_guard *guard;
};

struct fnn_model {
    int refs;                        /* the owner and each session */
    fnn_program program;
    const fnn_kernels *kernels;
    const fnn_mixed *mixed;
    fnn_param **params;              /* by tensor, NULL where it is none */
    void **slots;                    /* [tensor * FNN_MAX_SLOTS + slot], layouts as the parameter's */
    fnn_model *lender;               /* whose the slots are, NULL: the model's own */
    int64_t iterations;
    fnn_guard **guards;              /* all that the parameters have, in order of address */
    int n_guards;
    void *snapshot[2];               /* the last one and the one before */
    int64_t snapshot_iterations[2];
    int newest, snapshots;
    fnn_file *file;                  /* what else stood in its file; NULL where it was made from a text */
    fnn_error last;                  /* see fnn_model_error; written and read by who has set `telling` */
    bool telling;
    bool freed;                      /* by its owner; sessions hold it still */
};

size_t fnn_type_size(fnn_type type);
int fnn_type_dtype(fnn_type type);                /* of a caller's array that holds such elements as they are */
fnn_layout fnn_layout_of(const fnn_kernels *k, const fnn_tensor *t);
void fnn_layout_read(const fnn_layout *l, size_t real_size, const void *stored, void *row_major);
void fnn_layout_write(const fnn_layout *l, size_t real_size, void *stored, const void *row_major);
/* The model of a program, which becomes its own (or is cleared); see fnn_model_create for the rest. */
int fnn_model_of(fnn_program *program, const char *isa, fnn_param *const *params, int n_params, fnn_model **out,
                 fnn_error *err);
bool fnn_model_trains(const fnn_model *m);
void fnn_model_keep(fnn_model *m);                /* one more that holds it */
void fnn_model_drop(fnn_model *m);                /* and one fewer */
/* Notes where a call failed with `own`, and gives that to the caller; returns status. */
int fnn_model_told(fnn_model *m, int status, const fnn_error *own, fnn_error *err);
/* The newest snapshot is not needed any more; its memory serves the next one. restore: go back to it first. */
void fnn_model_end_snapshot(fnn_model *m, bool restore);
/* Elements [at, at + n) of the row-major order; the padding is left as it is. */
void fnn_layout_put(const fnn_layout *l, size_t size, void *stored, int64_t at, int64_t n, const void *values);
void fnn_model_hold(fnn_model *m, bool write);
void fnn_model_let_go(fnn_model *m, bool write);

/* ---- plan.c: a session's tasks, in phases between which all threads meet ---- */

typedef enum { SHARE_ROWS, SHARE_ELEMENTS, SHARE_TILES, SHARE_PANELS, SHARE_ONE } fnn_share;

typedef struct {
    fnn_task task;
    fnn_share share;
    int64_t unit;                    /* SHARE_ROWS: the kernel's rows a sample; SHARE_ONE: all its rows */
    int phase;
    int chain;                       /* stages from here on that are run block by block, mostly 1 */
    int64_t block;                   /* samples a block of the chain */
    double ns_row, ns_fixed;         /* estimated cost: a sample, and the rest */
} fnn_stage;

typedef struct { int first, last; double ns_row, ns_fixed; } fnn_phase;

/* A caller's array on its way into or out of the arena. */
typedef struct {
    int tensor;
    bool bound;
    bool readable;                   /* only products read it: they take the caller's rows where those stand */
    bool in_place;                   /* in this pass they do */
    fnn_array array;
    fnn_csr csr;                     /* in place of array where the tensor is one of sparse rows */
    fnn_view view;
    int64_t lowest, highest;
} fnn_port;

/* An operand that is a readable port's view, or that of its rows in another shape; ld: in the arena. */
typedef struct { int port; fnn_view *view; int64_t ld; } fnn_reader;

typedef struct { size_t start, end; } fnn_zone;   /* bytes of the arena that nobody may write */

/* The samples of step `step` (-1: none) of a pass, those from position `first` on of its `whole` batch, and the rows of
 * the bound arrays in which they stand. */
typedef struct { int64_t step, first, rows, whole, *sample, *row; } fnn_batch;

struct fnn_session {
    fnn_model *model;
    int mode;
    bool training, guarded;
    bool alone, shares;              /* on one thread in any case; a full batch is worth more than one */
    int64_t max_rows;
    int threads;                     /* that it has scratch for */
    char *arena, *scratch;           /* scratch: FNN_SCRATCH bytes a thread */
    size_t arena_bytes, bytes;       /* bytes: all that it holds but scratch and faults */
    fnn_view *views;                 /* by tensor; p is NULL where the session does not need it */
    fnn_zone *zones;                 /* of sentinels, where guarded */
    int n_zones;
    fnn_stage *stages;
    int n_stages;
    fnn_phase *phases;
    int n_phases;
    int first_phase, end_phase;      /* those that a walk goes through */
    bool exchanges;                  /* phases up to update_phase sum over rows, those from there on read sums of all */
    int update_phase;
    size_t exchange_offset;          /* of the buffer in the arena */
    int64_t exchange_count;          /* its elements, the notes included */
    bool pending;                    /* a step stands at update_phase */
    int64_t part, parts;             /* the share of each batch, see fnn_take_share */
    fnn_port *ports;                 /* inputs, targets and weights first, then outputs */
    int n_ports, n_in_ports;
    fnn_reader *readers;
    int n_readers;
    struct { fnn_prepare prepare; double attr[FNN_MAX_ATTR]; double coef[FNN_MAX_COEF]; } *optimizers;
    int n_optimizers;
    fnn_step step;
    int64_t *chosen;                 /* what the two batches point into */
    fnn_batch batch, next;           /* next is chosen, and foreseen, while the one before it is at work */
    bool foreseen;                   /* the batch at work was */
    const int64_t *selected;         /* see fnn_select; NULL: all rows */
    int64_t n_selected, highest_selected;
    int64_t asked;                   /* pieces that were asked for, see fnn_read_ahead */
    /* cursor */
    fnn_pass pass;
    int64_t steps_done, steps_total;
    bool begun, busy;
    double share_ns;                 /* phases that take longer are shared: see try_sharing */
    double trial_ms, pause_ms;       /* when that is tried again, and how long it then holds */
    double *sums;                    /* (sum, weight) a root, then the elements of the tallies */
    int stop;                        /* set by the thread that found bad data */
    fnn_error *faults;               /* the first found while gathering, one a thread */
    fnn_error last;                  /* see fnn_session_error */
};

/* Batches of up to so many rows share a product by its columns, so that each weight passes by one core alone. */
#define FNN_FEW_ROWS 16
/* A phase shorter than this is not worth a second thread, unless a trial says so: meeting costs a tenth of a
 * microsecond where cores share a cache, and several where they do not, or where others want them too. */
#define FNN_SHARE_NS 12000.0
/* A phase shorter than this is never shared. */
#define FNN_SHARE_LEAST_NS 1000.0
/* A call with less work than this to share wakes nobody: waking takes 20 to 60 microseconds. */
#define FNN_WAKE_NS 60000.0
#define FNN_SENTINEL 0xA5
#define FNN_ZONE 64                  /* bytes of a sentinel zone, at least */

/* What those phases of a batch of so many rows take on one core that take longer than share_ns each. */
double fnn_session_shared_ns(const fnn_session *s, int64_t rows, double share_ns);
/* Scratch for as many threads as the library may use by now; on failure it stays with those that it has. */
int fnn_session_fit_threads(fnn_session *s);

/* Is the tensor an output, so that the session fills the array bound to it? */
bool fnn_session_writes(const fnn_session *s, int tensor);

/* Would rows so many bytes apart fall into few cache sets? */
static inline bool fnn_rows_collide(int64_t bytes) { return bytes >= 1024 && bytes % 512 == 0; }

/* Begins to bring samples [lo, hi) of the next batch into the cache. */
void fnn_foresee(const fnn_session *s, int64_t lo, int64_t hi);
/* Asks the system for what the next window of a pass, or the samples to come of one in order, will read. */
void fnn_read_ahead(fnn_session *s);
void fnn_gather(fnn_session *s, int port, int64_t lo, int64_t hi, fnn_error *fault);
void fnn_scatter(fnn_session *s, int port, int64_t lo, int64_t hi);
/* n values of a sparse matrix from the i-th on: where they stand, or in `to` where they are of another type. */
const void *fnn_csr_values(const fnn_csr *m, fnn_type type, int64_t i, int64_t n, void *to);
size_t fnn_dtype_size(int dtype);    /* of an element of a caller's array */
/* Of an array of FNN_I32 or FNN_I64. */
static inline int64_t fnn_index_at(const void *indices, int dtype, int64_t i) {
    return dtype == FNN_I64 ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

/* ---- model files: file.c reads and writes them, disk.c gives it those of the system ---- */

typedef struct {
    bool (*read)(void *context, uint64_t at, void *to, size_t n);   /* n bytes from there on; false: they cannot be had */
    void *context;
    uint64_t size;
    const char *label;               /* how errors name it */
} fnn_source;
int fnn_file_read(const fnn_source *source, fnn_model **out, fnn_error *err);
/* Gives the file to `write` piece by piece, with 64 zeros in the place of its checksum, which stands FNN_CHECKSUM_AT and
 * is given in the end. Training waits meanwhile. */
#define FNN_CHECKSUM_AT 37
typedef bool (*fnn_sink)(void *context, const void *bytes, size_t n);
int fnn_file_write(fnn_model *m, fnn_sink write, void *context, char checksum[64], fnn_error *err);

/* ---- json.c: a text of JSON is read from front to back; every reader says whether it succeeded ---- */
typedef struct { char *at, *end; } fnn_json;
bool fnn_json_take(fnn_json *j, char c);          /* after any white space */
bool fnn_json_ends(fnn_json *j);                  /* is there nothing but white space? */
/* A string, decoded where it stands: UTF-8, with a zero after its last byte. */
bool fnn_json_string(fnn_json *j, char **text, size_t *length);
bool fnn_json_natural(fnn_json *j, int64_t *value);   /* an integer from 0 to 2^62 */
bool fnn_json_number(fnn_json *j, double *value);
bool fnn_json_skip(fnn_json *j);                  /* any value, nested 64 deep at most; nothing is decoded */
bool fnn_json_utf8(const char *text, size_t n);   /* is it valid UTF-8? */

/* ---- sha256.c ---- */
typedef struct { uint32_t state[8]; uint64_t bytes; unsigned char block[64]; } fnn_sha256;
void fnn_sha256_begin(fnn_sha256 *s);
void fnn_sha256_add(fnn_sha256 *s, const void *bytes, size_t n);
void fnn_sha256_end(fnn_sha256 *s, char digits[64]);   /* in hexadecimal */
/* n blocks of 64 bytes, by the CPU's own instructions where it has some; or not, for the checks. */
void fnn_sha256_mix(uint32_t state[8], const unsigned char *blocks, size_t n, bool portably);

/* ---- status.c ---- */
int fnn_fail(fnn_error *err, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
int fnn_fail_at(fnn_error *err, int status, int tensor, int64_t row, double value, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
bool fnn_mul(int64_t a, int64_t b, int64_t *out); /* checked size helpers: false on overflow or negative */
bool fnn_add(int64_t a, int64_t b, int64_t *out);
/* Zeroed; NULL when out of memory. fnn_alloc is for what kernels work on: aligned to FNN_ALIGN. */
void *fnn_new(size_t count, size_t size);
void *fnn_alloc(size_t bytes);
void fnn_free(void *p);

#endif
