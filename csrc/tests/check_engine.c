/* Programs, plans and passes through the public header alone: a net that learns XOR, its bits, its gradients, hostile texts. */
#include "../fastnn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;
#define CHECK(condition, ...)                                                     \
    do {                                                                          \
        if (condition) passed++;                                                  \
        else { failed++; printf("%s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); printf("\n"); } \
    } while (0)

/* 2-16-1 with tanh and sigmoid, binary crossentropy, Adam: what fastnn.compile writes for such a model, shortened. */
static const char xor_text[] =
    "fastnn-program 1\n"
    "dtype float64\n"
    "tensor 0 input float64 B,2 x\n"
    "tensor 1 param float64 2,16 dense/kernel\n"
    "tensor 2 param float64 16 dense/bias\n"
    "tensor 3 param float64 16,1 dense_1/kernel\n"
    "tensor 4 param float64 1 dense_1/bias\n"
    "tensor 5 temp float64 B,16\n"
    "tensor 6 temp float64 B,16\n"
    "tensor 7 temp float64 B,16\n"
    "tensor 8 temp float64 B,1\n"
    "tensor 9 temp float64 B,1\n"
    "tensor 10 temp float64 B,1\n"
    "tensor 11 target float64 B,1 y\n"
    "tensor 12 weight float64 B\n"
    "tensor 13 temp float64 B\n"
    "tensor 14 temp float64 B,1\n"
    "tensor 15 temp float64 B\n"
    "tensor 16 temp float64 B,1\n"
    "tensor 17 temp float64 1\n"
    "tensor 18 temp float64 16,1\n"
    "tensor 19 temp float64 B,16\n"
    "tensor 20 temp float64 B,16\n"
    "tensor 21 temp float64 16\n"
    "tensor 22 temp float64 2,16\n"
    "tensor 23 temp float64 - penalty\n"
    "tensor 24 temp float64 2,16\n"
    "tensor 25 temp float64 B\n"
    "node matmul 0,1 5 -\n"
    "node bias_add 5,2 6 -\n"
    "node tanh 6 7 -\n"
    "node matmul 7,3 8 -\n"
    "node bias_add 8,4 9 -\n"
    "node sigmoid 9 10 -\n"
    "node bce_logits 9,11 13,14 -\n"
    "node binary_accuracy 14,11 25 0x1p-1\n"
    "node loss_seed 12 15 0x1p+0\n"
    "node bce_logits_grad 15,14,11 16 -\n"
    "node sum_rows 16 17 -\n"
    "node matmul_tn 7,16 18 -\n"
    "node matmul_nt 16,3 19 -\n"
    "node tanh_grad 19,7 20 -\n"
    "node sum_rows 20 21 -\n"
    "node matmul_tn 0,20 22 -\n"
    "node penalty 1 23 0x0p+0,0x1p-20\n"
    "node penalty_grad 22,1 24 0x0p+0,0x1p-20\n"
    "node adam 1,24 - 0x1.ccccccccccccdp-1,0x1.ff7ced916872bp-1,0x1.ad7f29abcaf48p-24,0x0p+0,0x0p+0\n"
    "node adam 2,21 - 0x1.ccccccccccccdp-1,0x1.ff7ced916872bp-1,0x1.ad7f29abcaf48p-24,0x0p+0,0x0p+0\n"
    "node adam 3,18 - 0x1.ccccccccccccdp-1,0x1.ff7ced916872bp-1,0x1.ad7f29abcaf48p-24,0x0p+0,0x0p+0\n"
    "node adam 4,17 - 0x1.ccccccccccccdp-1,0x1.ff7ced916872bp-1,0x1.ad7f29abcaf48p-24,0x0p+0,0x0p+0\n"
    "root output 10 y\n"
    "root loss 13 12 0x1p+0 loss\n"
    "root metric 25 -1 0x1p+0 accuracy\n"
    "root penalty 23\n"
    "root grad 24 1\n"
    "root grad 21 2\n"
    "root grad 18 3\n"
    "root grad 17 4\n";

enum { N = 400, WIDTH = 16 };
static double x[N][2];
static unsigned char y[N][1];   /* another type than the program's, on purpose */

static void make_data(void) {
    for (int i = 0; i < N; i++) {
        double u[2];
        fnn_random(7, (uint32_t)i, FNN_UNIFORM, -1, 1, u, 2);
        memcpy(x[i], u, sizeof u);
        y[i][0] = (u[0] > 0) != (u[1] > 0);
    }
}

static fnn_array array_x(void) { return (fnn_array){x, FNN_F64, 0, 2, {N, 2}, {sizeof x[0], sizeof x[0][0]}}; }
static fnn_array array_y(void) { return (fnn_array){y, FNN_U8, 0, 2, {N, 1}, {sizeof y[0], 1}}; }

static fnn_model *make_model(const char *isa) {
    fnn_error err;
    fnn_model *m;
    if (fnn_model_create(xor_text, strlen(xor_text), isa, NULL, 0, &m, &err) != FNN_OK) {
        printf("model: %s\n", err.text);
        return NULL;
    }
    static const int tensors[] = {1, 3}, sizes[] = {2 * WIDTH, WIDTH};
    for (int i = 0; i < 2; i++) {
        double w[2 * WIDTH];
        fnn_random(3, (uint32_t)i, FNN_NORMAL, 0, 0.7, w, sizes[i]);
        fnn_param *p = fnn_model_param(m, tensors[i]);
        fnn_param_write(p, w, sizes[i], NULL);
        fnn_param_free(p);
    }
    return m;
}

static int run_pass(fnn_session *s, int64_t batch, int64_t epoch, double lr, double *results) {
    fnn_error err;
    fnn_array ax = array_x(), ay = array_y();
    fnn_pass pass = {.n = N, .batch_size = batch, .shuffle = 1, .check_finite = 1, .seed = 5, .epoch = (uint64_t)epoch};
    int64_t done;
    int finished = 0, status = fnn_bind(s, 0, &ax, &err);
    if (!status) status = fnn_bind(s, 11, &ay, &err);
    if (!status) status = fnn_begin(s, &pass, &err);
    while (!status && !finished) status = fnn_run(s, 3, -1, &lr, 1, &done, &finished, &err);
    if (status) printf("pass: %s\n", err.text);
    if (results) fnn_results(s, results, 6);
    return status;
}

/* Trains; leaves the first kernel in w. Returns the last epoch's accuracy. */
static double train(const char *isa, int64_t batch, int flags, double *w) {
    fnn_model *m = make_model(isa);
    fnn_session *s = NULL;
    double results[6] = {0};
    if (!m || fnn_session_create(m, FNN_TRAIN, batch, flags, &s, NULL)) return 0;
    int status = FNN_OK;
    for (int epoch = 0; epoch < 60 && !status; epoch++) status = run_pass(s, batch, epoch, 0.02, results);
    CHECK(status == FNN_OK && fnn_session_check(s, NULL) == FNN_OK, "a guarded training on %s", isa);
    CHECK(fnn_model_iterations(m) == 60 * ((N + batch - 1) / batch), "iterations");
    fnn_param *p = fnn_model_param(m, 1);
    fnn_model_free(m);          /* in the wrong order on purpose: the session and the parameter hold on */
    fnn_session_free(s);
    fnn_param_read(p, w, 2 * WIDTH, NULL);
    fnn_param_free(p);
    return results[2] / results[3];
}

static void check_learning(void) {
    const char *isa;
    for (int i = 0; (isa = fnn_isa_at(i)) != NULL; i++) {
        double once[2 * WIDTH], again[2 * WIDTH];
        double accuracy = train(isa, 32, FNN_GUARD, once);
        CHECK(accuracy > 0.97, "XOR on %s: accuracy %g", isa, accuracy);
        train(isa, 32, 0, again);
        CHECK(memcmp(once, again, sizeof once) == 0, "the same bits again on %s", isa);
    }
}

static double loss_at(fnn_model *m, fnn_session *s) {
    double r[6];
    (void)m;
    run_pass(s, N, 0, 0, r);
    return r[0] / r[1] + r[4] / r[5];
}

static void check_gradients(void) {
    fnn_model *m = make_model(NULL);
    fnn_session *evaluate = NULL, *gradients = NULL;
    if (!m || fnn_session_create(m, FNN_EVALUATE, N, FNN_GUARD, &evaluate, NULL) ||
        fnn_session_create(m, FNN_GRADIENTS, N, FNN_GUARD, &gradients, NULL)) {
        CHECK(0, "sessions");
        return;
    }
    CHECK(run_pass(gradients, N, 0, 0, NULL) == FNN_OK && fnn_session_check(gradients, NULL) == FNN_OK, "gradients run");
    static const int tensors[] = {1, 2, 3, 4}, sizes[] = {2 * WIDTH, WIDTH, WIDTH, 1};
    for (int i = 0; i < 4; i++) {
        double g[2 * WIDTH], w[2 * WIDTH];
        CHECK(fnn_gradient(gradients, i, g, sizes[i], NULL) == FNN_OK, "gradient %d", i);
        fnn_param *p = fnn_model_param(m, tensors[i]);
        fnn_param_read(p, w, sizes[i], NULL);
        for (int k = 0; k < sizes[i]; k++) {
            double at = w[k], h = 1e-6, up, down;
            w[k] = at + h;
            fnn_param_write(p, w, sizes[i], NULL);
            up = loss_at(m, evaluate);
            w[k] = at - h;
            fnn_param_write(p, w, sizes[i], NULL);
            down = loss_at(m, evaluate);
            w[k] = at;
            fnn_param_write(p, w, sizes[i], NULL);
            CHECK(fabs((up - down) / (2 * h) - g[k]) < 1e-8, "gradient %d, element %d: %g, by differences %g", i, k, g[k], (up - down) / (2 * h));
        }
        fnn_param_free(p);
    }
    fnn_session_free(evaluate);
    fnn_session_free(gradients);
    fnn_model_free(m);
}

static void check_faults(void) {
    fnn_model *m = make_model(NULL);
    fnn_session *s = NULL;
    fnn_error err;
    if (!m || fnn_session_create(m, FNN_TRAIN, 32, 0, &s, &err)) return;
    double before[2 * WIDTH], after[2 * WIDTH];
    fnn_param *p = fnn_model_param(m, 1);
    fnn_param_read(p, before, 2 * WIDTH, NULL);
    double kept = x[17][1];
    x[17][1] = NAN;
    fnn_array ax = array_x(), ay = array_y();
    fnn_pass pass = {.n = N, .batch_size = 32, .check_finite = 1};
    double lr = 0.1;
    int64_t done;
    int finished;
    fnn_bind(s, 0, &ax, &err);
    fnn_bind(s, 11, &ay, &err);
    fnn_begin(s, &pass, &err);
    int status = fnn_run(s, -1, -1, &lr, 1, &done, &finished, &err);
    CHECK(status == FNN_ERR_DATA && err.tensor == 0 && err.row == 17 && isnan(err.value), "NaN in row 17: %d, row %lld", status, (long long)err.row);
    fnn_param_read(p, after, 2 * WIDTH, NULL);
    CHECK(memcmp(before, after, sizeof before) == 0, "a step that fails changes nothing");
    x[17][1] = kept;
    CHECK(fnn_run(s, -1, -1, &lr, 1, &done, &finished, &err) == FNN_ERR_STATE, "a failed pass has ended");
    fnn_array short_x = ax;
    short_x.shape[0] = 10;
    fnn_bind(s, 0, &short_x, &err);
    CHECK(fnn_begin(s, &pass, &err) == FNN_ERR_ARGUMENT, "10 samples for a pass of %d", N);
    fnn_array wide = ax;
    wide.shape[1] = 3;
    CHECK(fnn_bind(s, 0, &wide, &err) == FNN_ERR_ARGUMENT, "three features for two");
    CHECK(fnn_session_create(m, 9, 1, 0, &s, &err) == FNN_ERR_ARGUMENT && !s, "mode 9");
    CHECK(fnn_session_create(m, FNN_TRAIN, 0, 0, &s, &err) == FNN_ERR_ARGUMENT && !s, "no rows");
    CHECK(fnn_session_create(m, FNN_TRAIN, (int64_t)1 << 40, 0, &s, &err) != FNN_OK && !s, "more rows than memory");
    fnn_param_free(p);
    fnn_model_free(m);
}

/* A mutated text is refused, or is another valid program that plans and runs. */
static void try_text(const char *text, size_t length, long *accepted) {
    fnn_model *m;
    if (fnn_model_create(text, length, NULL, NULL, 0, &m, NULL) != FNN_OK) return;
    ++*accepted;
    for (int mode = FNN_PREDICT; mode <= FNN_GRADIENTS; mode++) {
        fnn_session *s;
        if (fnn_session_create(m, mode, 2, FNN_GUARD, &s, NULL) != FNN_OK) continue;
        fnn_array ax = array_x(), ay = array_y();
        fnn_pass pass = {.n = 4, .batch_size = 2};
        double lr = 0.1;
        int64_t done;
        int finished;
        fnn_bind(s, 0, &ax, NULL);
        fnn_bind(s, 11, &ay, NULL);
        if (fnn_begin(s, &pass, NULL) == FNN_OK) fnn_run(s, -1, -1, &lr, 1, &done, &finished, NULL);
        CHECK(fnn_session_check(s, NULL) == FNN_OK, "a mutated program wrote beyond its buffers");
        fnn_session_free(s);
    }
    fnn_model_free(m);
}

static void check_hostile_texts(void) {
    size_t length = strlen(xor_text);
    char *text = malloc(length + 1);
    long accepted = 0;
    for (size_t cut = 0; cut < length; cut += 7) {
        memcpy(text, xor_text, cut);
        try_text(text, cut, &accepted);
    }
    static const char replacements[] = "0193B,-x p\n\xff";
    for (size_t at = 0; at < length; at++)
        for (size_t r = 0; r + 1 < sizeof replacements; r++) {
            memcpy(text, xor_text, length + 1);
            text[at] = replacements[r];
            try_text(text, length, &accepted);
        }
    /* Swapped lines: reads before writes, updates that do not come last. */
    for (int round = 0; round < 2000; round++) {
        double u[2];
        memcpy(text, xor_text, length + 1);
        fnn_random(99, (uint32_t)round, FNN_UNIFORM, 0, 1, u, 2);
        size_t a = (size_t)(u[0] * (double)(length - 40)), b = (size_t)(u[1] * (double)(length - 40)), n = 1 + (size_t)round % 40;
        memmove(text + a, xor_text + b, n);
        try_text(text, length, &accepted);
    }
    CHECK(accepted > 50, "some mutations stay valid: %ld did", accepted);
    free(text);
}

int main(void) {
    make_data();
    check_learning();
    check_gradients();
    check_faults();
    check_hostile_texts();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
