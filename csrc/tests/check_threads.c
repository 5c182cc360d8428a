/* The pool, its barrier, fork, the reader-writer lock and the floating-point state. */
#define _GNU_SOURCE
#include "../internal.h"
#include "check.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(_WIN32)
#include <process.h>
#include <windows.h>
#else
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

static void sleep_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

/* ---- the operating system: children that begin before the first call, processors, time ---- */

static int threads_by_default(void);
static int threads_on_one_cpu(void);

#if defined(_WIN32)

static const char *program;
static int (*const children[])(void) = {threads_by_default, threads_on_one_cpu};

/* Runs f in a process of its own and gives its exit status. */
static int in_child(int (*f)(void)) {
    return (int)_spawnl(_P_WAIT, program, program, f == children[0] ? "--child0" : "--child1", NULL);
}

/* NULL: no such variable. */
static void set_threads_variable(const char *text) { _putenv_s("FASTNN_NUM_THREADS", text ? text : ""); }

static int usable_cpus(void) {
    DWORD_PTR process, all;
    GetProcessAffinityMask(GetCurrentProcess(), &process, &all);
    return __builtin_popcountll(process);
}

static void use_one_cpu(void) {
    DWORD_PTR process, all;
    GetProcessAffinityMask(GetCurrentProcess(), &process, &all);
    SetProcessAffinityMask(GetCurrentProcess(), process & -process);
}

static double processor_ms(void) {
    FILETIME unused, kernel, user;
    GetProcessTimes(GetCurrentProcess(), &unused, &unused, &kernel, &user);
    return 1e-4 * ((double)kernel.dwLowDateTime + user.dwLowDateTime)
           + 1e-4 * 0x1p32 * ((double)kernel.dwHighDateTime + user.dwHighDateTime);
}

static bool signals_blocked(void) { return true; } /* there are none that a thread could take */

#else

/* Runs f in a forked child and gives its exit status, -1 after 20 s. */
static int in_child(int (*f)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(f());
    for (int i = 0; i < 2000; i++) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        sleep_ms(10);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return -1;
}

/* NULL: no such variable. */
static void set_threads_variable(const char *text) {
    if (text) setenv("FASTNN_NUM_THREADS", text, 1);
    else unsetenv("FASTNN_NUM_THREADS");
}

static int usable_cpus(void) {
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return CPU_COUNT(&set);
}

static void use_one_cpu(void) {
    cpu_set_t now, one;
    sched_getaffinity(0, sizeof now, &now);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &now)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static double processor_ms(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e3 + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-3;
}

static bool signals_blocked(void) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SIGINT);
}

#endif

/* ---- how many threads ---- */

static int threads_by_default(void) { return fnn_get_threads(); }
static int threads_on_one_cpu(void) {
    use_one_cpu();
    return fnn_get_threads();
}

/* Before anything else: the number is decided at the first call. */
static void check_count(void) {
    set_threads_variable(NULL);
    int cpus = in_child(threads_by_default);
    CHECK(cpus == usable_cpus(), "%d threads on %d processors", cpus, usable_cpus());
    CHECK(in_child(threads_on_one_cpu) == 1, "affinity is not honoured");
    static const struct {
        const char *text;
        int threads; /* 0: the text is ignored */
    } env[] = {{"3", 3},  {"1", 1},  {"", 0},    {"0", 0}, {"-2", 0}, {"many", 0},
               {"2x", 0}, {"257", 0}, {"99999999999999999999", 0}};
    for (size_t i = 0; i < sizeof env / sizeof env[0]; i++) {
        set_threads_variable(env[i].text);
        int n = in_child(threads_by_default);
        CHECK(n == (env[i].threads ? env[i].threads : cpus), "FASTNN_NUM_THREADS='%s' gives %d", env[i].text,
              n);
    }
    set_threads_variable(NULL);
    CHECK(fnn_set_threads(-1) == FNN_ERR_ARGUMENT && fnn_set_threads(FNN_MAX_THREADS + 1) == FNN_ERR_ARGUMENT,
          "range");
    CHECK(fnn_set_threads(0) == FNN_OK && fnn_get_threads() >= 1, "0 threads");
}

/* ---- jobs ---- */

typedef struct {
    atomic_int ran[FNN_MAX_THREADS];
    atomic_int phase_sum, wrong;
    int phases;
} tally;

static void job(void *arg, int thread, int threads) {
    tally *t = arg;
    atomic_fetch_add(&t->ran[thread], 1);
    for (int phase = 1; phase <= t->phases; phase++) {
        atomic_fetch_add(&t->phase_sum, 1);
        fnn_pool_barrier(thread, threads);
        /* All have arrived, and none can be further than the next barrier. */
        if (atomic_load(&t->phase_sum) < phase * threads) atomic_fetch_add(&t->wrong, 1);
        fnn_pool_barrier(thread, threads);
        if (atomic_load(&t->phase_sum) > (phase + 1) * threads) atomic_fetch_add(&t->wrong, 1);
    }
}

static bool run_job(int wanted, int phases, int *granted) {
    tally t = {.phases = phases};
    *granted = fnn_pool_acquire(wanted);
    fnn_pool_run(*granted, job, &t);
    fnn_pool_release(*granted);
    bool ok = !t.wrong && t.phase_sum == phases * *granted;
    for (int i = 0; i < FNN_MAX_THREADS; i++) ok &= t.ran[i] == (i < *granted);
    return ok;
}

static void check_jobs(void) {
    static const int sizes[] = {1, 2, 4, 3, 8, 2};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        CHECK(fnn_set_threads(sizes[s]) == FNN_OK && fnn_get_threads() == sizes[s], "set_threads(%d)",
              sizes[s]);
        bool ok = true;
        for (int i = 0; i < 200; i++) {
            int granted, wanted = 1 + i % 10;
            ok &= run_job(wanted, i % 4, &granted);
            ok &= granted == (wanted < sizes[s] ? wanted : sizes[s]);
            if (i % 50 == 0) sleep_ms(1); /* long enough for the workers to fall asleep */
        }
        CHECK(ok, "jobs on %d threads", sizes[s]);
    }
    int first = fnn_pool_acquire(2), second = fnn_pool_acquire(2);
    CHECK(first == 2 && second == 1, "one holder at a time: %d, %d", first, second);
    fnn_pool_release(second);
    CHECK(fnn_pool_acquire(2) == 1, "releasing one thread gave the pool away");
    fnn_pool_release(first);
    first = fnn_pool_acquire(2);
    CHECK(first == 2, "the pool is not free again");
    fnn_pool_release(first);
}

/* A barrier far longer than the spin: the others sleep, and wake. */
static void slow_job(void *arg, int thread, int threads) {
    atomic_int *sum = arg;
    for (int i = 0; i < 3; i++) {
        if (thread == i % threads) sleep_ms(3);
        atomic_fetch_add(sum, 1);
        fnn_pool_barrier(thread, threads);
    }
}

static void check_sleep(void) {
    fnn_set_threads(4);
    atomic_int sum = 0;
    int n = fnn_pool_acquire(4);
    fnn_pool_run(n, slow_job, &sum);
    fnn_pool_release(n);
    CHECK(sum == 12, "slow barriers: %d", (int)sum);

    sleep_ms(5);
    double used = -processor_ms();
    sleep_ms(100);
    used += processor_ms();
    CHECK(used < 20, "idle workers used %.1f ms of 100", used);
}

static void *busy_caller(void *arg) {
    int *ok = arg;
    for (int i = 0; i < 300; i++) {
        int granted;
        *ok &= run_job(3, i % 3, &granted);
    }
    return NULL;
}

/* Several callers and a changing number of threads at a time. */
static void check_callers(void) {
    pthread_t callers[3];
    int ok[3] = {1, 1, 1};
    for (int i = 0; i < 3; i++) pthread_create(&callers[i], NULL, busy_caller, &ok[i]);
    for (int i = 0; i < 20; i++) {
        if (fnn_set_threads(1 + i % 4) != FNN_OK) ok[0] = 0;
        sleep_ms(1);
    }
    for (int i = 0; i < 3; i++) pthread_join(callers[i], NULL);
    CHECK(ok[0] && ok[1] && ok[2], "concurrent callers");
}

static void look_at_thread(void *arg, int thread, int threads) {
    (void)threads;
    atomic_int *flags = arg;
    if (thread && signals_blocked()) atomic_fetch_or(flags, 1);
    volatile float tiny = 1e-30f, zero = tiny * 1e-10f;
    if (thread && zero == 0) atomic_fetch_or(flags, 2);
}

static void check_workers(void) {
    fnn_set_threads(2);
    atomic_int flags = 0;
    int n = fnn_pool_acquire(2);
    fnn_pool_run(n, look_at_thread, &flags);
    fnn_pool_release(n);
    CHECK(flags & 1, "workers take signals");
    CHECK(flags & 2, "workers keep subnormals");
#if !defined(_WIN32)
    CHECK(!signals_blocked(), "the caller's signals stay blocked");
#endif

    volatile float tiny = 1e-30f;
    uint64_t host = fnn_fp_enter();
    volatile float inside = tiny * 1e-10f;
    fnn_fp_restore(host);
    volatile float outside = tiny * 1e-10f;
    CHECK(inside == 0 && outside > 0, "flush to zero: %g inside, %g outside", (double)inside,
          (double)outside);
}

/* ---- fork ---- */

#if !defined(_WIN32)

static int job_in_child(void) {
    for (int i = 0; i < 50; i++) {
        int granted;
        if (!run_job(3, 2, &granted) || granted != 3) return 1;
    }
    return fnn_set_threads(2) == FNN_OK && fnn_get_threads() == 2 ? 0 : 2;
}

static fnn_rwlock *shared_lock;

static int lock_in_child(void) {
    fnn_rwlock_read(shared_lock);
    fnn_rwlock_unread(shared_lock);
    fnn_rwlock_write(shared_lock);
    fnn_rwlock_unwrite(shared_lock);
    fnn_rwlock *another = fnn_rwlock_new();
    fnn_rwlock_free(another);
    return job_in_child();
}

static void *hold_everything(void *arg) {
    atomic_int *state = arg;
    int n = fnn_pool_acquire(3);
    fnn_rwlock_write(shared_lock);
    atomic_store(state, 1);
    while (atomic_load(state) == 1) sleep_ms(1);
    fnn_rwlock_unwrite(shared_lock);
    fnn_pool_release(n);
    return NULL;
}

static void check_fork(void) {
    fnn_set_threads(3);
    int granted;
    run_job(3, 1, &granted);
    CHECK(in_child(job_in_child) == 0, "the pool after fork");
    CHECK(run_job(3, 2, &granted) && granted == 3, "the parent's pool after fork");

    /* Another thread holds the pool and a lock while this one forks. */
    shared_lock = fnn_rwlock_new();
    atomic_int state = 0;
    pthread_t holder;
    pthread_create(&holder, NULL, hold_everything, &state);
    while (atomic_load(&state) == 0) sleep_ms(1);
    CHECK(in_child(lock_in_child) == 0, "fork while another thread holds the pool and a lock");
    atomic_store(&state, 2);
    pthread_join(holder, NULL);
    CHECK(run_job(3, 2, &granted) && granted == 3, "the parent's pool is not free again");
    fnn_rwlock_free(shared_lock);
}

#endif

/* ---- reader-writer lock ---- */

static struct { fnn_rwlock *lock; int a, b; atomic_int stop, torn, reads, writes; } cell;

static void *reader(void *arg) {
    (void)arg;
    while (!atomic_load(&cell.stop)) {
        fnn_rwlock_read(cell.lock);
        if (cell.a != cell.b) atomic_fetch_add(&cell.torn, 1);
        atomic_fetch_add(&cell.reads, 1);
        fnn_rwlock_unread(cell.lock);
    }
    return NULL;
}

/* Takes the lock again at once, as a training loop does. */
static void *writer(void *arg) {
    (void)arg;
    while (!atomic_load(&cell.stop)) {
        fnn_rwlock_write(cell.lock);
        cell.a++;
        for (volatile int i = 0; i < 1000; i++) { }
        cell.b++;
        atomic_fetch_add(&cell.writes, 1);
        fnn_rwlock_unwrite(cell.lock);
    }
    return NULL;
}

static void check_rwlock(int readers, int writers) {
    pthread_t thread[8];
    int n = 0;
    memset(&cell, 0, sizeof cell);
    cell.lock = fnn_rwlock_new();
    for (int i = 0; i < readers; i++) pthread_create(&thread[n++], NULL, reader, NULL);
    for (int i = 0; i < writers; i++) pthread_create(&thread[n++], NULL, writer, NULL);
    /* Its mutex may be slow to change hands under Wine. */
    for (int ms = 0; ms < 150 || (ms < 3000 && (cell.reads <= 20 || cell.writes <= 20)); ms += 10) sleep_ms(10);
    atomic_store(&cell.stop, 1);
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
    CHECK(!cell.torn && cell.a == cell.writes, "%d torn reads", (int)cell.torn);
    CHECK(cell.reads > 20 && cell.writes > 20, "%d readers, %d writers: %d reads, %d writes", readers,
          writers, (int)cell.reads, (int)cell.writes);
    fnn_rwlock_free(cell.lock);
}

/* --no-fork: ThreadSanitizer and qemu cannot start threads in the child of a process that has some. */
int main(int argc, char **argv) {
#if defined(_WIN32)
    program = argv[0];
    for (int i = 0; i < 2; i++)
        if (argc == 2 && !strcmp(argv[1], i ? "--child1" : "--child0")) return children[i]();
#endif
    check_count();
    check_jobs();
    check_sleep();
    check_callers();
    check_workers();
#if !defined(_WIN32)
    if (argc < 2 || strcmp(argv[1], "--no-fork")) check_fork();
#endif
    check_rwlock(1, 1);
    check_rwlock(4, 1);
    check_rwlock(1, 3);
    check_rwlock(3, 3);
    double start = fnn_now_ms();
    sleep_ms(5);
    CHECK(fnn_now_ms() - start >= 4.9, "the clock runs slow");
    printf("check_threads: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}
