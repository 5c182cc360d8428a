/* Measures one side, as told line by line on standard input; each answer is a line of numbers.
 *
 *   harness MODEL FEATURES OUTPUTS
 *
 *   output       the prediction
 *   memory       kB of memory that is resident, and how much of it is the process's own, before the model was opened and now
 *   calls N      seconds that N predictions took
 *   each N       the same, but each timed by itself: median, p99.9 and the longest, in seconds
 *   threads T N  seconds that T threads with a session each took for N predictions each
 */
#define _POSIX_C_SOURCE 200809L
#include "side.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 64 };

typedef struct worker {
    float *x, *y;
    void *session;
    long calls;
    double began, ended;
    pthread_barrier_t *start;
    int failed;
} worker;

static int features, outputs;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* kB of the lines "name:" of /proc/self/status. */
static void memory(long *resident, long *own) {
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    *resident = *own = 0;
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "VmRSS: %ld", resident);
        sscanf(line, "RssAnon: %ld", own);
    }
    if (file) fclose(file);
}

static void make(worker *w) {
    w->x = calloc((size_t)features, sizeof *w->x);
    w->y = calloc((size_t)outputs, sizeof *w->y);
    if (!w->x || !w->y) die("no memory");
    for (int i = 0; i < features; i++) w->x[i] = (float)(i % 7 - 3) / 3.0f;
    w->session = side_session(w->x, w->y, features, outputs);
    if (!w->session || side_run(w->session)) die("no session");
}

static void *work(void *argument) {
    worker *w = argument;
    pthread_barrier_wait(w->start);
    w->began = now();
    for (long i = 0; i < w->calls; i++) w->failed |= side_run(w->session);
    w->ended = now();
    return NULL;
}

static double on_threads(worker *workers, int count, long calls) {
    pthread_t threads[MOST_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)count);
    for (int t = 0; t < count; t++) {
        workers[t].start = &start;
        workers[t].calls = calls;
        if (pthread_create(&threads[t], NULL, work, &workers[t])) die("no thread");
    }
    for (int t = 0; t < count; t++) pthread_join(threads[t], NULL);
    pthread_barrier_destroy(&start);
    double began = workers[0].began, ended = workers[0].ended;
    for (int t = 0; t < count; t++) {
        if (workers[t].failed) die("a prediction failed");
        if (workers[t].began < began) began = workers[t].began;
        if (workers[t].ended > ended) ended = workers[t].ended;
    }
    return ended - began;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void each(worker *w, long calls) {
    double *took = calloc((size_t)calls, sizeof *took);
    if (!took) die("no memory");
    memset(took, 1, (size_t)calls * sizeof *took); /* the pages are there before */
    for (long i = 0; i < calls; i++) {
        const double began = now();
        w->failed |= side_run(w->session);
        took[i] = now() - began;
    }
    if (w->failed) die("a prediction failed");
    qsort(took, (size_t)calls, sizeof *took, ascending);
    printf("%.9f %.9f %.9f\n", took[calls / 2], took[(calls - 1) - (calls - 1) / 1000], took[calls - 1]);
    free(took);
}

int main(int argc, char **argv) {
    static worker workers[MOST_THREADS];
    long resident, own, resident_before, own_before, calls;
    int made = 0, threads;
    char line[256];
    if (argc != 4) die("harness MODEL FEATURES OUTPUTS");
    features = atoi(argv[2]);
    outputs = atoi(argv[3]);
    memory(&resident_before, &own_before);
    if (side_open(argv[1])) return 1;
    make(&workers[made++]);
    memory(&resident, &own);
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "output", 6)) {
            for (int i = 0; i < outputs; i++) printf("%.9g ", (double)workers[0].y[i]);
            printf("\n");
        } else if (!strncmp(line, "memory", 6)) {
            printf("%ld %ld %ld %ld\n", resident_before, own_before, resident, own);
        } else if (sscanf(line, "calls %ld", &calls) == 1) {
            const double began = now();
            for (long i = 0; i < calls; i++) workers[0].failed |= side_run(workers[0].session);
            printf("%.9f\n", now() - began);
            if (workers[0].failed) die("a prediction failed");
        } else if (sscanf(line, "each %ld", &calls) == 1 && calls > 0) {
            each(&workers[0], calls);
        } else if (sscanf(line, "threads %d %ld", &threads, &calls) == 2 && threads > 0 && threads <= MOST_THREADS) {
            while (made < threads) make(&workers[made++]);
            printf("%.9f\n", on_threads(workers, threads, calls));
        } else {
            die("unknown command");
        }
        fflush(stdout);
    }
    return 0;
}
