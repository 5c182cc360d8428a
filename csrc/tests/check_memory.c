/* Out of memory: every allocation of a program's life, and of a file's, fails in its turn, and so does the start of
 * every thread. What the library says then is FNN_ERR_MEMORY, or nothing where it can do without; nothing leaks,
 * and the next attempt works.
 *
 *   check_memory FILE SCRATCH     a model that trains, and where it is saved
 */
#include "../internal.h"
#include "check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#endif

/* ---- the library's calls end here (the linker's --wrap) ---- */

static atomic_long asked, live;      /* allocations and threads asked for; blocks not yet freed */
static atomic_long fails_at = -1;

static bool refused(void) { return atomic_fetch_add(&asked, 1) == atomic_load(&fails_at); }
static void *counted(void *p) {
    if (p) atomic_fetch_add(&live, 1);
    return p;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void __wrap_free(void *p);

void *__wrap_malloc(size_t size) { return refused() ? NULL : counted(__real_malloc(size)); }
void *__wrap_calloc(size_t n, size_t size) { return refused() ? NULL : counted(__real_calloc(n, size)); }
void __wrap_free(void *p) {
    if (p) atomic_fetch_sub(&live, 1);
    __real_free(p);
}

#if defined(_WIN32)

/* Functions of other DLLs are called through pointers. */
typedef void *aligned_malloc(size_t size, size_t align);
typedef void aligned_free(void *p);
typedef HANDLE WINAPI create_thread(SECURITY_ATTRIBUTES *security, SIZE_T stack, LPTHREAD_START_ROUTINE body, void *arg,
                                    DWORD flags, DWORD *id);
extern aligned_malloc *__real___imp__aligned_malloc, *__wrap___imp__aligned_malloc;
extern aligned_free *__real___imp__aligned_free, *__wrap___imp__aligned_free;
extern create_thread *__real___imp_CreateThread, *__wrap___imp_CreateThread;

static void *test_aligned_malloc(size_t size, size_t align) {
    return refused() ? NULL : counted(__real___imp__aligned_malloc(size, align));
}
static void test_aligned_free(void *p) {
    if (p) atomic_fetch_sub(&live, 1);
    __real___imp__aligned_free(p);
}
static HANDLE WINAPI test_create_thread(SECURITY_ATTRIBUTES *security, SIZE_T stack, LPTHREAD_START_ROUTINE body, void *arg,
                                        DWORD flags, DWORD *id) {
    return refused() ? NULL : __real___imp_CreateThread(security, stack, body, arg, flags, id);
}
aligned_malloc *__wrap___imp__aligned_malloc = test_aligned_malloc;
aligned_free *__wrap___imp__aligned_free = test_aligned_free;
create_thread *__wrap___imp_CreateThread = test_create_thread;

#else

int __real_posix_memalign(void **p, size_t align, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg);
int __wrap_posix_memalign(void **p, size_t align, size_t size);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg);

char *__real_realpath(const char *path, char *found);
char *__wrap_realpath(const char *path, char *found);

char *__wrap_realpath(const char *path, char *found) { return refused() ? NULL : counted(__real_realpath(path, found)); }
int __wrap_posix_memalign(void **p, size_t align, size_t size) {
    if (refused()) return 12;        /* ENOMEM */
    int status = __real_posix_memalign(p, align, size);
    if (!status) counted(*p);
    return status;
}
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg) {
    return refused() ? 11 : __real_pthread_create(thread, attr, body, arg); /* EAGAIN */
}

#endif

/* ---- a life: 64-256-10, momentum, two models that share the parameters; the kernel's gradient is tallied, for
 * which it is copied to another layout ---- */

static const char text[] =
    "fastnn-program 1\n"
    "dtype float32\n"
    "tensor 0 input float32 B,64 x\n"
    "tensor 1 param float32 64,256 kernel\n"
    "tensor 2 param float32 256 bias\n"
    "tensor 3 temp float32 B,256\n"
    "tensor 4 temp float32 B,256\n"
    "tensor 5 temp float32 B,256\n"
    "tensor 6 weight float32 B\n"
    "tensor 7 temp float32 B\n"
    "tensor 8 temp float32 B\n"
    "tensor 9 temp float32 B,256\n"
    "tensor 10 temp float32 64,256\n"
    "tensor 11 temp float32 256\n"
    "node matmul 0,1 3 -\n"
    "node bias_add 3,2 4 -\n"
    "node relu 4 5 -\n"
    "node squared_error 5,4 7 -\n"
    "node loss_seed 6 8 0x1p+0\n"
    "node squared_error_grad 8,5,4 9 -\n"
    "node matmul_tn 0,9 10 -\n"
    "node sum_rows 9 11 -\n"
    "node sgd 1,10 - 0x1.ccccccccccccdp-1,0x0p+0,0x0p+0\n"
    "node sgd 2,11 - 0x1.ccccccccccccdp-1,0x0p+0,0x0p+0\n"
    "root output 5 y\n"
    "root loss 7 6 0x1p+0 loss\n"
    "root tally 10 g\n";

enum { N = 600, BATCH = 300 };
static float x[N][64], y[N][256], kernel[64 * 256];

static int pass_over(fnn_model *m, int mode, fnn_error *err) {
    fnn_session *s;
    int status = fnn_session_create(m, mode, BATCH, FNN_GUARD, &s, err);
    if (status) return status;
    fnn_array in = {x, FNN_F32, 0, 2, {N, 64}, {sizeof x[0], sizeof x[0][0]}};
    fnn_array out = {y, FNN_F32, 0, 2, {N, 256}, {sizeof y[0], sizeof y[0][0]}};
    fnn_pass pass = {.n = N, .batch_size = BATCH, .shuffle = 1, .check_finite = 1};
    double lr = 0.01;
    int64_t done;
    int finished = 0;
    if (!status) status = fnn_bind(s, 0, &in, err);
    if (!status) status = fnn_bind(s, 5, &out, err);
    if (!status) status = fnn_begin(s, &pass, err);
    if (!status) status = fnn_run(s, -1, -1, &lr, 1, &done, &finished, err);
    if (!status) CHECK(finished && fnn_session_check(s, NULL) == FNN_OK, "a run to the end");
    fnn_session_free(s);
    return status;
}

static int live_once(fnn_error *err) {
    fnn_model *m = NULL, *other = NULL;
    fnn_param *shared[2] = {0};
    fnn_set_threads(3);
    int status = fnn_model_create(text, strlen(text), NULL, NULL, 0, &m, err);
    if (!status) status = fnn_param_write(shared[1] = fnn_model_param(m, 1), kernel, 64 * 256, err);
    if (!status) status = fnn_model_snapshot(m, err);
    for (int mode = FNN_PREDICT; !status && mode <= FNN_GRADIENTS; mode++) status = pass_over(m, mode, err);
    if (!status) status = fnn_model_create(text, strlen(text), NULL, shared, 2, &other, err);
    if (!status) status = pass_over(other, FNN_TRAIN, err);
    if (!status) status = fnn_model_restore(m, err);
    fnn_param_free(shared[1]);
    fnn_model_free(m);
    fnn_model_free(other);
    fnn_set_threads(1);              /* gives the pool back */
    return status;
}

/* ---- another: a file is opened, asked, run, trained and saved ---- */

static const char *source, *scratch;

static int batches(fnn_model *m, fnn_error *err) {
    enum { ROWS = 20 };
    static float rows[ROWS * 64], probabilities[ROWS * 64];
    static double labels[ROWS * 64];
    const void *arrays[] = {rows, labels};
    void *outputs[] = {probabilities};
    fnn_session *s = NULL;
    double loss;
    size_t foreseen = 0;
    int status = fnn_session_size(m, FNN_PREDICT, ROWS, FNN_ONE_THREAD, &foreseen, err);
    if (!status) status = fnn_session_create(m, FNN_PREDICT, ROWS, FNN_ONE_THREAD, &s, err);
    if (!status) status = fnn_predict_many(s, arrays, outputs, ROWS, err);
    fnn_session_free(s);
    s = NULL;
    if (!status) status = fnn_session_create(m, FNN_TRAIN, ROWS, 0, &s, err);
    if (!status) status = fnn_train_batch(s, arrays, ROWS, 0.01, &loss, err);
    if (!status) status = fnn_train_epoch(s, arrays, ROWS, 1, 0, 0.01, &loss, err);
    fnn_session_free(s);
    return status;
}

static int file_once(fnn_error *err) {
    static unsigned char saved[1 << 16];
    fnn_model *m = NULL, *again = NULL;
    size_t size = 0;
    fnn_set_threads(2);
    int status = fnn_open(source, &m, err);
    if (!status) status = batches(m, err);
    if (!status) status = fnn_save(m, scratch, err);
    if (!status) status = fnn_save_memory(m, saved, sizeof saved, &size, err);
    if (!status) status = fnn_open_memory(saved, size, &again, err);
    if (!status) status = batches(again, err);
    if (!status) CHECK(fnn_model_iterations(again) > fnn_model_iterations(m), "the second one trained on");
    fnn_model_free(m);
    fnn_model_free(again);
    fnn_set_threads(1);
    return status;
}

/* What stands at the path is a whole file, whatever failed. */
static void look_at_saved(long k) {
    fnn_model *m = NULL;
    fnn_error err;
    int status = fnn_open(scratch, &m, &err);
    CHECK(status == FNN_OK, "after allocation %ld: %s", k, err.text);
    fnn_model_free(m);
}

/* Every allocation of a life fails in its turn. */
static void fail_each(const char *what, int (*life)(fnn_error *err), void (*look)(long k)) {
    fnn_error err = {0};
    CHECK(life(&err) == FNN_OK, "%s, with all the memory it wants: %s", what, err.text);
    atomic_store(&asked, 0);         /* what the C library keeps for good: arguments, musl's handlers of fork */
    atomic_store(&live, 0);
    CHECK(life(&err) == FNN_OK, "%s, once more: %s", what, err.text);
    long total = atomic_load(&asked), before = atomic_load(&live);
    CHECK(before == 0, "%s: %ld blocks leak", what, before);
    CHECK(total > 20, "%s: %ld allocations", what, total);
    for (long k = 0; k < total; k++) {
        atomic_store(&live, 0);
        atomic_store(&asked, 0);
        atomic_store(&fails_at, k);
        int status = life(&err);
        atomic_store(&fails_at, -1);
        CHECK(status == FNN_OK || (status == FNN_ERR_MEMORY && strstr(err.text, "out of memory")),
              "%s, allocation %ld of %ld: status %d, '%s'", what, k, total, status, status ? err.text : "");
        CHECK(atomic_load(&live) == 0, "%s, allocation %ld of %ld: %ld blocks leak", what, k, total, atomic_load(&live));
        if (look) look(k);
    }
    CHECK(life(&err) == FNN_OK, "%s, afterwards: %s", what, err.text);
}

int main(int argc, char **argv) {
    for (int i = 0; i < 64 * 256; i++) kernel[i] = (float)(i % 17 - 8) / 64;
    for (int i = 0; i < N * 64; i++) x[i / 64][i % 64] = (float)(i % 23 - 11) / 16;
    fail_each("a program", live_once, NULL);
    if (argc == 3) {
        source = argv[1];
        scratch = argv[2];
        fail_each("a file", file_once, look_at_saved);
        remove(scratch);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
