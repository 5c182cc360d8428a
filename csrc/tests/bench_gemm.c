/* Speed of the matrix products of one table on one thread: GFLOP/s, and the share of what a loop of
 * register-resident FMAs reaches in the same run. Usage: bench_gemm [rows K N] */
#include "kernel_check.h"

#include <time.h>

/* Seconds of processor time, so that other programs disturb little. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GFLOP/s of independent FMAs on registers, the best of several runs. */
static double fma_limit(void) {
    enum { CHAINS = 12, TURNS = 50000 };
    double best = 0;
    for (int run = 0; run < 100; run++) {
        V acc[CHAINS], a = v_set1(R(0.999)), b = v_set1(R(0.001));
        for (int j = 0; j < CHAINS; j++) acc[j] = v_set1((REAL)j);
        const double start = now();
        for (int i = 0; i < TURNS; i++) {
#pragma GCC unroll 12
            for (int j = 0; j < CHAINS; j++) acc[j] = v_fma(acc[j], a, b);
        }
        const double seconds = now() - start;
        V sum = {0};
        for (int j = 0; j < CHAINS; j++) sum += acc[j];
        volatile REAL sink = v_sum(sum);
        (void)sink;
        const double speed = 2e-9 * CHAINS * TURNS * VL / seconds;
        if (speed > best) best = speed;
    }
    return best;
}

static REAL *numbers(int64_t n) {
    REAL *p = fnn_alloc((size_t)n * sizeof(REAL));
    if (!p) exit(2);
    for (int64_t i = 0; i < n; i++) p[i] = random_real();
    return p;
}

/* Seconds a call: the best of many runs, each short beside a scheduler's time slice. */
static double seconds_of(const fnn_task *t, int64_t items) {
    const double end = now() + 0.15;
    int64_t calls = 1;
    double best = 1e9;
    for (int run = 0; run < 20 || now() < end; run++) {
        const double start = now();
        for (int64_t i = 0; i < calls; i++) t->run(t, 0, items, scratch);
        const double seconds = now() - start;
        if (seconds < 1e-4) { calls *= 2; continue; }
        if (seconds / (double)calls < best) best = seconds / (double)calls;
    }
    return best;
}

static void bench(int64_t rows, int64_t K, int64_t N, double limit) {
    const fnn_layout l = panel_layout(K, N);
    REAL *x = numbers(rows * K), *dy = numbers(rows * N), *w = numbers(l.size), *g = numbers(l.size),
         *out = numbers(rows * N);
    REAL *dx = numbers(rows * K), *bias = numbers(N), *m = calloc((size_t)l.size, sizeof(REAL)),
         *v = calloc((size_t)l.size, sizeof(REAL));
    const fnn_view vx = {x, K, K, 1}, vdy = {dy, N, N, 1}, vw = {w, N, N, 1};
    const fnn_step step = {.rows = rows};
    const fnn_task forward = {.run = table->run[OP_matmul],
                              .in = {vx, vw},
                              .out = {{out, N, N, 1}},
                              .step = &step,
                              .layout = l,
                              .bias = bias,
                              .relu = true};
    const fnn_task nt = {
        .run = table->run[OP_matmul_nt], .in = {vdy, vw}, .out = {{dx, K, K, 1}}, .step = &step, .layout = l};
    fnn_task tn = {
        .run = table->run[OP_matmul_tn], .in = {vx, vdy}, .out = {{g, N, N, 1}}, .step = &step, .layout = l};
    const double flops = 2e-9 * (double)rows * (double)K * (double)N;
    const double tf = seconds_of(&forward, rows), tnt = seconds_of(&nt, rows), ttn = seconds_of(&tn, l.items);
    const double attr[FNN_MAX_ATTR] = {0.9, 0.999, 1e-7};
    double coef[FNN_MAX_COEF];
    table->prepare[OP_adam](attr, 1e-6, 1, coef);
    tn.out[0].p = NULL;
    tn.update = table->update[OP_adam];
    tn.coef = coef;
    tn.w = w;
    tn.slot[0] = m;
    tn.slot[1] = v;
    const double tadam = seconds_of(&tn, l.items);
    printf("%5lld x %4lld x %4lld ", (long long)rows, (long long)K, (long long)N);
    const double each[] = {tf, tnt, ttn, tadam};
    for (int i = 0; i < 4; i++)
        printf(" %9.2f us %6.1f %4.0f %%", each[i] * 1e6, flops / each[i], 100 * flops / each[i] / limit);
    printf("\n");
    REAL *all[] = {x, dy, w, g, out, dx, bias, m, v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) fnn_free(all[i]);
}

int main(int argc, char **argv) {
    static const int64_t shapes[][3] = {{10, 2, 8},      {10, 8, 8},     {1, 784, 512},     {4, 784, 512},
                                        {32, 64, 64},    {32, 64, 10},   {128, 784, 128},   {128, 784, 512},
                                        {128, 512, 512}, {128, 512, 10}, {256, 1024, 1024}, {256, 784, 1024},
                                        {1024, 512, 512}};
    const double limit = fma_limit();
    printf("%s float%d: %.1f GFLOP/s in registers\n rows x    K x    N  %24s %26s %26s %26s\n", table->isa,
           REAL_BITS, limit, "x w + b, relu", "dy w'", "x' dy", "x' dy, Adam");
    if (argc == 4) bench(atoll(argv[1]), atoll(argv[2]), atoll(argv[3]), limit);
    else
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            bench(shapes[i][0], shapes[i][1], shapes[i][2], limit);
    return 0;
}
