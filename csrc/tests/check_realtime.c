/* What a thread that must not be late may call: with FNN_ONE_THREAD, fnn_predict and fnn_predict_many take no memory and
 * no lock (the linker's --wrap counts both), and make no system call: a process in which the kernel allows none but
 * read, write and exit (seccomp's strict mode) predicts thousands of times.
 *
 *   check_realtime FILE...
 */
#if !defined(__linux__)

#include <stdio.h>

int main(void) {
    printf("0 passed, 0 failed: not Linux\n");
    return 0;
}

#else

#include "../fastnn.h"
#include "check.h"

#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the library's calls end here ---- */

static atomic_long memory_calls, lock_calls;

#define WRAP(counter, type, name, parameters, arguments)                          \
    type __real_##name parameters;                                                \
    type __wrap_##name parameters;                                                \
    type __wrap_##name parameters {                                               \
        atomic_fetch_add(&counter, 1);                                            \
        return __real_##name arguments;                                           \
    }
WRAP(memory_calls, void *, malloc, (size_t n), (n))
WRAP(memory_calls, void *, calloc, (size_t n, size_t size), (n, size))
WRAP(memory_calls, void *, realloc, (void *p, size_t n), (p, n))
WRAP(memory_calls, int, posix_memalign, (void **p, size_t align, size_t n), (p, align, n))
WRAP(memory_calls, void, free, (void *p), (p))
WRAP(lock_calls, int, pthread_mutex_lock, (pthread_mutex_t *m), (m))
WRAP(lock_calls, int, pthread_mutex_trylock, (pthread_mutex_t *m), (m))
WRAP(lock_calls, int, pthread_cond_wait, (pthread_cond_t *c, pthread_mutex_t *m), (c, m))
WRAP(lock_calls, int, pthread_cond_signal, (pthread_cond_t *c), (c))
WRAP(lock_calls, int, pthread_cond_broadcast, (pthread_cond_t *c), (c))

/* ---- a model, a session, arrays ---- */

enum { MOST = 16, ROWS = 4, TIMES = 10000 };
typedef struct {
    fnn_model *model;
    fnn_session *session;
    void *in[MOST], *out[MOST], *first[MOST];
    size_t bytes[MOST];              /* of an output */
    int n_in, n_out;
    bool simple;                     /* one input and one output, both of the model's own type */
} predictor;

static size_t size_of(int dtype) { return dtype == FNN_F64 ? 8 : 4; }

static bool open_one(const char *path, predictor *p) {
    fnn_error err = {0};
    fnn_tensor_info info = {0};
    memset(p, 0, sizeof *p);
    if (fnn_open(path, &p->model, &err)) {
        CHECK(strstr(path, "weights"), "%s: %s", path, err.text);   /* a file of weights has no program */
        return false;
    }
    int status = fnn_session_create(p->model, FNN_PREDICT, ROWS, FNN_ONE_THREAD, &p->session, &err);
    CHECK(status == FNN_OK, "%s: %s", path, err.text);
    if (status) return false;
    p->n_in = fnn_model_count(p->model, FNN_INPUTS);
    p->n_out = fnn_model_count(p->model, FNN_OUTPUTS);
    for (int i = 0; i < p->n_in; i++) {
        fnn_model_tensor(p->model, FNN_INPUTS, i, &info, &err);
        const int64_t n = ROWS * info.count;
        p->in[i] = malloc((size_t)n * size_of(info.dtype));
        if (!p->in[i]) return false;
        for (int64_t k = 0; k < n; k++)
            if (info.dtype == FNN_F64) ((double *)p->in[i])[k] = (double)(k % 7) / 4 - 0.5;
            else if (info.dtype == FNN_F32) ((float *)p->in[i])[k] = (float)(k % 7) / 4 - 0.5f;
            else ((int32_t *)p->in[i])[k] = (int32_t)(k % 2);
        p->simple = p->n_in == 1 && p->n_out == 1 && info.dtype != FNN_I32;
    }
    for (int i = 0; i < p->n_out; i++) {
        fnn_model_tensor(p->model, FNN_OUTPUTS, i, &info, &err);
        p->bytes[i] = (size_t)(ROWS * info.count) * size_of(info.dtype);
        p->out[i] = calloc(1, p->bytes[i]);
        p->first[i] = calloc(1, p->bytes[i]);
        if (!p->out[i] || !p->first[i]) return false;
    }
    status = fnn_predict_many(p->session, (const void *const *)p->in, p->out, ROWS, &err);
    CHECK(status == FNN_OK, "%s: %s", path, err.text);
    for (int i = 0; i < p->n_out; i++) memcpy(p->first[i], p->out[i], p->bytes[i]);
    return status == FNN_OK;
}

/* Predicts often, by both functions; how often something else came out. */
static int predict_often(predictor *p) {
    int wrong = 0;
    for (int turn = 0; turn < TIMES; turn++) {
        fnn_error err;
        const int64_t n = 1 + turn % ROWS;
        int status = p->simple && turn % 2 ? fnn_predict(p->session, p->in[0], p->out[0], n)
                                           : fnn_predict_many(p->session, (const void *const *)p->in, p->out, n, &err);
        wrong += status != FNN_OK;
        for (int i = 0; i < p->n_out; i++) wrong += memcmp(p->out[i], p->first[i], p->bytes[i] / ROWS * (size_t)n) != 0;
    }
    return wrong;
}

/* In a process that may only read, write and exit; `sins` makes one more call. The exit status is 0 where all was as it
 * was before, SIGKILL the kernel's answer to another system call. */
static int in_prison(predictor *p, bool sins) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) _exit(77);
        int wrong = predict_often(p);
        if (sins) syscall(SYS_getppid);
        syscall(SYS_exit, wrong != 0);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child ? status : -1;
}

int main(int argc, char **argv) {
    int models = 0;
    fnn_set_threads(2);              /* that the session is of one thread is enough */
    for (int i = 1; i < argc; i++) {
        predictor p;
        if (open_one(argv[i], &p)) {
            models++;
            atomic_store(&memory_calls, 0);
            atomic_store(&lock_calls, 0);
            CHECK(predict_often(&p) == 0, "%s: predictions differ", argv[i]);
            CHECK(atomic_load(&memory_calls) == 0, "%s: memory is asked for or given back %ld times", argv[i], atomic_load(&memory_calls));
            CHECK(atomic_load(&lock_calls) == 0, "%s: %ld locks are taken", argv[i], atomic_load(&lock_calls));
            int status = in_prison(&p, false);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
                printf("check_realtime: the kernel has no seccomp; system calls are not checked\n");
            } else {
                CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: %s", argv[i],
                      WIFSIGNALED(status) ? "a system call was made" : "predictions differ");
                status = in_prison(&p, true);
                CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a system call is not seen: status %d", status);
            }
        }
        for (int k = 0; k < MOST; k++) {
            free(p.in[k]);
            free(p.out[k]);
            free(p.first[k]);
        }
        fnn_session_free(p.session);
        fnn_model_free(p.model);
    }
    CHECK(models > 0, "no models to predict with");
    void *probe = malloc(1);         /* the counters count */
    CHECK(atomic_load(&memory_calls) > 0, "calls are not counted");
    free(probe);
    fnn_set_threads(1);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
