/* Answers requests on several threads that share one model, each with a session of its own.
 *
 *   cc -std=c11 server.c $(pkg-config --cflags --libs fastnn) -pthread -o server
 *   ./server model.fnn x.raw y.raw 4      # each row of float32 in x.raw is a request; 4 threads
 *
 * The answers do not depend on which thread gave them: y.raw has the same bits for any number of threads.
 */
#define _POSIX_C_SOURCE 200809L
#include <fastnn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROOM = 256 }; /* requests that may wait */

typedef struct request {
    const float *x;
    float *y;
} request;

typedef struct server {
    fnn_model *model;
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    request waiting[ROOM];
    size_t taken, given; /* requests ever taken from the queue, and put into it */
    int closed;
    fnn_error err; /* of the first request that failed */
} server;

static int fail(const char *what) {
    fprintf(stderr, "server: %s\n", what);
    return 1;
}

static void put(server *s, request r) {
    pthread_mutex_lock(&s->lock);
    while (s->given - s->taken == ROOM) pthread_cond_wait(&s->not_full, &s->lock);
    s->waiting[s->given++ % ROOM] = r;
    pthread_cond_signal(&s->not_empty);
    pthread_mutex_unlock(&s->lock);
}

/* 0 where there will be no more. */
static int take(server *s, request *r) {
    pthread_mutex_lock(&s->lock);
    while (s->given == s->taken && !s->closed) pthread_cond_wait(&s->not_empty, &s->lock);
    const int found = s->given != s->taken;
    if (found) *r = s->waiting[s->taken++ % ROOM];
    pthread_cond_signal(&s->not_full);
    pthread_mutex_unlock(&s->lock);
    return found;
}

static void *work(void *argument) {
    server *s = argument;
    fnn_session *session = NULL;
    fnn_error err;
    request r;
    /* The pool is made of whole requests, so a request needs no other thread's help. */
    int status = fnn_session_create(s->model, FNN_PREDICT, 1, FNN_ONE_THREAD, &session, &err);
    while (take(s, &r)) {
        if (!status && (status = fnn_predict(session, r.x, r.y, 1))) err = *fnn_session_error(session);
    }
    fnn_session_free(session);
    if (status) {
        pthread_mutex_lock(&s->lock);
        if (!s->err.status) s->err = err;
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static server s = {.lock = PTHREAD_MUTEX_INITIALIZER, .not_empty = PTHREAD_COND_INITIALIZER,
                       .not_full = PTHREAD_COND_INITIALIZER};
    pthread_t threads[64];
    fnn_error err;
    fnn_tensor_info in, out;
    const int n_threads = argc == 5 ? atoi(argv[4]) : 0;
    if (n_threads < 1 || n_threads > 64) return fail("needs MODEL X Y THREADS, 1 to 64 of them");
    if (fnn_open(argv[1], &s.model, &err) || fnn_model_tensor(s.model, FNN_INPUTS, 0, &in, &err) ||
        fnn_model_tensor(s.model, FNN_OUTPUTS, 0, &out, &err))
        return fail(err.text);
    if (in.dtype != FNN_F32 || out.dtype != FNN_F32) return fail("the model is not of float32");

    FILE *file = fopen(argv[2], "rb");
    if (!file || fseek(file, 0, SEEK_END)) return fail("cannot read the requests");
    const size_t width = (size_t)in.count, answer = (size_t)out.count;
    const long size = ftell(file);
    const size_t n = size < 0 ? 0 : (size_t)size / (width * sizeof(float));
    float *x = calloc(n * width, sizeof *x), *y = calloc(n * answer, sizeof *y);
    rewind(file);
    if (!n || !x || !y || fread(x, width * sizeof *x, n, file) != n) return fail("there are no requests, or too many");
    fclose(file);

    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int t = 0; t < n_threads; t++)
        if (pthread_create(&threads[t], NULL, work, &s)) return fail("cannot start a thread");
    for (size_t i = 0; i < n; i++) put(&s, (request){x + i * width, y + i * answer});
    pthread_mutex_lock(&s.lock);
    s.closed = 1;
    pthread_cond_broadcast(&s.not_empty);
    pthread_mutex_unlock(&s.lock);
    for (int t = 0; t < n_threads; t++) pthread_join(threads[t], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (s.err.status) return fail(s.err.text);

    const double seconds = (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("%zu requests on %d threads: %.0f requests/s\n", n, n_threads, (double)n / seconds);
    file = fopen(argv[3], "wb");
    if (!file || fwrite(y, answer * sizeof *y, n, file) != n || fclose(file)) return fail("cannot write the answers");
    free(x);
    free(y);
    fnn_model_free(s.model);
    return 0;
}
