/* Philox, the distributions and the keyed permutation. */
#include "../internal.h"
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Known answers from Random123's kat_vectors (philox4x32, 10 rounds). */
static void check_philox(void) {
    static const struct { uint32_t ctr[4], key[2], out[4]; } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        fnn_u32x4 c;
        memcpy(c.v, known[i].ctr, sizeof c.v);
        c = fnn_philox(c, known[i].key[0], known[i].key[1]);
        CHECK(!memcmp(c.v, known[i].out, sizeof c.v), "philox vector %d", (int)i);
    }
}

enum { N = 1 << 18 };

static void moments(const double *x, double *mean, double *deviation) {
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) sum += x[i];
    *mean = sum / N;
    for (int i = 0; i < N; i++) squares += (x[i] - *mean) * (x[i] - *mean);
    *deviation = sqrt(squares / N);
}

/* FNV-1a over the bits of the draws, lowest byte first: every machine must give the same. */
static uint64_t hash(const double *x, int n) {
    uint64_t h = 0xCBF29CE484222325ull;
    for (int i = 0; i < n; i++) {
        uint64_t u;
        memcpy(&u, x + i, 8);
        for (int k = 0; k < 8; k++) h = (h ^ (u >> 8 * k & 255)) * 0x100000001B3ull;
    }
    return h;
}

static void check_distributions(void) {
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), mean, dev;
    const double tol = 5 / sqrt(N);

    CHECK(fnn_random(1, 2, FNN_UNIFORM, -1, 3, x, N) == FNN_OK, "uniform");
    int outside = 0;
    for (int i = 0; i < N; i++) outside += !(x[i] >= -1 && x[i] < 3);
    moments(x, &mean, &dev);
    CHECK(!outside, "%d uniform draws outside [-1, 3)", outside);
    CHECK(fabs(mean - 1) < 4 * tol && fabs(dev - 4 / sqrt(12)) < 4 * tol, "uniform mean %g deviation %g",
          mean, dev);
    CHECK(hash(x, N) == 0x363d8a536e1ffc8full, "uniform bits %016llx", (unsigned long long)hash(x, N));

    CHECK(fnn_random(1, 2, FNN_NORMAL, 0, 1, x, N) == FNN_OK, "normal");
    moments(x, &mean, &dev);
    CHECK(fabs(mean) < tol && fabs(dev - 1) < tol, "normal mean %g deviation %g", mean, dev);
    CHECK(hash(x, N) == 0x5a120e56f525793cull, "normal bits %016llx", (unsigned long long)hash(x, N));

    /* The distribution function must give back the uniform number behind each normal. */
    double worst = 0;
    for (int i = 0; i < N; i++) {
        fnn_u32x4 r = fnn_philox((fnn_u32x4){{(uint32_t)i / 2, 0, 2, 0x80000000u | FNN_NORMAL}}, 1, 0);
        uint64_t u = (uint64_t)r.v[i % 2 * 2 + 1] << 32 | r.v[i % 2 * 2];
        long double p = ((long double)(u >> 12) + 0.5L) * 0x1p-52L, z = x[i];
        if (p > 0.5L) p = 1 - p, z = -z;
        /* d log Phi / dz = phi / Phi, so this is the error of z in units of |z| */
        long double cdf = erfcl(-z / sqrtl(2)) / 2,
                    pdf = expl(-z * z / 2) / sqrtl(2 * 3.14159265358979323846L);
        double error = (double)(fabsl(cdf - p) / pdf / fmaxl(fabsl(z), 0x1p-10L));
        if (error > worst) worst = error;
    }
    CHECK(worst < 1e-15, "normal quantile is off by %g relative", worst);

    CHECK(fnn_random(1, 2, FNN_TRUNCATED_NORMAL, 5, 0.5, x, N) == FNN_OK, "truncated");
    outside = 0;
    for (int i = 0; i < N; i++) outside += !(x[i] >= 4 && x[i] <= 6);
    moments(x, &mean, &dev);
    CHECK(!outside, "%d truncated draws beyond two deviations", outside);
    CHECK(fabs(mean - 5) < tol && fabs(dev / 0.5 - 0.87962566103423978) < tol,
          "truncated mean %g deviation %g", mean, dev);
    CHECK(hash(x, N) == 0x59c23338f302ed1eull, "truncated bits %016llx", (unsigned long long)hash(x, N));

    /* Draws depend on their index alone; streams and seeds differ. */
    CHECK(fnn_random(1, 2, FNN_TRUNCATED_NORMAL, 5, 0.5, y, 7) == FNN_OK && !memcmp(x, y, 7 * sizeof *x),
          "prefix");
    fnn_random(1, 3, FNN_TRUNCATED_NORMAL, 5, 0.5, y, N);
    CHECK(memcmp(x, y, 16), "streams are equal");
    fnn_random(2, 2, FNN_TRUNCATED_NORMAL, 5, 0.5, y, N);
    CHECK(memcmp(x, y, 16), "seeds are equal");
    fnn_random(1ull << 40 | 1, 2, FNN_TRUNCATED_NORMAL, 5, 0.5, y, N);
    CHECK(memcmp(x, y, 16), "the seed's high half is ignored");

    CHECK(fnn_random(1, 0, FNN_UNIFORM, 2, 2, y, 2) == FNN_OK && y[0] == 2 && y[1] == 2, "empty interval");
    CHECK(fnn_random(1, 0, FNN_UNIFORM, 1, 0, y, 1) == FNN_ERR_ARGUMENT, "a > b");
    CHECK(fnn_random(1, 0, FNN_UNIFORM, -DBL_MAX, DBL_MAX, y, 1) == FNN_ERR_ARGUMENT, "b - a overflows");
    CHECK(fnn_random(1, 0, FNN_NORMAL, 0, -1, y, 1) == FNN_ERR_ARGUMENT, "negative deviation");
    CHECK(fnn_random(1, 0, FNN_NORMAL, NAN, 1, y, 1) == FNN_ERR_ARGUMENT, "NaN");
    CHECK(fnn_random(1, 0, 9, 0, 1, y, 1) == FNN_ERR_ARGUMENT, "distribution");
    CHECK(fnn_random(1, 0, FNN_NORMAL, 0, 1, y, -1) == FNN_ERR_ARGUMENT, "negative count");
    CHECK(fnn_random(1, 0, FNN_NORMAL, 0, 1, NULL, 0) == FNN_OK, "no draws");
    free(x);
    free(y);
}

/* The 1e-9 quantile of chi-square (Wilson and Hilferty). */
static double chi_square_limit(double k) {
    double t = 1 - 2 / (9 * k) + 6.0 * sqrt(2 / (9 * k));
    return k * t * t * t;
}

static double chi_square(const int64_t *count, int cells, double expected) {
    double sum = 0;
    for (int i = 0; i < cells; i++) sum += (count[i] - expected) * (count[i] - expected) / expected;
    return sum;
}

static int bijective(uint64_t seed, uint64_t epoch, int64_t n) {
    char *hit = calloc((size_t)n, 1);
    int ok = 1;
    for (int64_t i = 0; i < n && ok; i++) {
        int64_t j = fnn_permuted(seed, epoch, n, i);
        ok = j >= 0 && j < n && !hit[j];
        if (ok) hit[j] = 1;
    }
    free(hit);
    return ok;
}

static void check_permutation(void) {
    for (int64_t n = 1; n <= 300; n++)
        for (uint64_t key = 0; key < 8; key++)
            CHECK(bijective(key * 0x123456789ABCDEFull, key, n), "n %lld is no bijection", (long long)n);
    static const int64_t large[] = {1797, 4096, 60000, 65537, 1 << 20, 1000003};
    for (size_t k = 0; k < sizeof large / sizeof large[0]; k++)
        CHECK(bijective(7, 3, large[k]), "n %lld is no bijection", (long long)large[k]);
    const int64_t huge = FNN_MAX_ROWS;
    for (int64_t i = 0; i < 1000; i++) {
        int64_t j = fnn_permuted(5, 9, huge - 1, huge - 2 - i);
        CHECK(j >= 0 && j < huge - 1, "huge n gives %lld", (long long)j);
    }
    CHECK(fnn_permuted(1, 1, 5, 5) == -1 && fnn_permuted(1, 1, 5, -1) == -1 && fnn_permuted(1, 1, 0, 0) == -1,
          "outside");

    /* Every place is equally likely for each element, over seeds as well as over epochs. */
    enum { KEYS = 20000, MOST = 50 };
    static const int sizes[] = {2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 16, 17, 31, 32, 33, 50};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int n = sizes[k];
        for (int by_epoch = 0; by_epoch < 2; by_epoch++) {
            static int64_t count[MOST * MOST], pair[MOST * MOST];
            memset(count, 0, sizeof count);
            memset(pair, 0, sizeof pair);
            for (uint64_t key = 0; key < KEYS; key++) {
                int64_t to[MOST];
                for (int i = 0; i < n; i++) {
                    to[i] = by_epoch ? fnn_permuted(42, key, n, i) : fnn_permuted(key, 0, n, i);
                    count[i * n + to[i]]++;
                }
                pair[to[0] * n + to[n - 1]]++;
            }
            double worst = 0;
            for (int i = 0; i < n; i++) worst = fmax(worst, chi_square(count + i * n, n, (double)KEYS / n));
            CHECK(worst < chi_square_limit(n - 1), "n %d: chi-square %g", n, worst);
            /* The first and the last element together: n (n - 1) equally likely cells. */
            int cells = 0;
            for (int i = 0; i < n * n; i++)
                if (i / n != i % n) pair[cells++] = pair[i];
            double both = chi_square(pair, cells, (double)KEYS / cells);
            CHECK(n == 2 || both < chi_square_limit(cells - 1), "n %d: chi-square of pairs %g", n, both);
        }
    }
    /* All orders of the smallest sets. */
    for (int n = 3; n <= 5; n++) {
        static int64_t count[3125];
        static const int factorial[] = {1, 1, 2, 6, 24, 120};
        memset(count, 0, sizeof count);
        for (uint64_t key = 0; key < 120000; key++) {
            int order = 0;
            for (int i = 0; i < n; i++) order = order * n + (int)fnn_permuted(key, 1, n, i);
            count[order]++;
        }
        int cells = 0;
        for (int i = 0; i < 3125; i++)
            if (count[i]) count[cells++] = count[i];
        CHECK(cells == factorial[n], "n %d: %d orders of %d", n, cells, factorial[n]);
        double chi = chi_square(count, cells, 120000.0 / cells);
        CHECK(chi < chi_square_limit(cells - 1), "n %d: chi-square of orders %g", n, chi);
    }
}

/* Each sample once, the same ones in whatever portions they are asked for, and in each window those of its pieces. */
static void check_windows(void) {
    enum { MOST = 3000 };
    static int64_t whole[MOST], part[MOST], other[MOST];
    static int window_of[MOST];
    static const int64_t sizes[] = {2, 3, 31, 64, 65, 1000, 2999, MOST}, spans[] = {2, 3, 31, 32, 33, 64, 100, 999};
    for (size_t a = 0; a < sizeof sizes / sizeof *sizes; a++)
        for (size_t b = 0; b < sizeof spans / sizeof *spans; b++) {
            fnn_pass pass = {.n = sizes[a], .shuffle = spans[b], .seed = 3, .epoch = 5};
            const int64_t n = pass.n;
            fnn_order(&pass, 0, n, whole);
            for (int64_t lo = 0, step = 1; lo < n; lo += step, step = step % 7 + 1)
                fnn_order(&pass, lo, n - lo < step ? n - lo : step, part + lo);
            CHECK(!memcmp(whole, part, (size_t)n * sizeof *whole), "n %lld, window %lld in portions", (long long)n,
                  (long long)spans[b]);
            fnn_piece piece;
            bool mixed = fnn_piece_of(&pass, 0, &piece);
            CHECK(mixed == (spans[b] < n), "n %lld, window %lld: mixed %d", (long long)n, (long long)spans[b], mixed);
            const int64_t span = mixed ? piece.size * piece.count : n, size = piece.size;
            CHECK(span <= spans[b] || !mixed, "a window of %lld for %lld", (long long)span, (long long)spans[b]);
            for (int64_t i = 0; i < n; i++) window_of[i] = -1;
            for (int64_t i = 0; i < n; i++)
                if (whole[i] >= 0 && whole[i] < n) window_of[whole[i]] = (int)(i / span);
            int right = 1;
            for (int64_t i = 0; mixed && i * size < n; i++) {
                fnn_piece_of(&pass, i, &piece);
                for (int64_t k = 0; k < piece.size; k++)
                    right &= window_of[(piece.start + k) % n] == i / piece.count;
            }
            for (int64_t i = 0; i < n; i++) right &= window_of[i] >= 0;
            CHECK(right, "n %lld, window %lld: samples outside their window", (long long)n, (long long)spans[b]);
            pass.epoch = 6;
            fnn_order(&pass, 0, n, other);
            CHECK(n < 31 || memcmp(whole, other, (size_t)n * sizeof *whole), "two epochs alike");
        }
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--time")) {
        int64_t sum = 0, n = 60000;
        double start = fnn_now_ms();
        for (uint64_t epoch = 0; epoch < 100; epoch++)
            for (int64_t i = 0; i < n; i++) sum += fnn_permuted(1, epoch, n, i);
        printf("fnn_permuted: %.1f ns a value (%lld)\n", (fnn_now_ms() - start) * 1e6 / (100.0 * (double)n),
               (long long)sum);
        double *x = malloc(N * sizeof *x);
        start = fnn_now_ms();
        fnn_random(1, 2, FNN_NORMAL, 0, 1, x, N);
        printf("fnn_random: %.1f ns a normal\n", (fnn_now_ms() - start) * 1e6 / N);
        free(x);
        return 0;
    }
    check_philox();
    check_distributions();
    check_permutation();
    check_windows();
    printf("check_rng: %d passed, %d failed\n", passed, failed);
    return failed != 0;
}
