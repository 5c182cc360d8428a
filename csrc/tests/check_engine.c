/* Programs, plans and passes through the public header alone: a net that learns XOR, its bits, its gradients,
 * products without a batch and tallies, hostile texts, threads inside a step and beside it, and the caller's
 * floating-point state. */
#include "../engine.h"
#include "check.h"

#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 2-16-1 with tanh and sigmoid, binary crossentropy, Adam: what fastnn.compile writes for such a model,
 * shortened. */
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

static fnn_array array_x(void) {
    return (fnn_array){x, FNN_F64, 0, 2, {N, 2}, {sizeof x[0], sizeof x[0][0]}};
}
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
    fnn_pass pass = {
        .n = N, .batch_size = batch, .shuffle = 1, .check_finite = 1, .seed = 5, .epoch = (uint64_t)epoch};
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
    CHECK(run_pass(gradients, N, 0, 0, NULL) == FNN_OK && fnn_session_check(gradients, NULL) == FNN_OK,
          "gradients run");
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
            CHECK(fabs((up - down) / (2 * h) - g[k]) < 1e-8, "gradient %d, element %d: %g, by differences %g",
                  i, k, g[k], (up - down) / (2 * h));
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
    CHECK(status == FNN_ERR_DATA && err.tensor == 0 && err.row == 17 && isnan(err.value),
          "NaN in row 17: %d, row %lld", status, (long long)err.row);
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
    fnn_session_free(s);
    CHECK(fnn_session_create(m, 9, 1, 0, &s, &err) == FNN_ERR_ARGUMENT && !s, "mode 9");
    CHECK(fnn_session_create(m, FNN_TRAIN, 0, 0, &s, &err) == FNN_ERR_ARGUMENT && !s, "no rows");
    CHECK(fnn_session_create(m, FNN_TRAIN, (int64_t)1 << 40, 0, &s, &err) != FNN_OK && !s,
          "more rows than memory");
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

/* ---- what is not a layer's: p = sigmoid(sum(f tanh(x (v w)))), f 0.5 in training and 1 else; the product v w
 * has no batch, and a tally adds up how much of each class was given to each ---- */
static const char free_text[] =
    "fastnn-program 1\n"
    "dtype float64\n"
    "tensor 0 input float64 B,2 x\n"
    "tensor 1 param float64 2,16 w\n"
    "tensor 2 param float64 2,2 v\n"
    "tensor 3 temp float64 2,16\n"
    "tensor 4 temp float64 B,16\n"
    "tensor 5 temp float64 B,16\n"
    "tensor 6 temp float64 -\n"
    "tensor 7 temp float64 B,16\n"
    "tensor 8 temp float64 B,16\n"
    "tensor 9 temp float64 B,1\n"
    "tensor 10 temp float64 B,1\n"
    "tensor 11 target int32 B,1 y\n"
    "tensor 12 weight float64 B\n"
    "tensor 13 temp float64 B,1,2\n"
    "tensor 14 temp float64 B,2\n"
    "tensor 15 temp float64 B,1\n"
    "tensor 16 temp float64 B,2\n"
    "tensor 17 temp float64 2,2\n"
    "tensor 18 temp float64 B\n"
    "tensor 19 temp float64 B\n"
    "tensor 20 temp float64 B,2\n"
    "tensor 21 temp float64 B,1\n"
    "tensor 22 temp float64 B,1\n"
    "tensor 23 temp float64 B,16\n"
    "tensor 24 temp float64 B,16\n"
    "tensor 25 temp float64 B,16\n"
    "tensor 26 temp float64 2,16\n"
    "tensor 27 temp float64 2,16\n"
    "tensor 28 temp float64 2,2\n"
    "tensor 29 param float64 16 mean\n"
    "tensor 30 temp float64 16\n"
    "node matmul 2,1 3 -\n"
    "node matmul 0,3 4 -\n"
    "node tanh 4 5 -\n"
    "node full - 6 0x1p-1\n"
    "node multiply 5,6 7 -\n"
    "node in_training 7,5 8 -\n"
    "node sum_to 8 9 -\n"
    "node sigmoid 9 10 -\n"
    "node one_hot 11 13 -\n"
    "node reshape 13 14 -\n"
    "node affine 10 15 -0x1p+0,0x1p+0\n"
    "node concat 15,10 16 0x1p+0\n"
    "node matmul_tn 14,16 17 -\n"
    "node squared_error 16,14 18 -\n"
    "node loss_seed 12 19 0x1p+0\n"
    "node squared_error_grad 19,16,14 20 -\n"
    "node slice 20 21 0x1p+0,0x1p+0\n"
    "node sigmoid_grad 21,10 22 -\n"
    "node broadcast 22 23 -\n"
    "node multiply 6,23 24 -\n"
    "node tanh_grad 24,5 25 -\n"
    "node matmul_tn 0,25 26 -\n"
    "node matmul_tn 2,26 27 -\n"
    "node matmul_nt 26,1 28 -\n"
    "node mean_rows 8 30 -\n"
    "node sgd 1,27 - 0x0p+0,0x0p+0,0x0p+0\n"
    "node sgd 2,28 - 0x0p+0,0x0p+0,0x0p+0\n"
    "node moving_average 29,30 - 0x1p-1\n"
    "root output 10 y\n"
    "root loss 18 12 0x1p+0 loss\n"
    "root tally 17 confusion\n"
    "root grad 27 1\n"
    "root grad 28 2\n";

static double free_output(const double *row, const double *w, const double *v, double factor) {
    double sum = 0;
    for (int k = 0; k < WIDTH; k++) {
        double z = 0;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) z += row[i] * v[2 * i + j] * w[j * WIDTH + k];
        sum += factor * tanh(z);
    }
    return 1 / (1 + exp(-sum));
}

static void check_free_program(void) {
    static const double v[4] = {0.5, -0.25, 0.75, 1};
    double w[2 * WIDTH], parts[6] = {0}, resumed[6] = {0};
    fnn_model *m;
    fnn_error err;
    if (fnn_model_create(free_text, strlen(free_text), NULL, NULL, 0, &m, &err)) {
        CHECK(0, "the free program: %s", err.text);
        return;
    }
    fnn_param *pw = fnn_model_param(m, 1), *pv = fnn_model_param(m, 2);
    fnn_random(4, 0, FNN_NORMAL, 0, 0.3, w, 2 * WIDTH);
    fnn_param_write(pw, w, 2 * WIDTH, NULL);
    fnn_param_write(pv, v, 4, NULL);
    for (int training = 0; training < 2; training++) {
        fnn_session *s;
        double right[4] = {0}, results[6] = {0};
        for (int i = 0; i < N; i++) {
            double p = free_output(x[i], w, v, training ? 0.5 : 1);
            right[2 * y[i][0]] += 1 - p;
            right[2 * y[i][0] + 1] += p;
        }
        int flags = FNN_GUARD | (training ? FNN_TRAINING : 0);
        if (fnn_session_create(m, FNN_EVALUATE, 32, flags, &s, &err)) continue;
        CHECK(run_pass(s, 32, 0, 0, results) == FNN_OK && fnn_session_check(s, NULL) == FNN_OK,
              "a tally's pass");
        for (int i = 0; i < 4; i++)
            CHECK(fabs(results[2 + i] - right[i]) < 1e-9 * N, "tally %d, training %d: %g, by hand %g", i,
                  training, results[2 + i], right[i]);
        fnn_session_free(s);
    }
    /* Interrupted after the fifth step, and gone on with by another session. */
    fnn_array ax = array_x(), ay = array_y();
    double lr = 0, whole[6] = {0};
    for (int part = 0; part < 3; part++) {
        fnn_session *s;
        fnn_pass pass = {.n = N, .batch_size = 32, .shuffle = 1, .seed = 5, .first_step = part == 2 ? 5 : 0};
        int64_t done;
        int finished;
        if (fnn_session_create(m, FNN_EVALUATE, 32, 0, &s, &err)) continue;
        fnn_bind(s, 0, &ax, NULL);
        fnn_bind(s, 11, &ay, NULL);
        CHECK(fnn_set_results(s, parts, 6, NULL) == FNN_ERR_STATE, "results before a pass was begun");
        CHECK(fnn_begin(s, &pass, NULL) == FNN_OK, "beginning");
        if (part == 2) {
            CHECK(fnn_set_results(s, parts, 5, NULL) == FNN_ERR_ARGUMENT, "five results for six");
            CHECK(fnn_set_results(s, parts, 6, NULL) == FNN_OK, "results put back");
        }
        CHECK(fnn_run(s, part == 1 ? 5 : -1, -1, &lr, 1, &done, &finished, NULL) == FNN_OK, "part %d", part);
        CHECK(fnn_results(s, part == 0 ? whole : part == 1 ? parts : resumed, 6) == 6, "six results");
        CHECK(fnn_set_results(s, parts, 6, NULL) == FNN_ERR_STATE, "results after the first step");
        fnn_session_free(s);
    }
    CHECK(memcmp(whole, resumed, sizeof whole) == 0, "a pass in two parts has the sums of one");
    fnn_param_free(pw);
    fnn_param_free(pv);
    fnn_model_free(m);
}

static void check_hostile_texts(const char *valid) {
    size_t length = strlen(valid);
    char *text = malloc(length + 1);
    long accepted = 0;
    for (size_t cut = 0; cut < length; cut += 7) {
        memcpy(text, valid, cut);
        try_text(text, cut, &accepted);
    }
    static const char replacements[] = "0193B,-x p\n\xff";
    for (size_t at = 0; at < length; at++)
        for (size_t r = 0; r + 1 < sizeof replacements; r++) {
            memcpy(text, valid, length + 1);
            text[at] = replacements[r];
            try_text(text, length, &accepted);
        }
    /* Swapped lines: reads before writes, updates that do not come last. */
    for (int round = 0; round < 2000; round++) {
        double u[2];
        memcpy(text, valid, length + 1);
        fnn_random(99, (uint32_t)round, FNN_UNIFORM, 0, 1, u, 2);
        size_t a = (size_t)(u[0] * (double)(length - 40)), b = (size_t)(u[1] * (double)(length - 40)),
               n = 1 + (size_t)round % 40;
        memmove(text + a, valid + b, n);
        try_text(text, length, &accepted);
    }
    CHECK(accepted > 50, "some mutations stay valid: %ld did", accepted);
    free(text);
}

/* ---- a net wide enough that all its phases are shared among threads: 96-160-64-8, relu, squared error,
 * Adam, float32 ---- */

enum {
    WIDE_N = 800,
    WIDE_IN = 96,
    WIDE_OUT = 8,
    LAYERS = 3,
    WIDE_TARGET = 1,
    WIDE_OUTPUT = 16,
    WIDE_BATCH = 400
};
static const int widths[LAYERS + 1] = {WIDE_IN, 160, 64, WIDE_OUT};
static float wide_x[WIDE_N][WIDE_IN], wide_y[WIDE_N][WIDE_OUT];

typedef struct { char tensors[4096], nodes[4096], roots[256]; int n; } writer;

static int tensor(writer *w, const char *kind, const char *shape) {
    size_t at = strlen(w->tensors);
    snprintf(w->tensors + at, sizeof w->tensors - at, "tensor %d %s float32 %s\n", w->n, kind, shape);
    return w->n++;
}

/* A node of up to three inputs (-1: none) with one output of a shape, or none (shape NULL). */
static int node(writer *w, const char *op, int a, int b, int c, const char *shape, const char *attrs) {
    size_t at = strlen(w->nodes);
    int out = shape ? tensor(w, "temp", shape) : -1;
    at += (size_t)snprintf(w->nodes + at, sizeof w->nodes - at, "node %s %d", op, a);
    if (b >= 0) at += (size_t)snprintf(w->nodes + at, sizeof w->nodes - at, ",%d", b);
    if (c >= 0) at += (size_t)snprintf(w->nodes + at, sizeof w->nodes - at, ",%d", c);
    if (out >= 0) snprintf(w->nodes + at, sizeof w->nodes - at, " %d %s\n", out, attrs);
    else snprintf(w->nodes + at, sizeof w->nodes - at, " - %s\n", attrs);
    return out;
}

/* The kernels are tensors 3, 5 and 7. */
static void write_wide(char *text, size_t size) {
    writer w = {.n = 0};
    int kernel[LAYERS], bias[LAYERS], in[LAYERS], gradient[2 * LAYERS], out[LAYERS];
    char rows[LAYERS + 1][16], square[LAYERS][24], flat[LAYERS][16];
    for (int i = 0; i <= LAYERS; i++) snprintf(rows[i], sizeof rows[i], "B,%d", widths[i]);
    in[0] = tensor(&w, "input", rows[0]);
    int target = tensor(&w, "target", rows[LAYERS]), weight = tensor(&w, "weight", "B");
    for (int i = 0; i < LAYERS; i++) {
        snprintf(square[i], sizeof square[i], "%d,%d", widths[i], widths[i + 1]);
        snprintf(flat[i], sizeof flat[i], "%d", widths[i + 1]);
        kernel[i] = tensor(&w, "param", square[i]);
        bias[i] = tensor(&w, "param", flat[i]);
    }
    for (int i = 0; i < LAYERS; i++) {
        out[i] = node(&w, "bias_add", node(&w, "matmul", in[i], kernel[i], -1, rows[i + 1], "-"), bias[i], -1,
                      rows[i + 1], "-");
        if (i + 1 < LAYERS) in[i + 1] = out[i] = node(&w, "relu", out[i], -1, -1, rows[i + 1], "-");
    }
    int loss = node(&w, "squared_error", out[LAYERS - 1], target, -1, "B", "-");
    int seed = node(&w, "loss_seed", weight, -1, -1, "B", "0x1p+0");
    int d = node(&w, "squared_error_grad", seed, out[LAYERS - 1], target, rows[LAYERS], "-");
    for (int i = LAYERS - 1; i >= 0; i--) {
        if (i + 1 < LAYERS) d = node(&w, "relu_grad", d, out[i], -1, rows[i + 1], "-");
        gradient[2 * i] = node(&w, "matmul_tn", in[i], d, -1, square[i], "-");
        gradient[2 * i + 1] = node(&w, "sum_rows", d, -1, -1, flat[i], "-");
        if (i > 0) d = node(&w, "matmul_nt", d, kernel[i], -1, rows[i], "-");
    }
    static const char
        adam[] = "0x1.ccccccccccccdp-1,0x1.ff7ced916872bp-1,0x1.ad7f29abcaf48p-24,0x0p+0,0x0p+0";
    for (int i = 0; i < LAYERS; i++) {
        node(&w, "adam", kernel[i], gradient[2 * i], -1, NULL, adam);
        node(&w, "adam", bias[i], gradient[2 * i + 1], -1, NULL, adam);
    }
    snprintf(w.roots, sizeof w.roots, "root output %d y\nroot loss %d %d 0x1p+0 loss\n", out[LAYERS - 1],
             loss, weight);
    snprintf(text, size, "fastnn-program 1\ndtype float32\n%s%s%s", w.tensors, w.nodes, w.roots);
}

static fnn_model *make_wide(void) {
    static char text[16384];
    static double draws[160 * 96];
    static float w[160 * 96];
    fnn_model *m;
    fnn_error err;
    write_wide(text, sizeof text);
    if (fnn_model_create(text, strlen(text), NULL, NULL, 0, &m, &err) != FNN_OK) {
        CHECK(0, "the wide net: %s", err.text);
        return NULL;
    }
    for (int i = 0; i < LAYERS; i++) {
        int size = widths[i] * widths[i + 1];
        fnn_random(3, (uint32_t)i, FNN_NORMAL, 0, sqrt(2.0 / widths[i]), draws, size);
        for (int k = 0; k < size; k++) w[k] = (float)draws[k];
        fnn_param *p = fnn_model_param(m, 3 + 2 * i);
        fnn_param_write(p, w, size, NULL);
        fnn_param_free(p);
    }
    return m;
}

static void make_wide_data(void) {
    static double draws[WIDE_N * WIDE_IN];
    fnn_random(8, 0, FNN_NORMAL, 0, 1, draws, WIDE_N * WIDE_IN);
    for (int i = 0; i < WIDE_N; i++) {
        for (int k = 0; k < WIDE_IN; k++) wide_x[i][k] = (float)draws[i * WIDE_IN + k];
        for (int k = 0; k < WIDE_OUT; k++) wide_y[i][k] = wide_x[i][k] * wide_x[i][k + 1];
    }
}

static int begin_wide(fnn_session *s, uint64_t epoch) {
    fnn_array ax = {wide_x, FNN_F32, 0, 2, {WIDE_N, WIDE_IN}, {sizeof wide_x[0], sizeof wide_x[0][0]}};
    fnn_array ay = {wide_y, FNN_F32, 0, 2, {WIDE_N, WIDE_OUT}, {sizeof wide_y[0], sizeof wide_y[0][0]}};
    fnn_pass pass = {
        .n = WIDE_N, .batch_size = WIDE_BATCH, .shuffle = 1, .check_finite = 1, .seed = 5, .epoch = epoch};
    int status = fnn_bind(s, 0, &ax, NULL);
    if (!status) status = fnn_bind(s, WIDE_TARGET, &ay, NULL);
    return status ? status : fnn_begin(s, &pass, NULL);
}

static int train_wide(fnn_session *s, int epochs) {
    double lr = 1e-3;
    for (int epoch = 0; epoch < epochs; epoch++) {
        int64_t done;
        int finished, status = begin_wide(s, (uint64_t)epoch);
        if (!status) status = fnn_run(s, -1, -1, &lr, 1, &done, &finished, NULL);
        if (status) return status;
    }
    return FNN_OK;
}

static void check_threads_inside_a_step(void) {
    static float kernel[4][96 * 160];
    int before = fnn_get_threads();
    for (int threads = 1; threads <= 4; threads++) {
        fnn_set_threads(threads);
        fnn_model *m = make_wide();
        fnn_session *s = NULL;
        if (!m || fnn_session_create(m, FNN_TRAIN, WIDE_BATCH, FNN_GUARD, &s, NULL)) return;
        CHECK(train_wide(s, 2) == FNN_OK && fnn_session_check(s, NULL) == FNN_OK, "a wide net on %d threads",
              threads);
        fnn_param *p = fnn_model_param(m, 3);
        fnn_param_read(p, kernel[threads - 1], 96 * 160, NULL);
        CHECK(memcmp(kernel[0], kernel[threads - 1], sizeof kernel[0]) == 0,
              "%d threads give the bits of one", threads);
        /* More threads than the session was made for. */
        fnn_set_threads(threads + 2);
        CHECK(train_wide(s, 1) == FNN_OK && fnn_session_check(s, NULL) == FNN_OK, "two more than %d threads",
              threads);
        fnn_param_free(p);
        fnn_session_free(s);
        fnn_model_free(m);
    }
    fnn_set_threads(before);
}

/* ---- training, prediction, evaluation, reading and writing of one model at a time ---- */

static atomic_int training_ends;
typedef struct { fnn_model *model; long rounds; int failures; } caller;

static void *predict_meanwhile(void *arg) {
    caller *c = arg;
    fnn_session *s;
    static _Thread_local float out[WIDE_N][WIDE_OUT];
    for (; !atomic_load(&training_ends); c->rounds++) {
        if (fnn_session_create(c->model, FNN_PREDICT, WIDE_BATCH, 0, &s, NULL)) { c->failures++; continue; }
        fnn_array ax = {wide_x, FNN_F32, 0, 2, {WIDE_N, WIDE_IN}, {sizeof wide_x[0], sizeof wide_x[0][0]}};
        fnn_array ay = {out, FNN_F32, 0, 2, {WIDE_N, WIDE_OUT}, {sizeof out[0], sizeof out[0][0]}};
        fnn_pass pass = {.n = WIDE_N, .batch_size = WIDE_BATCH};
        double lr = 0;
        int64_t done;
        int finished;
        fnn_bind(s, 0, &ax, NULL);
        fnn_bind(s, WIDE_OUTPUT, &ay, NULL);
        c->failures += fnn_begin(s, &pass, NULL) || fnn_run(s, -1, -1, &lr, 1, &done, &finished, NULL);
        fnn_session_free(s);
    }
    return NULL;
}

static void *read_and_write_meanwhile(void *arg) {
    caller *c = arg;
    static float w[96 * 160];
    fnn_param *p = fnn_model_param(c->model, 3);
    for (; !atomic_load(&training_ends); c->rounds++) {
        c->failures += fnn_param_read(p, w, 96 * 160, NULL) != FNN_OK;
        c->failures += fnn_param_write(p, w, 96 * 160, NULL) != FNN_OK;
        c->failures += fnn_model_read(c->model, 1, (int[]){3}, (int[]){1}, (void *[]){w}, (int64_t[]){96 * 160},
                                      &(int64_t){0}, NULL) != FNN_OK;
        c->failures += fnn_model_iterations(c->model) < 0;
        fnn_param_read(p, w, 96 * 160, NULL);
        c->failures += fnn_model_snapshot(c->model, NULL) != FNN_OK;
    }
    fnn_param_free(p);
    return NULL;
}

static void check_callers_beside_a_training(void) {
    fnn_model *m = make_wide();
    fnn_session *s = NULL;
    if (!m || fnn_session_create(m, FNN_TRAIN, WIDE_BATCH, 0, &s, NULL)) return;
    enum { CALLERS = 3 };
    pthread_t threads[CALLERS];
    caller callers[CALLERS] = {{m, 0, 0}, {m, 0, 0}, {m, 0, 0}};
    atomic_store(&training_ends, 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_create(&threads[i], NULL, i < 2 ? predict_meanwhile : read_and_write_meanwhile, &callers[i]);
    CHECK(train_wide(s, 12) == FNN_OK, "a training beside other callers");
    atomic_store(&training_ends, 1);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(callers[i].failures == 0 && callers[i].rounds > 0,
              "caller %d beside a training: %ld rounds, %d failures", i, callers[i].rounds,
              callers[i].failures);
    }
    fnn_session_free(s);
    fnn_model_free(m);
}

static void *use_a_busy_session(void *arg) {
    fnn_session *s = arg;
    long *refused = calloc(1, sizeof *refused);
    for (; !atomic_load(&training_ends); ) *refused += begin_wide(s, 0) == FNN_ERR_STATE;
    return refused;
}

static void check_a_session_in_two_threads(void) {
    fnn_model *m = make_wide();
    fnn_session *s = NULL;
    pthread_t other;
    void *refused = NULL;
    if (!m || fnn_session_create(m, FNN_TRAIN, WIDE_BATCH, 0, &s, NULL)) return;
    atomic_store(&training_ends, 0);
    pthread_create(&other, NULL, use_a_busy_session, s);
    for (int i = 0; i < 6; i++) train_wide(s, 1);
    atomic_store(&training_ends, 1);
    pthread_join(other, &refused);
    CHECK(refused != NULL, "a session in two threads");
    free(refused);
    fnn_session_free(s);
    fnn_model_free(m);
}

/* ---- the caller's floating-point state ---- */

static fenv_t strange;

/* Rounding, flags and masks as the caller set them; then back to the usual. */
static int state_is_kept(void) {
    int kept = fegetround() == FE_UPWARD && fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO;
    fesetenv(&strange);
    return kept;
}

static void check_floating_point_state(void) {
    fenv_t host;
    fnn_error err;
    double lr = 0.1, results[6];
    int64_t done;
    int finished;
    fegetenv(&host);
    fesetround(FE_UPWARD);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
    fegetenv(&strange);

    static char text[16384];
    write_wide(text, sizeof text);
    fnn_model *m = NULL;
    fesetenv(&strange);
    int status = fnn_model_create(text, strlen(text), NULL, NULL, 0, &m, &err);
    CHECK(status == FNN_OK && state_is_kept(), "creating a model");
    fnn_session *s = NULL, *predict = NULL;
    status = fnn_session_create(m, FNN_TRAIN, WIDE_BATCH, 0, &s, &err);
    CHECK(status == FNN_OK && state_is_kept(), "creating a session");
    CHECK(begin_wide(s, 0) == FNN_OK && state_is_kept(), "beginning a pass");
    CHECK(fnn_run(s, 2, -1, &lr, 1, &done, &finished, &err) == FNN_OK && state_is_kept(), "running");
    CHECK(fnn_results(s, results, 6) == 2 && state_is_kept(), "results");
    begin_wide(s, 0);
    wide_x[3][3] = INFINITY;
    CHECK(fnn_run(s, -1, -1, &lr, 1, &done, &finished, &err) == FNN_ERR_DATA && state_is_kept(),
          "running into bad data");
    wide_x[3][3] = 0;
    CHECK(fnn_run(s, -1, -1, &lr, 1, &done, &finished, &err) == FNN_ERR_STATE && state_is_kept(),
          "running without a pass");
    begin_wide(s, 0);
    lr = 1e30;
    CHECK(fnn_run(s, -1, -1, &lr, 1, &done, &finished, &err) == FNN_ERR_NONFINITE && state_is_kept(),
          "running into infinity");
    if (fnn_session_create(m, FNN_PREDICT, WIDE_BATCH, 0, &predict, &err) == FNN_OK) {
        static float out[WIDE_N][WIDE_OUT];
        fesetenv(&strange);
        CHECK(fnn_predict(predict, wide_x, out, WIDE_N) == FNN_OK && state_is_kept(), "predicting");
        CHECK(fnn_predict(s, wide_x, out, WIDE_N) == FNN_ERR_STATE && state_is_kept(),
              "predicting with a session for training");
    }
    fnn_session_free(predict);
    fnn_session_free(s);
    fnn_model_free(m);
    fesetenv(&host);
}

int main(void) {
    make_data();
    make_wide_data();
    check_learning();
    check_gradients();
    check_faults();
    check_free_program();
    check_hostile_texts(xor_text);
    check_hostile_texts(free_text);
    check_threads_inside_a_step();
    check_callers_beside_a_training();
    check_a_session_in_two_threads();
    check_floating_point_state();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
