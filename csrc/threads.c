/* The thread pool, the model's lock, the clock and the floating-point state.
 *
 * Workers are made at the first job that wants them. They wait for a job by spinning for up to SPIN_MS, then
 * they sleep. The operating system stands behind a few static functions: POSIX, Win32, or none at all under
 * FNN_NO_THREADS.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <time.h>
#if !defined(FNN_NO_THREADS)
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#endif
#endif
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

/* ---- clock and floating-point state ---- */

double fnn_now_ms(void) {
#if defined(_WIN32)
    LARGE_INTEGER now, per_second;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&per_second);
    return (double)now.QuadPart * 1e3 / (double)per_second.QuadPart;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
#endif
}

#if defined(__x86_64__) || defined(_M_X64)
uint64_t fnn_fp_enter(void) {
    unsigned host = _mm_getcsr();
    _mm_setcsr(0x9FC0); /* subnormals flushed in and out, exceptions masked, none raised, to nearest */
    return host;
}
void fnn_fp_restore(uint64_t state) { _mm_setcsr((unsigned)state); }
#elif defined(__aarch64__)
uint64_t fnn_fp_enter(void) {
    uint64_t control, status;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(status));
    /* FZ; no traps, round to nearest */
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24) : "memory");
    return status << 32 | (uint32_t)control;
}
void fnn_fp_restore(uint64_t state) {
    uint64_t control = (uint32_t)state, status = state >> 32;
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(control), "r"(status) : "memory");
}
#else
uint64_t fnn_fp_enter(void) { return 0; }
void fnn_fp_restore(uint64_t state) { (void)state; }
#endif

#if defined(FNN_NO_THREADS)

int fnn_set_threads(int n) { return n < 0 || n > FNN_MAX_THREADS ? FNN_ERR_ARGUMENT : FNN_OK; }
int fnn_get_threads(void) { return 1; }
int fnn_pool_acquire(int wanted) { (void)wanted; return 1; }
void fnn_pool_run(int threads, void (*job)(void *arg, int thread, int threads), void *arg) {
    (void)threads;
    job(arg, 0, 1);
}
void fnn_pool_barrier(int thread, int threads) { (void)thread; (void)threads; }
void fnn_pool_release(int threads) { (void)threads; }
void fnn_pool_crowd(int change) { (void)change; }

struct fnn_rwlock { char unused; };
fnn_rwlock *fnn_rwlock_new(void) { return fnn_alloc(sizeof(fnn_rwlock)); }
void fnn_rwlock_free(fnn_rwlock *l) { fnn_free(l); }
void fnn_rwlock_read(fnn_rwlock *l) { (void)l; }
void fnn_rwlock_unread(fnn_rwlock *l) { (void)l; }
void fnn_rwlock_write(fnn_rwlock *l) { (void)l; }
void fnn_rwlock_unwrite(fnn_rwlock *l) { (void)l; }

#else

/* ---- the operating system ---- */

#if defined(_WIN32)

typedef SRWLOCK os_mutex;
typedef CONDITION_VARIABLE os_cond;
typedef HANDLE os_thread;

static void mutex_init(os_mutex *m) { InitializeSRWLock(m); }
static void mutex_destroy(os_mutex *m) { (void)m; }
static void mutex_lock(os_mutex *m) { AcquireSRWLockExclusive(m); }
static void mutex_unlock(os_mutex *m) { ReleaseSRWLockExclusive(m); }
static void cond_init(os_cond *c) { InitializeConditionVariable(c); }
static void cond_destroy(os_cond *c) { (void)c; }
static void cond_wait(os_cond *c, os_mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void cond_signal(os_cond *c) { WakeConditionVariable(c); }
static void cond_broadcast(os_cond *c) { WakeAllConditionVariable(c); }
static void pause_ms(void) { Sleep(1); }
static void offer(void) { SwitchToThread(); }

#define THREAD_RESULT DWORD WINAPI
#define THREAD_DONE 0

/* The DLL is never unloaded from then on: idle workers would go on running in it. */
static bool thread_start(os_thread *t, DWORD(WINAPI *body)(void *), void *arg) {
    HMODULE here;
    GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN, (LPCSTR)body, &here);
    *t = CreateThread(NULL, 0, body, arg, 0, NULL);
    return *t != NULL;
}
static void thread_join(os_thread t) { WaitForSingleObject(t, INFINITE); CloseHandle(t); }

static int usable_cpus(void) {
    DWORD_PTR process, all;
    int n = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &process, &all))
        for (; process; process &= process - 1) n++;
    return n;
}

#else

typedef pthread_mutex_t os_mutex;
typedef pthread_cond_t os_cond;
typedef pthread_t os_thread;

static void mutex_init(os_mutex *m) { pthread_mutex_init(m, NULL); }
static void mutex_destroy(os_mutex *m) { pthread_mutex_destroy(m); }
static void mutex_lock(os_mutex *m) { pthread_mutex_lock(m); }
static void mutex_unlock(os_mutex *m) { pthread_mutex_unlock(m); }
static void cond_init(os_cond *c) { pthread_cond_init(c, NULL); }
static void cond_destroy(os_cond *c) { pthread_cond_destroy(c); }
static void cond_wait(os_cond *c, os_mutex *m) { pthread_cond_wait(c, m); }
static void cond_signal(os_cond *c) { pthread_cond_signal(c); }
static void cond_broadcast(os_cond *c) { pthread_cond_broadcast(c); }
static void pause_ms(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }
static void offer(void) { sched_yield(); }

#define THREAD_RESULT void *
#define THREAD_DONE NULL
#define THREAD_STACK ((size_t)2 << 20) /* musl's own default is 128 KiB */

/* Every signal is blocked in the new thread, so that the host's handlers run in the host's threads. */
static bool thread_start(os_thread *t, void *(*body)(void *), void *arg) {
    sigset_t all, host;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr)) return false;
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &host);
    int failed = pthread_create(t, &attr, body, arg);
    pthread_sigmask(SIG_SETMASK, &host, NULL);
    pthread_attr_destroy(&attr);
    return !failed;
}
static void thread_join(os_thread t) { pthread_join(t, NULL); }

static int usable_cpus(void) {
#if defined(__linux__)
    /* The kernel refuses a mask smaller than its own. */
    for (int cpus = 1024; cpus <= 1 << 16; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        if (!set) break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        int n = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (n > 0) return n;
    }
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

#endif

static inline void relax(void) {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" : : : "memory"); /* as long as x86's pause; yield does nothing on most cores */
#endif
}

/* ---- gate: a counter that threads wait on until it moves ---- */

#define SPIN_MS 0.05 /* idle */
#define MEET_MS 1.0  /* in a job, where the others are at work and waking may take longer than SPIN_MS */
#define ALONE_MS 0.005 /* then the processor is offered, in case the thread waited for was put on the same one */
#define LINE 64

typedef struct {
    atomic_uint value;
    atomic_int sleepers;
    os_mutex mutex;
    os_cond cond;
} gate;

static void gate_init(gate *g) {
    atomic_init(&g->value, 0);
    atomic_init(&g->sleepers, 0);
    mutex_init(&g->mutex);
    cond_init(&g->cond);
}

static void gate_destroy(gate *g) {
    cond_destroy(&g->cond);
    mutex_destroy(&g->mutex);
}

static void gate_open(gate *g) {
    atomic_fetch_add(&g->value, 1);
    /* Sequentially consistent with the sleeper's increment and its look at the value: one of the two sees the
     * other. */
    if (atomic_load(&g->sleepers) > 0) {
        mutex_lock(&g->mutex);
        mutex_unlock(&g->mutex); /* who looked before has begun to wait by now */
        cond_broadcast(&g->cond);
    }
}

/* Waits until the value is no longer `seen`. */
static void gate_wait(gate *g, unsigned seen, double spin_ms) {
    bool spin = spin_ms > 0;
    double start = 0;
    for (int i = 1; spin; i++) {
        if (atomic_load_explicit(&g->value, memory_order_acquire) != seen) return;
        relax();
        if (i % 64 == 0) {
            double now = fnn_now_ms();
            if (start == 0) start = now;
            spin = now - start < spin_ms;
            if (now - start > ALONE_MS) offer();
        }
    }
    mutex_lock(&g->mutex);
    atomic_fetch_add(&g->sleepers, 1);
    while (atomic_load(&g->value) == seen) cond_wait(&g->cond, &g->mutex);
    atomic_fetch_sub(&g->sleepers, 1);
    mutex_unlock(&g->mutex);
}

/* ---- pool ---- */

typedef struct pool pool;

typedef struct {
    _Alignas(LINE) gate start;
    pool *owner;
    int index;
    os_thread thread;
} worker;

struct pool {
    int threads;                     /* the caller included */
    bool spin;                       /* no use where threads outnumber processors */
    bool stop;
    void (*job)(void *arg, int thread, int threads);
    void *arg;
    int job_threads;
    _Alignas(LINE) atomic_int arrived;
    _Alignas(LINE) gate met;
    worker workers[];                /* threads - 1 */
};

static _Atomic(pool *) the_pool;     /* touched only by the thread that holds `held`, and by its workers */
static atomic_int held, resizing, crowd;
static atomic_int configured;        /* threads asked for, 0 until first needed */

static int clamp_threads(int n) { return n < 1 ? 1 : n > FNN_MAX_THREADS ? FNN_MAX_THREADS : n; }

/* FASTNN_NUM_THREADS where it is a whole number in range, else the processors that this process may use. */
static int default_threads(void) {
    const char *text = getenv("FASTNN_NUM_THREADS");
    if (text && *text) {
        char *end;
        long n = strtol(text, &end, 10);
        if (*end == 0 && n >= 1 && n <= FNN_MAX_THREADS) return (int)n;
    }
    return clamp_threads(usable_cpus());
}

int fnn_get_threads(void) {
    int n = atomic_load(&configured);
    if (n > 0) return n;
    int unset = 0;
    n = default_threads();
    return atomic_compare_exchange_strong(&configured, &unset, n) ? n : unset;
}

/* True for the last of a job's threads, which lets the others go on. */
static bool arrive(pool *p, int threads) {
    if (atomic_fetch_add(&p->arrived, 1) < threads - 1) return false;
    atomic_store(&p->arrived, 0);
    gate_open(&p->met);
    return true;
}

static void meet(pool *p, int threads) {
    unsigned seen = atomic_load(&p->met.value);
    if (!arrive(p, threads)) gate_wait(&p->met, seen, p->spin ? MEET_MS : 0);
}

static THREAD_RESULT work(void *arg) {
    worker *w = arg;
    pool *p = w->owner;
    fnn_fp_enter();
    for (unsigned seen = 0;; seen++) {
        gate_wait(&w->start, seen, p->spin ? SPIN_MS : 0);
        if (p->stop) return THREAD_DONE;
        p->job(p->arg, w->index, p->job_threads);
        arrive(p, p->job_threads);
    }
}

static void pool_free(pool *p) {
    if (!p) return;
    p->stop = true;
    for (int i = 0; i < p->threads - 1; i++) gate_open(&p->workers[i].start);
    for (int i = 0; i < p->threads - 1; i++) {
        thread_join(p->workers[i].thread);
        gate_destroy(&p->workers[i].start);
    }
    gate_destroy(&p->met);
    fnn_free(p);
}

/* As many of the threads as the system grants; NULL when out of memory. */
static pool *pool_new(int threads) {
    pool *p = fnn_alloc(sizeof(pool) + (size_t)(threads - 1) * sizeof(worker));
    if (!p) return NULL;
    p->spin = threads <= usable_cpus();
    gate_init(&p->met);
    for (p->threads = 1; p->threads < threads; p->threads++) {
        worker *w = &p->workers[p->threads - 1];
        gate_init(&w->start);
        w->owner = p;
        w->index = p->threads;
        if (!thread_start(&w->thread, work, w)) {
            gate_destroy(&w->start);
            break;
        }
    }
    return p;
}

static void register_fork_handlers(void);

int fnn_pool_acquire(int wanted) {
    int configured_now = fnn_get_threads();
    if (wanted > configured_now) wanted = configured_now;
    if (wanted <= 1 || atomic_load(&crowd) > 1 || atomic_load(&resizing) || atomic_exchange(&held, 1)) return 1;
    pool *p = atomic_load(&the_pool);
    if (!p) {
        register_fork_handlers();
        p = pool_new(configured_now);
        atomic_store(&the_pool, p);
    }
    if (p && wanted > p->threads) wanted = p->threads;
    if (p && wanted > 1) return wanted;
    atomic_store(&held, 0);
    return 1;
}

void fnn_pool_release(int threads) {
    if (threads > 1) atomic_store(&held, 0);
}

void fnn_pool_crowd(int change) { atomic_fetch_add(&crowd, change); }

void fnn_pool_run(int threads, void (*job)(void *arg, int thread, int threads), void *arg) {
    if (threads <= 1) {
        job(arg, 0, 1);
        return;
    }
    pool *p = atomic_load(&the_pool);
    p->job = job;
    p->arg = arg;
    p->job_threads = threads;
    for (int i = 0; i < threads - 1; i++) gate_open(&p->workers[i].start);
    job(arg, 0, threads);
    meet(p, threads);
}

void fnn_pool_barrier(int thread, int threads) {
    (void)thread;
    if (threads > 1) meet(atomic_load_explicit(&the_pool, memory_order_relaxed), threads);
}

int fnn_set_threads(int n) {
    if (n < 0 || n > FNN_MAX_THREADS) return FNN_ERR_ARGUMENT;
    if (n == 0) n = default_threads();
    /* While `resizing` is up nobody else gets the pool, so its holder is the last one to wait for. */
    atomic_fetch_add(&resizing, 1);
    while (atomic_exchange(&held, 1)) pause_ms();
    if (atomic_exchange(&configured, n) != n) {
        pool_free(atomic_load(&the_pool));
        atomic_store(&the_pool, NULL);
    }
    atomic_store(&held, 0);
    atomic_fetch_sub(&resizing, 1);
    return FNN_OK;
}

/* ---- reader-writer lock ---- */

/* A reader waits while a writer works or waits; a writer that leaves lets in all readers that wait by then,
 * before the next writer. So neither side starves: both get at most one turn of the other ahead of them. */
struct fnn_rwlock {
    os_mutex mutex;
    os_cond readers_go, writers_go;
    int readers, waiting_readers, waiting_writers;
    bool writer;
    unsigned turn;                   /* moves when a writer lets the waiting readers in */
    fnn_rwlock *next, **link;        /* list of all locks, for the fork handlers */
};

static fnn_rwlock *all_locks;

static void rwlock_reset(fnn_rwlock *l) {
    mutex_init(&l->mutex);
    cond_init(&l->readers_go);
    cond_init(&l->writers_go);
    l->readers = l->waiting_readers = l->waiting_writers = 0;
    l->writer = false;
}

/* ---- fork ---- */

#if defined(_WIN32)

static os_mutex list_mutex = SRWLOCK_INIT;
static void register_fork_handlers(void) { }

#else

static os_mutex list_mutex = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void) { mutex_lock(&list_mutex); }
static void after_fork_parent(void) { mutex_unlock(&list_mutex); }

/* The child has only the thread that forked: the pool is forgotten (its memory stays behind, since its
 * mutexes may have been held), and locks that other threads held are free again. */
static void after_fork_child(void) {
    atomic_store(&the_pool, NULL);
    atomic_store(&held, 0);
    atomic_store(&resizing, 0);
    atomic_store(&crowd, 0);
    for (fnn_rwlock *l = all_locks; l; l = l->next) rwlock_reset(l);
    mutex_unlock(&list_mutex);
}

static void register_once(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }
static void register_fork_handlers(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_once);
}

#endif

fnn_rwlock *fnn_rwlock_new(void) {
    fnn_rwlock *l = fnn_alloc(sizeof *l);
    if (!l) return NULL;
    register_fork_handlers();
    rwlock_reset(l);
    mutex_lock(&list_mutex);
    l->next = all_locks;
    l->link = &all_locks;
    if (l->next) l->next->link = &l->next;
    all_locks = l;
    mutex_unlock(&list_mutex);
    return l;
}

void fnn_rwlock_free(fnn_rwlock *l) {
    if (!l) return;
    mutex_lock(&list_mutex);
    *l->link = l->next;
    if (l->next) l->next->link = l->link;
    mutex_unlock(&list_mutex);
    cond_destroy(&l->writers_go);
    cond_destroy(&l->readers_go);
    mutex_destroy(&l->mutex);
    fnn_free(l);
}

void fnn_rwlock_read(fnn_rwlock *l) {
    mutex_lock(&l->mutex);
    if (l->writer || l->waiting_writers) {
        unsigned turn = l->turn;
        l->waiting_readers++;
        /* The writer that leaves counts us among the readers. */
        while (l->turn == turn) cond_wait(&l->readers_go, &l->mutex);
    } else {
        l->readers++;
    }
    mutex_unlock(&l->mutex);
}

void fnn_rwlock_unread(fnn_rwlock *l) {
    mutex_lock(&l->mutex);
    if (--l->readers == 0 && l->waiting_writers) cond_signal(&l->writers_go);
    mutex_unlock(&l->mutex);
}

void fnn_rwlock_write(fnn_rwlock *l) {
    mutex_lock(&l->mutex);
    l->waiting_writers++;
    while (l->writer || l->readers) cond_wait(&l->writers_go, &l->mutex);
    l->waiting_writers--;
    l->writer = true;
    mutex_unlock(&l->mutex);
}

void fnn_rwlock_unwrite(fnn_rwlock *l) {
    mutex_lock(&l->mutex);
    l->writer = false;
    if (l->waiting_readers) {
        l->readers = l->waiting_readers;
        l->waiting_readers = 0;
        l->turn++;
        cond_broadcast(&l->readers_go);
    } else if (l->waiting_writers) {
        cond_signal(&l->writers_go);
    }
    mutex_unlock(&l->mutex);
}

#endif
