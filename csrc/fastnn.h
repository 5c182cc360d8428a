/* libfastnn: train and run feed-forward neural networks from C, C++ or anything that calls C.
 *
 * A model is made from the text of a Program (see docs: the file format) and owns the parameters. A session
 * is a plan for batches of up to a given number of rows plus all the memory it needs; once created, running
 * it allocates nothing.
 *
 * Contract of every function: it never prints, aborts or exits; it returns FNN_OK (0) or a status, and says
 * more in `err` when `err` is not NULL. Results are bitwise the same for any number of threads. The caller's
 * floating-point state is afterwards as it was.
 *
 * Threads: any number of sessions of one model may predict and evaluate at a time; a session belongs to one
 * thread at a time and refuses a second with FNN_ERR_STATE; training runs and parameter writes wait for, and
 * hold back, the others at step boundaries.
 */
#ifndef FASTNN_H
#define FASTNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define FNN_API
#else
#define FNN_API __attribute__((visibility("default")))
#endif

/* Limits: a program or an array outside them is refused with FNN_ERR_LIMIT. */
#define FNN_MAX_DIMS 8
#define FNN_MAX_TENSORS 65535
#define FNN_MAX_NODES 65535
#define FNN_MAX_TEXT ((size_t)64 << 20)      /* bytes of a program's text */
#define FNN_MAX_NAME 512                     /* bytes of a tensor's name */
#define FNN_MAX_ELEMENTS ((int64_t)1 << 40)  /* elements of one tensor, batch included */
#define FNN_MAX_ROWS ((int64_t)1 << 40)
#define FNN_MAX_SLOTS 3                      /* optimizer moments per parameter */
#define FNN_MAX_THREADS 256
#define FNN_MAX_TALLIED (1 << 24)            /* elements of all tallies of a program */

enum fnn_status {
    FNN_OK = 0,
    FNN_ERR_ARGUMENT,  /* a value outside its range */
    FNN_ERR_PROGRAM,   /* a program that does not parse or verify */
    FNN_ERR_LIMIT,     /* beyond the limits above */
    FNN_ERR_MEMORY,    /* out of memory */
    FNN_ERR_DATA,      /* a value in the data: err.tensor, err.row and err.value say which */
    FNN_ERR_NONFINITE, /* the loss became NaN or infinite: err.row is the step in the epoch */
    FNN_ERR_STATE      /* called in the wrong order */
};

typedef struct fnn_error {
    int status;
    int tensor;      /* tensor id, -1 if none */
    int64_t row;     /* row of the array, or step; -1 if none */
    double value;    /* the offending value */
    char text[256];  /* one sentence, UTF-8 */
} fnn_error;

typedef struct fnn_model fnn_model;
typedef struct fnn_session fnn_session;
typedef struct fnn_param fnn_param;   /* one parameter's values; may serve several models */

enum fnn_mode { FNN_PREDICT = 0, FNN_EVALUATE = 1, FNN_TRAIN = 2, FNN_GRADIENTS = 3 };

/* Element types of a caller's array. */
enum fnn_dtype {
    FNN_F32, FNN_F64, FNN_F16, FNN_BOOL,
    FNN_I8, FNN_I16, FNN_I32, FNN_I64, FNN_U8, FNN_U16, FNN_U32, FNN_U64
};

/* A caller's array: shape[0] is the number of samples; strides are in bytes and may be 0 or negative. */
typedef struct fnn_array {
    void *data;
    int dtype;               /* enum fnn_dtype */
    int swapped;             /* 1: the other byte order */
    int ndim;
    int64_t shape[FNN_MAX_DIMS];
    int64_t strides[FNN_MAX_DIMS];
} fnn_array;

/* A caller's sparse matrix, in the byte order of the machine and aligned to its types: row r has the values
 * data[i] in the columns indices[i], i from indptr[r] to indptr[r + 1], in any order; those of one column add up. */
typedef struct fnn_csr {
    const void *data, *indices, *indptr;
    int dtype;               /* of data: enum fnn_dtype */
    int index_dtype;         /* of indices: FNN_I32 or FNN_I64 */
    int pointer_dtype;       /* of indptr: FNN_I32 or FNN_I64 */
    int64_t rows, cols;      /* indptr has rows + 1 elements */
    int64_t count;           /* elements of data, and of indices */
} fnn_csr;

/* ---- library ---- */
FNN_API const char *fnn_version(void);          /* of the library, "MAJOR.MINOR.PATCH" */
FNN_API const char *fnn_isa(void);              /* the active instruction set */
FNN_API const char *fnn_isa_at(int i);          /* the i-th that this CPU runs, best first; else NULL */
/* The i-th that is built in, best first, and whether this CPU runs it; else NULL. */
FNN_API const char *fnn_isa_built(int i, int *runs);
FNN_API int fnn_set_threads(int n);             /* 0: as many as the process may run on */
FNN_API int fnn_get_threads(void);

/* ---- models ---- */
/* isa: NULL for the active one. The text is copied. params: for each tensor id a parameter to share, or NULL
 * to make a new one (zeros); params itself may be NULL. */
FNN_API int fnn_model_create(const char *text, size_t length, const char *isa, fnn_param *const *params,
                             int n_params, fnn_model **model, fnn_error *err);
FNN_API void fnn_model_free(fnn_model *model);
FNN_API int fnn_model_slots(const fnn_model *model);   /* moments the optimizer keeps for each parameter */
FNN_API int64_t fnn_model_iterations(const fnn_model *model);
FNN_API void fnn_model_set_iterations(fnn_model *model, int64_t iterations);
/* A parameter of the model, to be given back by fnn_param_free; NULL if the tensor is none. */
FNN_API fnn_param *fnn_model_param(fnn_model *model, int tensor);
FNN_API void fnn_param_free(fnn_param *param);
FNN_API int fnn_param_shape(const fnn_param *param, int64_t *dims); /* number of dimensions */
FNN_API int fnn_param_dtype(const fnn_param *param);               /* FNN_F32, FNN_F64, FNN_I8; FNN_U16: bfloat16 */
/* Copy a parameter to or from a contiguous row-major buffer of the model's type, `count` elements; and a moment
 * from one. */
FNN_API int fnn_param_read(fnn_param *param, void *values, int64_t count, fnn_error *err);
FNN_API int fnn_param_write(fnn_param *param, const void *values, int64_t count, fnn_error *err);
FNN_API int fnn_slot_write(fnn_model *model, int tensor, int slot, const void *values, int64_t count,
                           fnn_error *err);
/* From now on the model keeps its moments where `lender` keeps those of the same parameters, all of which it must
 * update by the same op; it holds the lender. To be called before the model's first session. */
FNN_API int fnn_model_share_moments(fnn_model *model, fnn_model *lender, fnn_error *err);
/* Copies n parameters (slot -1) and moments at once, all of the same step. */
FNN_API int fnn_model_read(fnn_model *model, int n, const int *tensors, const int *slots, void *const *values,
                           const int64_t *counts, int64_t *iterations, fnn_error *err);
/* Keeps a copy of parameters, moments and the iteration count inside the model, and goes back to it. The last
 * two copies are kept: a restore uses up the newest, so a second one goes to the copy before. */
FNN_API int fnn_model_snapshot(fnn_model *model, fnn_error *err);
FNN_API int fnn_model_restore(fnn_model *model, fnn_error *err);

/* ---- sessions ---- */
FNN_API int fnn_session_create(fnn_model *model, int mode, int64_t max_rows, int flags, fnn_session **session,
                               fnn_error *err);
#define FNN_TRAINING 1   /* flag: dropout is active (implied by FNN_TRAIN) */
#define FNN_GUARD 2      /* flag: sentinels around every buffer, see fnn_session_check */
FNN_API void fnn_session_free(fnn_session *session);
FNN_API size_t fnn_session_bytes(const fnn_session *session);
/* Rough time of one batch on one core, in nanoseconds. */
FNN_API double fnn_session_ns(const fnn_session *session, int64_t rows);
/* FNN_ERR_STATE if a guarded session wrote beyond one of its buffers. */
FNN_API int fnn_session_check(const fnn_session *session, fnn_error *err);
/* Binds a caller's array to an input, target, sample weight or output of the program. It must outlive the
 * runs. Outputs must be contiguous, row-major and of the model's type. NULL unbinds. */
FNN_API int fnn_bind(fnn_session *session, int tensor, const fnn_array *array, fnn_error *err);
/* The same for an input of type csr. Row pointers and columns are checked as a batch is read. */
FNN_API int fnn_bind_csr(fnn_session *session, int tensor, const fnn_csr *matrix, fnn_error *err);

/* From now on sample i of a pass stands in row rows[i] of the arrays bound for reading, i < count; outputs are
 * filled in the order of the samples. rows must stay as it is until the next call. NULL: row i again. */
FNN_API int fnn_select(fnn_session *session, const int64_t *rows, int64_t count, fnn_error *err);

typedef struct fnn_pass {   /* one walk over n samples */
    int64_t n, batch_size;
    /* 0: in order; 1: in any order; w > 1: mixed within windows of w samples, each of which is made of up to 32
     * pieces of the arrays, so that these are read in large pieces. */
    int64_t shuffle;
    int check_finite;       /* refuse NaN and infinities in inputs, targets and weights */
    uint64_t seed, epoch;   /* with the sample index, they key shuffling and dropout */
    int64_t first_step;     /* where to go on (resume) */
} fnn_pass;
FNN_API int fnn_begin(fnn_session *session, const fnn_pass *pass, fnn_error *err);
/* Runs up to max_steps steps or about max_ms milliseconds (either < 0: no limit), always whole steps. lr
 * holds one learning rate a step (lr_count >= steps run) or a single one for all (lr_count 1). */
FNN_API int fnn_run(fnn_session *session, int64_t max_steps, double max_ms, const double *lr,
                    int64_t lr_count, int64_t *steps_done, int *finished, fnn_error *err);
/* Sums since fnn_begin: (sum, weight) for each loss root, then for each metric, then for each penalty; then
 * the elements of each tally, row-major. A loss divides by the samples seen, a metric by the sum of its sample
 * weights, a penalty by the samples seen. Returns how many numbers there are; those beyond `count` are left
 * out. */
FNN_API int fnn_results(const fnn_session *session, double *values, int count);
/* Puts back the sums of an interrupted pass, all that fnn_results gave: after fnn_begin with its first_step,
 * before the first step. */
FNN_API int fnn_set_results(fnn_session *session, const double *values, int count, fnn_error *err);
/* After a run in FNN_GRADIENTS: the gradient of the i-th grad root, row-major. */
FNN_API int fnn_gradient(fnn_session *session, int index, void *values, int64_t count, fnn_error *err);

/* Runs n rows straight through a FNN_PREDICT session: x and y contiguous, row-major, of the model's type; one
 * input, one output. Nothing is checked but n, and the model is not locked: its parameters must not change
 * meanwhile. */
FNN_API int fnn_predict(fnn_session *session, const void *x, void *y, int64_t n);

/* ---- perceptrons ---- */
/* Units that decide for 1 where p = w x + b >= 0, on n samples. All arrays are contiguous and row-major; x,
 * weights and bias are of `dtype`. */
typedef struct fnn_perceptron {
    int dtype;                   /* FNN_F32 or FNN_F64 */
    int units;                   /* 1: label 1 against label 0; else unit k is label k against the rest */
    int64_t n, features;
    const void *x;               /* (n, features) */
    void *weights;               /* (units, features) */
    void *bias;                  /* (units), NULL: none */
    /* For learning only. */
    const int32_t *labels;       /* (n), each in [0, max(2, units)) */
    const double *rates;         /* (max(2, units)) how far a mistake about a sample of each label moves a unit */
    const unsigned char *active; /* (units) 0: this unit is left as it is */
    int32_t *order;              /* (n) scratch: samples come shuffled; NULL: they come as they lie */
    double l1, l2;               /* after each sample of an active unit, mistake or not: w moves towards 0 by l1, but
                                  * not beyond; before, it loses this share of itself */
    double l1_before;            /* sum of l1 over the samples of earlier epochs */
    void *l1_done;               /* (units, features) how far l1 has moved each weight; zeros at first; for l1 > 0 */
} fnn_perceptron;
/* Writes p to out (n, units), of the same type. */
FNN_API int fnn_perceptron_decide(const fnn_perceptron *p, void *out, fnn_error *err);
/* One epoch of the perceptron rule w += rate (y - y~) x, b += rate (y - y~), sample by sample; (seed, epoch)
 * decide the shuffle. For each unit it adds its mistakes to `mistakes` and its |p| at them to
 * `losses` (units). At most 2^31 - 1 samples. l1 is the cumulative penalty of Tsuruoka, Tsujii and Ananiadou (ACL
 * 2009): a weight that could not move as far at one sample, as it was 0, makes up for it later. */
FNN_API int fnn_perceptron_epoch(const fnn_perceptron *p, uint64_t seed, uint64_t epoch, int64_t *mistakes,
                                 double *losses, fnn_error *err);

/* ---- random numbers (Philox 4x32-10; the same bits on every machine) ---- */
enum fnn_distribution { FNN_UNIFORM, FNN_NORMAL, FNN_TRUNCATED_NORMAL };
/* Uniform: [a, b). Normal: mean a, deviation b; truncated: redrawn beyond two deviations. */
FNN_API int fnn_random(uint64_t seed, uint32_t stream, int distribution, double a, double b, double *out,
                       int64_t n);
/* A keyed bijection of [0, n); -1 where i is outside. */
FNN_API int64_t fnn_permuted(uint64_t seed, uint64_t epoch, int64_t n, int64_t i);

#ifdef __cplusplus
}
#endif
#endif
