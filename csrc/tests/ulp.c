/* Measures the error of vmath.h in ULP. Built once for each instruction set and type (FNN_ISA, REAL_BITS).
 *
 *   ulp [--sample] [function...]
 *
 * float: every value; double: 10^8 stratified values. --sample takes one in every few thousand of them. The
 * reference is the C library's function in the next larger type. Results below the smallest normal number may
 * be zero. Prints one line a function: name, type, instruction set, largest error, its argument, bound; exits
 * 1 where a bound is exceeded.
 */
#define _GNU_SOURCE
#include "kernel_check.h"
#include "../kernels/vmath.h"

#include <pthread.h>
#include <stdatomic.h>

#if REAL_BITS == 32
typedef double WIDE;
#define W(name) name
#else
typedef long double WIDE;
#define W(name) name##l
#endif
enum { EXPONENTS = 2 * EXPONENT_BIAS + 2 };

static WIDE exact_exp(WIDE x) { return W(exp)(x); }
static WIDE exact_expm1(WIDE x) { return W(expm1)(x); }
static WIDE exact_log(WIDE x) { return W(log)(x); }
static WIDE exact_log1p(WIDE x) { return W(log1p)(x); }
static WIDE exact_tanh(WIDE x) { return W(tanh)(x); }
static WIDE exact_sigmoid(WIDE x) { return 1 / (1 + W(exp)(-x)); }
static WIDE exact_softplus(WIDE x) { return (x > 0 ? x : 0) + W(log1p)(W(exp)(-W(fabs)(x))); }
static WIDE exact_erf(WIDE x) { return W(erf)(x); }

typedef struct { const char *name; void (*run)(REAL *x); WIDE (*exact)(WIDE x); double bound; } function;

#define F(name, float_fma, double_fma, float_plain, double_plain) \
    static void run_##name(REAL *x) { v_store(x, v_##name(v_load(x))); }
VMATH_FUNCTIONS(F)
#undef F
#if defined(__FMA__) || defined(__aarch64__)
#define BOUND(float_fma, double_fma, float_plain, double_plain) (REAL_BITS == 32 ? float_fma : double_fma)
#else
#define BOUND(float_fma, double_fma, float_plain, double_plain) (REAL_BITS == 32 ? float_plain : double_plain)
#endif
static const function functions[] = {
#define F(name, ...) {#name, run_##name, exact_##name, BOUND(__VA_ARGS__)},
    VMATH_FUNCTIONS(F)
#undef F
};

static REAL from_bits(UINT bits) { REAL x; memcpy(&x, &bits, sizeof x); return x; }

static uint64_t mix(uint64_t z) { /* splitmix64's finaliser (Steele, Lea and Flood 2014) */
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* The i-th of `count` arguments. All of float's bit patterns; of double's, one from each of `count` equal
 * strata: a quarter of them over all patterns, the rest over 2^-64 <= |x| < 2^12, where the functions have
 * their shape. */
static REAL argument(uint64_t i, uint64_t count) {
#if REAL_BITS == 32
    uint64_t width = ((uint64_t)1 << 32) / count;
    return from_bits((UINT)(i * width + mix(i) % width));
#else
    uint64_t quarter = count / 4, sign = mix(~i) & (uint64_t)1 << 63;
    if (i < quarter) { uint64_t width = UINT64_MAX / quarter; return from_bits(i * width + mix(i) % width); }
    uint64_t width = ((uint64_t)(64 + 12) << 52) / (count - quarter);
    return from_bits((((uint64_t)(1023 - 64) << 52) + (i - quarter) * width + mix(i) % width) | sign);
#endif
}

/* The error in units of the last place of the correctly rounded result; infinite where a limit is missed. */
static WIDE units_per_one[EXPONENTS]; /* by the result's biased exponent */
static double error_in_ulp(REAL got, WIDE exact) {
    const REAL rounded = (REAL)exact;
    UINT bits;
    memcpy(&bits, &rounded, sizeof bits);
    const int exponent = (int)(bits >> MANTISSA_BITS) & (EXPONENTS - 1);
    if (rounded != rounded) return got != got ? 0 : INFINITY;
    if (exponent == EXPONENTS - 1) return got == rounded ? 0 : INFINITY;
    if (exponent == 0) return fabs(got) <= SMALLEST_NORMAL ? 0 : INFINITY;
    const double error = (double)(W(fabs)((WIDE)got - exact) * units_per_one[exponent]);
    return error == error ? error : INFINITY;
}

typedef struct { const function *f; uint64_t count; atomic_ullong next; } job;
typedef struct { job *j; double worst; REAL at; } worker;

enum { CHUNK = 1 << 16 };

static void *measure(void *arg) {
    worker *w = arg;
    fnn_fp_enter();
    for (uint64_t start; (start = atomic_fetch_add(&w->j->next, CHUNK)) < w->j->count;) {
        for (uint64_t i = start; i < start + CHUNK && i < w->j->count; i += VL) {
            REAL x[VL], y[VL];
            for (int k = 0; k < VL; k++) x[k] = y[k] = argument(i + (uint64_t)k, w->j->count);
            w->j->f->run(y);
            for (int k = 0; k < VL; k++) {
                WIDE exact_at = fabs(x[k]) < SMALLEST_NORMAL ? 0 : (WIDE)x[k];
                double e = error_in_ulp(y[k], w->j->f->exact(exact_at));
                if (e > w->worst) { w->worst = e; w->at = x[k]; }
            }
        }
    }
    return NULL;
}

enum { MAX_THREADS = 64 };

static bool within_bound(const function *f, uint64_t count) {
    int threads = fnn_get_threads() < MAX_THREADS ? fnn_get_threads() : MAX_THREADS;
    job j = {.f = f, .count = count};
    worker workers[MAX_THREADS];
    pthread_t handles[MAX_THREADS];
    int started = 0;
    for (int i = 0; i < threads; i++) workers[i] = (worker){.j = &j, .worst = -1};
    while (started < threads - 1 && !pthread_create(&handles[started], NULL, measure, &workers[started + 1]))
        started++;
    measure(&workers[0]);
    for (int i = 0; i < started; i++) pthread_join(handles[i], NULL);
    worker worst = workers[0];
    for (int i = 1; i < threads; i++) if (workers[i].worst > worst.worst) worst = workers[i];
    const bool within = worst.worst <= f->bound;
    printf("%-9s float%d %-9s %7.3f ULP at %-24a (%g), bound %g%s\n", f->name, REAL_BITS, table->isa,
           worst.worst, (double)worst.at, (double)worst.at, f->bound, within ? "" : "  EXCEEDED");
    fflush(stdout);
    return within;
}

int main(int argc, char **argv) {
    uint64_t count = REAL_BITS == 32 ? (uint64_t)1 << 32 : 100000000;
    bool named = false, ok = true;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--sample")) count = REAL_BITS == 32 ? (uint64_t)1 << 20 : 1000000;
        else named = true;
    }
    for (int e = 0; e < EXPONENTS; e++) units_per_one[e] = W(ldexp)(1, EXPONENT_BIAS + MANTISSA_BITS - e);
    (void)scratch;
    for (int k = 0; k < COUNT(functions); k++) {
        bool wanted = !named;
        for (int i = 1; i < argc; i++) wanted |= !strcmp(argv[i], functions[k].name);
        if (wanted) ok &= within_bound(&functions[k], count);
    }
    return !ok;
}
