/* libfastnn: run, and go on training, neural networks that fastnn saved, from C, C++ or anything that calls C.
 *
 * A model is what a file of `Model.save` or `Predictor.save` describes; it owns the parameters. A session is a plan
 * for batches of up to a given number of rows, with all the memory it needs. Docs: "Embedding".
 *
 * Every function: never prints, aborts or exits; returns FNN_OK (0) or a status, and says more in `err` where that is
 * not NULL; refuses NULL where it needs a handle; leaves the caller's floating-point state as it was. Results are
 * bitwise the same for any number of threads, and those of fastnn in Python on the same instruction set.
 *
 * Threads: [any] may be called from any thread at any time. [model] any number of threads at a time on one model.
 * [session] a session belongs to one thread at a time: a second is refused with FNN_ERR_STATE; different sessions of
 * one model, each in its own thread, are what a server uses. Training and writes to parameters wait for, and hold
 * back, the others at the ends of their steps; [real-time] functions hold back nobody and wait for nobody.
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

/* Limits: a file, a program or an array outside them is refused with FNN_ERR_LIMIT or FNN_ERR_FORMAT. */
#define FNN_MAX_HEADER ((size_t)100 << 20)   /* bytes of a file's header */
#define FNN_MAX_FILE_TENSORS (1 << 20)       /* tensors of a file */
#define FNN_MAX_FILE_NAME 1024               /* bytes of the name of one */
#define FNN_MAX_DIMS 8
#define FNN_MAX_TENSORS 65535                /* tensors of the program that a model runs */
#define FNN_MAX_NODES 65535
#define FNN_MAX_NAME 512                     /* bytes of the name of one of its tensors */
#define FNN_MAX_ELEMENTS ((int64_t)1 << 40)  /* elements of one tensor, batch included */
#define FNN_MAX_ROWS ((int64_t)1 << 40)
#define FNN_MAX_THREADS 256

enum fnn_status {
    FNN_OK = 0,
    FNN_ERR_ARGUMENT,  /* a value outside its range */
    FNN_ERR_PROGRAM,   /* a program that does not parse or verify: an op that this version lacks, for example */
    FNN_ERR_LIMIT,     /* beyond the limits above */
    FNN_ERR_MEMORY,    /* out of memory */
    FNN_ERR_DATA,      /* a value in the data: err.tensor, err.row and err.value say which */
    FNN_ERR_NONFINITE, /* the loss became NaN or infinite: err.row is the step in the epoch */
    FNN_ERR_STATE,     /* called in the wrong order, or by two threads at a time */
    FNN_ERR_FILE,      /* the system refuses to open, read or write a file */
    FNN_ERR_FORMAT     /* a file that is damaged, foreign, or of a newer format */
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

/* ---- library ---- */

FNN_API const char *fnn_version(void);   /* [any] "MAJOR.MINOR.PATCH" */
FNN_API const char *fnn_isa(void);       /* [any] the active instruction set; the variable FASTNN_ISA forces one */
FNN_API int fnn_set_threads(int n);      /* [any] 0: as many as the process may run on. What is now the limit. */
FNN_API int fnn_get_threads(void);       /* [any] */

/* All memory comes from `take`: `bytes` (1 or more), aligned to `alignment`, a power of two; NULL when there is none.
 * Both are called from any thread. Refused with FNN_ERR_STATE while the library holds memory: to be called first of
 * all (fnn_set_threads(1) gives back that of its threads). NULL, NULL: the system's again. [any] */
FNN_API int fnn_set_allocator(void *(*take)(size_t bytes, size_t alignment, void *context),
                              void (*give_back)(void *p, void *context), void *context);

/* ---- models ---- */

/* Reads a file that fastnn saved, of kind "model" or "predictor". Beside the model's own memory it takes some
 * times that of the file's header. The bytes are not needed any more afterwards. [any] */
FNN_API int fnn_open(const char *path, fnn_model **model, fnn_error *err);
FNN_API int fnn_open_memory(const void *bytes, size_t size, fnn_model **model, fnn_error *err);
/* Writes such a file with the parameters, moments and count of updates of now: beside `path`, then renamed, so that the
 * old one stays whole until the new one is. For Python to go on training. [model] */
FNN_API int fnn_save(fnn_model *model, const char *path, fnn_error *err);
/* The same into `bytes`; *size: what it takes. FNN_ERR_ARGUMENT where `capacity` is less, or bytes is NULL. [model] */
FNN_API int fnn_save_memory(fnn_model *model, void *bytes, size_t capacity, size_t *size, fnn_error *err);
/* Sessions keep what they need of it. [any], once */
FNN_API void fnn_model_free(fnn_model *model);
/* The last error of a function that was given this model, from any thread. [model] */
FNN_API void fnn_model_error(const fnn_model *model, fnn_error *error);

/* What a model has a number of. */
enum fnn_kind {
    FNN_INPUTS, FNN_OUTPUTS, FNN_TARGETS, FNN_SAMPLE_WEIGHTS, FNN_PARAMETERS,   /* tensors */
    FNN_FEATURE_NAMES, FNN_CLASS_NAMES, FNN_RESULT_NAMES    /* names of columns, of classes, of what fnn_results gives */
};

/* Element types of arrays. */
enum fnn_dtype {
    FNN_F32, FNN_F64, FNN_F16, FNN_BOOL,
    FNN_I8, FNN_I16, FNN_I32, FNN_I64, FNN_U8, FNN_U16, FNN_U32, FNN_U64
};

typedef struct fnn_tensor_info {
    int id;                        /* for fnn_bind and the functions on parameters */
    int dtype;                     /* enum fnn_dtype; FNN_U16 are the bits of a bfloat16 */
    int sparse;                    /* 1: an input of sparse rows, which only Python gives */
    int trained;                   /* 1: a parameter that training changes */
    int ndim;
    int64_t shape[FNN_MAX_DIMS];   /* -1: the rows of a batch, always the first dimension */
    int64_t count;                 /* elements, of one row where there are rows */
    const char *name;              /* UTF-8, as long as the model */
} fnn_tensor_info;

FNN_API int fnn_model_count(const fnn_model *model, int kind);   /* [model] -1: no such kind, or no model */
FNN_API int fnn_model_tensor(const fnn_model *model, int kind, int index, fnn_tensor_info *info, fnn_error *err); /* [model] */
FNN_API const char *fnn_model_name(const fnn_model *model, int kind, int index);   /* [model] NULL: there is none */
/* A parameter, by id, to or from a contiguous row-major buffer of its type with `count` elements. [model] */
FNN_API int fnn_get_parameter(fnn_model *model, int id, void *values, int64_t count, fnn_error *err);
FNN_API int fnn_set_parameter(fnn_model *model, int id, const void *values, int64_t count, fnn_error *err);
FNN_API int64_t fnn_model_iterations(const fnn_model *model);    /* [model] updates made */
/* The rate that the file's optimizer was compiled with; NaN where that is a schedule, or there is none. [model] */
FNN_API double fnn_model_learning_rate(const fnn_model *model);

/* ---- sessions ---- */

/* FNN_GRADIENTS computes what FNN_TRAIN does, but updates nothing. */
enum fnn_mode { FNN_PREDICT = 0, FNN_EVALUATE = 1, FNN_TRAIN = 2, FNN_GRADIENTS = 3 };
#define FNN_TRAINING 1     /* flag: dropout is active (implied by FNN_TRAIN) */
#define FNN_ONE_THREAD 2   /* flag: all work is done by the calling thread, as real-time threads need it */

/* The bytes that fnn_session_create with these arguments will hold. [model] */
FNN_API int fnn_session_size(fnn_model *model, int mode, int64_t max_rows, int flags, size_t *bytes, fnn_error *err);
/* For batches of up to max_rows rows. All memory is taken here. [model] */
FNN_API int fnn_session_create(fnn_model *model, int mode, int64_t max_rows, int flags, fnn_session **session,
                               fnn_error *err);
FNN_API void fnn_session_free(fnn_session *session);                /* [session] */
FNN_API size_t fnn_session_bytes(const fnn_session *session);       /* [session] */
/* The last error of a function that was given this session. [session] */
FNN_API const fnn_error *fnn_session_error(const fnn_session *session);

/* Runs n rows through a FNN_PREDICT session of a model with one input and one output of its own type: x (n, input) and
 * y (n, output), contiguous, row-major. Nothing is checked but the session and n, and the model is not locked: nobody
 * may change its parameters meanwhile. With FNN_ONE_THREAD it takes no memory and no lock, and makes no system
 * call. [session] [real-time] */
FNN_API int fnn_predict(fnn_session *session, const void *x, void *y, int64_t n);
/* The same for any number of inputs and outputs, in their order, of the types that fnn_model_tensor says; indices are
 * checked. An output that is NULL is left out. [session] [real-time] */
FNN_API int fnn_predict_many(fnn_session *session, const void *const *inputs, void *const *outputs, int64_t n,
                             fnn_error *err);

/* Trains on n rows at once: one update. `arrays` are the inputs, then the targets, as for fnn_predict_many; n is at most
 * the session's max_rows. FNN_ERR_NONFINITE: the parameters are those before the call; for that, the first call takes
 * the memory of a copy of parameters and moments. *loss: their mean loss before the update. The same bits as `train_on_batch`. [session] */
FNN_API int fnn_train_batch(fnn_session *session, const void *const *arrays, int64_t n, double learning_rate,
                            double *loss, fnn_error *err);
/* Trains on n rows in batches of the session's max_rows, in an order that seed and epoch decide. *loss: the mean over
 * the epoch. The same bits as the epoch of that number, from 0, of `fit(seed=seed)`. [session] */
FNN_API int fnn_train_epoch(fnn_session *session, const void *const *arrays, int64_t n, uint64_t seed, uint64_t epoch,
                            double learning_rate, double *loss, fnn_error *err);

/* ---- sessions in detail: strided arrays of other types, sample weights, steps, metrics ---- */

/* A caller's array: shape[0] is the number of rows; strides are in bytes and may be 0 or negative. */
typedef struct fnn_array {
    void *data;
    int dtype;               /* enum fnn_dtype */
    int swapped;             /* 1: the other byte order */
    int ndim;
    int64_t shape[FNN_MAX_DIMS];
    int64_t strides[FNN_MAX_DIMS];
} fnn_array;

/* Binds a caller's array to an input, target, sample weight or output of the program. It must outlive the
 * runs. Outputs must be contiguous, row-major and of the model's type. NULL unbinds. [session] */
FNN_API int fnn_bind(fnn_session *session, int tensor, const fnn_array *array, fnn_error *err);

typedef struct fnn_pass {   /* one walk over n samples */
    int64_t n, batch_size;
    /* 0: in order; 1: in any order; w > 1: mixed within windows of w samples, each of which is made of up to 32
     * pieces of the arrays, so that these are read in large pieces. */
    int64_t shuffle;
    int check_finite;       /* refuse NaN and infinities in inputs, targets and weights */
    uint64_t seed, epoch;   /* with the sample index, they key shuffling and dropout */
    int64_t first_step;     /* where to go on (resume) */
} fnn_pass;
FNN_API int fnn_begin(fnn_session *session, const fnn_pass *pass, fnn_error *err);   /* [session] */
/* Runs up to max_steps steps or about max_ms milliseconds (either < 0: no limit), always whole steps. lr
 * holds one learning rate a step (lr_count >= steps run) or a single one for all (lr_count 1). [session] */
FNN_API int fnn_run(fnn_session *session, int64_t max_steps, double max_ms, const double *lr,
                    int64_t lr_count, int64_t *steps_done, int *finished, fnn_error *err);
/* Sums since fnn_begin: (sum, weight) for each loss, then for each metric, then for each penalty; then
 * the elements of each tally, row-major. A loss divides by the samples seen, a metric by the sum of its sample
 * weights, a penalty by the samples seen. Returns how many numbers there are; those beyond `count` are left
 * out. [session] */
FNN_API int fnn_results(const fnn_session *session, double *values, int count);

#ifdef __cplusplus
}
#endif
#endif
