/* What fastnn's own binding for Python uses of the library beyond the public header: models from the text of a Program,
 * parameters that several models share, sparse inputs, perceptrons, random numbers. It may change with every version,
 * and the shared library exports none of it. */
#ifndef FASTNN_ENGINE_H
#define FASTNN_ENGINE_H

#include "fastnn.h"

/* Limits beyond those of the public header. */
#define FNN_MAX_TEXT ((size_t)64 << 20)      /* bytes of a program's text */
#define FNN_MAX_SLOTS 3                      /* optimizer moments per parameter */
#define FNN_MAX_TALLIED (1 << 24)            /* elements of all tallies of a program */

typedef struct fnn_param fnn_param;   /* one parameter's values; may serve several models */

#define FNN_GUARD 4      /* flag of a session: sentinels around every buffer, see fnn_session_check */
#define FNN_EXCHANGE 8   /* flag of a session of FNN_TRAIN: steps stop for an exchange, see fnn_exchange */

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
const char *fnn_isa_at(int i);          /* the i-th that this CPU runs, best first; else NULL */
/* The i-th that is built in, best first, and whether this CPU runs it; else NULL. */
const char *fnn_isa_built(int i, int *runs);

/* ---- models ---- */
/* Would fnn_open read a file of `size` bytes with this header and so many updates made, whose beginning, length and
 * checksum are as they should be? Whatever C refuses, Python then refuses. */
int fnn_file_check(const char *header, size_t length, uint64_t size, int64_t updates, const char *label, fnn_error *err);
/* isa: NULL for the active one. The text is copied. params: for each tensor id a parameter to share, or NULL
 * to make a new one (zeros); params itself may be NULL. */
int fnn_model_create(const char *text, size_t length, const char *isa, fnn_param *const *params,
                     int n_params, fnn_model **model, fnn_error *err);
int fnn_model_slots(const fnn_model *model);   /* moments the optimizer keeps for each parameter */
void fnn_model_set_iterations(fnn_model *model, int64_t iterations);
/* A parameter of the model, to be given back by fnn_param_free; NULL if the tensor is none. */
fnn_param *fnn_model_param(fnn_model *model, int tensor);
void fnn_param_free(fnn_param *param);
int fnn_param_shape(const fnn_param *param, int64_t *dims); /* number of dimensions */
int fnn_param_dtype(const fnn_param *param);               /* FNN_F32, FNN_F64, FNN_I8; FNN_U16: bfloat16 */
/* Copy a parameter to or from a contiguous row-major buffer of the model's type, `count` elements; and a moment
 * from one. */
int fnn_param_read(fnn_param *param, void *values, int64_t count, fnn_error *err);
int fnn_param_write(fnn_param *param, const void *values, int64_t count, fnn_error *err);
int fnn_slot_write(fnn_model *model, int tensor, int slot, const void *values, int64_t count,
                   fnn_error *err);
/* From now on the model keeps its moments where `lender` keeps those of the same parameters, all of which it must
 * update by the same op; it holds the lender. To be called before the model's first session. */
int fnn_model_share_moments(fnn_model *model, fnn_model *lender, fnn_error *err);
/* Copies n parameters (slot -1) and moments at once, all of the same step. */
int fnn_model_read(fnn_model *model, int n, const int *tensors, const int *slots, void *const *values,
                   const int64_t *counts, int64_t *iterations, fnn_error *err);
/* Keeps a copy of parameters, moments and the iteration count inside the model, and goes back to it. The last
 * two copies are kept: a restore uses up the newest, so a second one goes to the copy before. */
int fnn_model_snapshot(fnn_model *model, fnn_error *err);
int fnn_model_restore(fnn_model *model, fnn_error *err);

/* ---- sessions ---- */
/* Rough time of one batch on one core, in nanoseconds. */
double fnn_session_ns(const fnn_session *session, int64_t rows);
/* FNN_ERR_STATE if a guarded session wrote beyond one of its buffers. */
int fnn_session_check(const fnn_session *session, fnn_error *err);
/* The same for an input of type csr. Row pointers and columns are checked as a batch is read. */
int fnn_bind_csr(fnn_session *session, int tensor, const fnn_csr *matrix, fnn_error *err);

/* From now on sample i of a pass stands in row rows[i] of the arrays bound for reading, i < count; outputs are
 * filled in the order of the samples. rows must stay as it is until the next call. NULL: row i again. */
int fnn_select(fnn_session *session, const int64_t *rows, int64_t count, fnn_error *err);
/* Puts back the sums of an interrupted pass, all that fnn_results gave: after fnn_begin with its first_step,
 * before the first step. */
int fnn_set_results(fnn_session *session, const double *values, int count, fnn_error *err);
/* Training on several machines: each of `parts` sessions works on its share of every batch, and their sums over rows
 * are added up between backward pass and update. With FNN_EXCHANGE, fnn_run returns at this point of each step, which
 * is not done yet; *pending says so. The next fnn_run goes on with the update. Nothing is updated before.
 *
 * All that is to be added up is one buffer of the model's type, *count elements from *values on: first all sums, as
 * the kernels lay them out, then FNN_EXCHANGE_NOTES elements. The first of these is above 0 where the losses of
 * these rows are not finite, which ends the run of all; the others are 0, for the callers to tell each other things. */
#define FNN_EXCHANGE_NOTES 3
void fnn_exchange(const fnn_session *session, void **values, int64_t *count, int *pending);
/* From the next pass on the session takes the `part`-th of so many shares of each batch, 0 <= part < parts: rows that
 * follow each other in the pass. A share may be empty, and is all that counts for the session's rows. Only with FNN_EXCHANGE, or in FNN_EVALUATE. */
int fnn_take_share(fnn_session *session, int64_t part, int64_t parts, fnn_error *err);
/* After a run in FNN_GRADIENTS: the gradient of the i-th grad root, row-major. */
int fnn_gradient(fnn_session *session, int index, void *values, int64_t count, fnn_error *err);

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
int fnn_perceptron_decide(const fnn_perceptron *p, void *out, fnn_error *err);
/* One epoch of the perceptron rule w += rate (y - y~) x, b += rate (y - y~), sample by sample; (seed, epoch)
 * decide the shuffle. For each unit it adds its mistakes to `mistakes` and its |p| at them to
 * `losses` (units). At most 2^31 - 1 samples. l1 is the cumulative penalty of Tsuruoka, Tsujii and Ananiadou (ACL
 * 2009): a weight that could not move as far at one sample, as it was 0, makes up for it later. */
int fnn_perceptron_epoch(const fnn_perceptron *p, uint64_t seed, uint64_t epoch, int64_t *mistakes,
                                 double *losses, fnn_error *err);

/* ---- random numbers (Philox 4x32-10; the same bits on every machine) ---- */
enum fnn_distribution { FNN_UNIFORM, FNN_NORMAL, FNN_TRUNCATED_NORMAL };
/* Uniform: [a, b). Normal: mean a, deviation b; truncated: redrawn beyond two deviations. */
int fnn_random(uint64_t seed, uint32_t stream, int distribution, double a, double b, double *out,
                       int64_t n);
/* A keyed bijection of [0, n); -1 where i is outside. */
int64_t fnn_permuted(uint64_t seed, uint64_t epoch, int64_t n, int64_t i);

#endif
