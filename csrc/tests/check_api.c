/* Wrong calls and wrong files: each is refused with its status and a text that says why, with and without a place for
 * the error, and leaves everything as it was.
 *
 *   check_api FOLDER      that of tests/golden/files/fastnn-1
 */
#include "../fastnn.h"
#include "check.h"
#include "sealed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The call, which names the place for its error `e`, gives this status and a text with this word. */
#define REFUSED(wanted, word, call)                                               \
    do {                                                                          \
        fnn_error err_ = {0}, *e = &err_;                                         \
        int status_ = (call);                                                     \
        CHECK(status_ == (wanted) && err_.status == (wanted), #call ": status %d, in the error %d, '%s'", status_, err_.status, err_.text); \
        CHECK(err_.text[0] && strstr(err_.text, word), #call ": '%s' without '%s'", err_.text, word); \
        e = NULL;                                                                 \
        status_ = (call);                                                         \
        CHECK(status_ == (wanted), #call " without a place for the error: status %d", status_); \
    } while (0)
#define WORKS(call)                                                               \
    do {                                                                          \
        fnn_error err_ = {0}, *e = &err_;                                         \
        int status_ = (call);                                                     \
        CHECK(status_ == FNN_OK, #call ": status %d, '%s'", status_, err_.text);  \
    } while (0)

static const char *folder;
static char path[1000];

static const char *in_folder(const char *name) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

typedef struct { unsigned char *bytes; size_t size; } content;

static content read_all(const char *name) {
    content c = {malloc(1 << 20), 0};
    FILE *f = fopen(in_folder(name), "rb");
    if (f && c.bytes) c.size = fread(c.bytes, 1, 1 << 20, f);
    if (f) fclose(f);
    CHECK(c.size > 0, "cannot read %s", path);
    return c;
}

/* ---- files ---- */

/* The file with the first `from` in it replaced by `to`, of the same length, and sealed again. */
static content edited(content c, const char *from, const char *to) {
    content made = {malloc(c.size), c.size};
    size_t n = strlen(from), at = 0;
    if (!made.bytes) return made;
    memcpy(made.bytes, c.bytes, c.size);
    while (at + n < c.size && memcmp(made.bytes + at, from, n)) at++;
    CHECK(at + n < c.size && strlen(to) == n, "there is no '%s' in the file", from);
    memcpy(made.bytes + at, to, n);
    seal(made.bytes, made.size);
    return made;
}

static void wrong_files(void) {
    static const struct { const char *file, *from, *to; int status; const char *word; } edits[] = {
        {"trained.fnn", "\"fastnn 1\"", "\"fastnn 2\"", FNN_ERR_FORMAT, "fastnn 2"},
        {"trained.fnn", "\"fastnn 1\"", "\"tensor 1\"", FNN_ERR_FORMAT, "tensor 1"},
        {"trained.fnn", "\"format\"", "\"f0rmat\"", FNN_ERR_FORMAT, ""},
        {"trained.fnn", "\"model\"", "\"modem\"", FNN_ERR_FORMAT, "modem"},
        {"trained.fnn", "\"program\"", "\"pr0gram\"", FNN_ERR_FORMAT, ""},
        {"trained.fnn", "fastnn-program 1", "fastnn-program 2", FNN_ERR_PROGRAM, "format"},
        {"trained.fnn", "dtype float32", "dtype float16", FNN_ERR_PROGRAM, "dtype"},
        {"trained.fnn", "node matmul ", "node matmux ", FNN_ERR_PROGRAM, "op"},
        {"frozen.fnn", "node matmul ", "node conv2d ", FNN_ERR_PROGRAM, "op"},
        {"frozen.fnn", "param float32 ", "temp  float32 ", FNN_ERR_PROGRAM, ""},
        {"frozen.fnn", "\"F32\"", "\"F33\"", FNN_ERR_FORMAT, "kernel"},
        {"frozen.fnn", "\"data_offsets\":[0,", "\"data_offsets\":[1,", FNN_ERR_FORMAT, ""},
        {"frozen.fnn", "\"data_offsets\"", "\"data_0ffsets\"", FNN_ERR_FORMAT, ""},
        {"frozen.fnn", "\"kind\":\"predictor\"", "\"kind\":7          ", FNN_ERR_FORMAT, "text"},
        {"frozen.fnn", "\"producer\"", "\"\\u00e9xx\"", FNN_OK, ""},
        {"frozen.fnn", "\"producer\"", "\"\\uz0e9xx\"", FNN_ERR_FORMAT, ""},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        content whole = read_all(edits[i].file), c = edited(whole, edits[i].from, edits[i].to);
        fnn_model *m = NULL;
        if (edits[i].status == FNN_OK) {
            WORKS(fnn_open_memory(c.bytes, c.size, &m, e));
            fnn_model_free(m);
            m = NULL;
        } else REFUSED(edits[i].status, edits[i].word, fnn_open_memory(c.bytes, c.size, &m, e));
        CHECK(!m, "a model of a wrong file: %s", edits[i].to);
        free(c.bytes);
        free(whole.bytes);
    }
    fnn_model *m = NULL;
    content c = read_all("trained.fnn");
    for (size_t n = 0; n < c.size; n += n < 200 ? 1 : 97) {
        fnn_error err = {0};
        int status = fnn_open_memory(c.bytes, n, &m, &err);
        CHECK(status == FNN_ERR_FORMAT && err.text[0] && !m, "the first %zu bytes: status %d, '%s'", n, status, err.text);
    }
    for (size_t at = 0; at < c.size; at += 31) {
        c.bytes[at] ^= 4;
        fnn_error err = {0};
        int status = fnn_open_memory(c.bytes, c.size, &m, &err);
        CHECK(status == FNN_ERR_FORMAT && err.text[0] && !m, "byte %zu changed: status %d, '%s'", at, status, err.text);
        c.bytes[at] ^= 4;
    }
    WORKS(fnn_open_memory(c.bytes, c.size, &m, e));
    fnn_model_free(m);
    m = NULL;
    free(c.bytes);
    static const char *const foreign[] = {"\x89HDF\r\n\x1a\n01234567890123456789012345678901234567", "PK\x03\x04zipzipzipzipzipzipzipzipzipzipzipzipzip",
                                          "", "x", "{\"__metadata__\":{\"checksum\":\"", "12345678{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}0000"};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        REFUSED(FNN_ERR_FORMAT, "", fnn_open_memory(foreign[i], strlen(foreign[i]), &m, e));
    REFUSED(FNN_ERR_FORMAT, "weights", fnn_open(in_folder("weights.fnn"), &m, e));
    REFUSED(FNN_ERR_FORMAT, "checkpoint", fnn_open(in_folder("run.ckpt"), &m, e));
    REFUSED(FNN_ERR_FILE, "", fnn_open(in_folder("no such file"), &m, e));
    REFUSED(FNN_ERR_FILE, "", fnn_open(in_folder("no such folder/m.fnn"), &m, e));
    REFUSED(FNN_ERR_FILE, "", fnn_open(folder, &m, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_open(NULL, &m, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_open(in_folder("trained.fnn"), NULL, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_open_memory(NULL, 100, &m, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_open_memory("x", 1, NULL, e));
    CHECK(!m, "a model of a wrong call");
}

/* ---- handles that are not there ---- */

static void no_handles(void) {
    char byte[8] = {0};
    void *pointers[2] = {byte, byte};
    const void *inputs[2] = {byte, byte};
    double number = 0;
    int64_t done = 0;
    int finished = 0;
    size_t size = 0;
    fnn_tensor_info info;
    fnn_session *s = NULL;
    fnn_error error;
    fnn_array array = {byte, FNN_F32, 0, 1, {1}, {4}};
    fnn_pass pass = {.n = 1, .batch_size = 1};
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_save(NULL, "x.fnn", e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_save_memory(NULL, byte, 8, &size, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_model_tensor(NULL, FNN_INPUTS, 0, &info, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_get_parameter(NULL, 0, byte, 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_set_parameter(NULL, 0, byte, 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_size(NULL, FNN_PREDICT, 1, 0, &size, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(NULL, FNN_PREDICT, 1, 0, &s, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_predict_many(NULL, inputs, pointers, 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(NULL, inputs, 1, 0.1, &number, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_epoch(NULL, inputs, 1, 0, 0, 0.1, &number, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(NULL, 0, &array, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_begin(NULL, &pass, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_run(NULL, 1, 1, &number, 1, &done, &finished, e));
    CHECK(fnn_predict(NULL, byte, byte, 1) == FNN_ERR_ARGUMENT, "fnn_predict without a session");
    CHECK(fnn_model_count(NULL, FNN_INPUTS) == -1 && !fnn_model_name(NULL, FNN_INPUTS, 0), "numbers of no model");
    CHECK(isnan(fnn_model_learning_rate(NULL)), "the learning rate of no model");
    CHECK(fnn_session_bytes(NULL) == 0, "the bytes of no session");
    (void)fnn_model_iterations(NULL);
    (void)fnn_session_error(NULL);
    (void)fnn_results(NULL, &number, 1);
    fnn_model_error(NULL, &error);
    fnn_model_error(NULL, NULL);
    fnn_model_free(NULL);
    fnn_session_free(NULL);
    CHECK(!s, "a session of no model");
}

/* ---- models and sessions ---- */

static void *own_zeros(size_t bytes) {
    void *p = calloc(1, bytes);
    if (!p) exit(2);
    return p;
}

static void *take_none(size_t bytes, size_t alignment, void *context) {
    (void)bytes;
    (void)alignment;
    (void)context;
    return NULL;
}
static void give_none(void *p, void *context) {
    (void)p;
    (void)context;
}

static void wrong_calls(void) {
    fnn_model *m = NULL;
    fnn_session *s = NULL, *t = NULL;
    fnn_tensor_info x, y, target, w;
    size_t size = 0;
    WORKS(fnn_open(in_folder("trained.fnn"), &m, e));
    if (!m) return;
    WORKS(fnn_model_tensor(m, FNN_INPUTS, 0, &x, e));
    WORKS(fnn_model_tensor(m, FNN_OUTPUTS, 0, &y, e));
    WORKS(fnn_model_tensor(m, FNN_TARGETS, 0, &target, e));
    WORKS(fnn_model_tensor(m, FNN_PARAMETERS, 0, &w, e));

    static const int kinds[] = {-1, FNN_RESULT_NAMES + 1, 1000, FNN_FEATURE_NAMES};
    for (int i = 0; i < 4; i++) REFUSED(FNN_ERR_ARGUMENT, "", fnn_model_tensor(m, kinds[i], 0, &x, e));
    static const int indices[] = {-1, 1000, 1 << 30};
    for (int i = 0; i < 3; i++) {
        REFUSED(FNN_ERR_ARGUMENT, "", fnn_model_tensor(m, FNN_INPUTS, indices[i], &x, e));
        CHECK(!fnn_model_name(m, FNN_INPUTS, indices[i]) && !fnn_model_name(m, FNN_CLASS_NAMES, indices[i]), "name %d", indices[i]);
    }
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_model_tensor(m, FNN_INPUTS, 0, NULL, e));
    CHECK(fnn_model_count(m, -1) == -1 && fnn_model_count(m, 99) == -1, "a number of no kind");
    WORKS(fnn_model_tensor(m, FNN_INPUTS, 0, &x, e));

    float *values = own_zeros((size_t)w.count * sizeof *values);
    static const int ids[] = {-1, 1 << 30, 65535};
    for (int i = 0; i < 3; i++) {
        REFUSED(FNN_ERR_ARGUMENT, "", fnn_get_parameter(m, ids[i], values, w.count, e));
        REFUSED(FNN_ERR_ARGUMENT, "", fnn_set_parameter(m, ids[i], values, w.count, e));
    }
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_get_parameter(m, x.id, values, w.count, e));   /* an input is none */
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_get_parameter(m, w.id, values, w.count + 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_set_parameter(m, w.id, values, w.count - 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_set_parameter(m, w.id, values, -1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_get_parameter(m, w.id, NULL, w.count, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_set_parameter(m, w.id, NULL, w.count, e));
    fnn_error last = {0};
    fnn_model_error(m, &last);
    CHECK(last.status == FNN_ERR_ARGUMENT && last.text[0], "the model's last error: %d '%s'", last.status, last.text);
    fnn_model_error(m, NULL);

    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(m, 4, 1, 0, &s, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(m, -1, 1, 0, &s, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(m, FNN_PREDICT, 0, 0, &s, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(m, FNN_PREDICT, -5, 0, &s, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(m, FNN_PREDICT, 1, 1 << 20, &s, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_create(m, FNN_PREDICT, 1, 0, NULL, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_size(m, FNN_PREDICT, 0, 0, &size, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_session_size(m, FNN_PREDICT, 1, 0, NULL, e));
    fnn_error err = {0};
    int status = fnn_session_create(m, FNN_PREDICT, INT64_MAX, 0, &s, &err);
    CHECK((status == FNN_ERR_LIMIT || status == FNN_ERR_ARGUMENT) && err.text[0] && !s, "2^63 - 1 rows: status %d '%s'", status, err.text);
    status = fnn_session_create(m, FNN_PREDICT, FNN_MAX_ROWS, 0, &s, &err);
    CHECK((status == FNN_ERR_MEMORY || status == FNN_ERR_LIMIT) && err.text[0] && !s, "2^40 rows: status %d '%s'", status, err.text);

    enum { ROWS = 8 };
    WORKS(fnn_session_create(m, FNN_PREDICT, ROWS, FNN_ONE_THREAD, &s, e));
    WORKS(fnn_session_create(m, FNN_TRAIN, ROWS, 0, &t, e));
    if (!s || !t) return;
    float *in = own_zeros((size_t)(ROWS * x.count) * 4), *out = own_zeros((size_t)(ROWS * y.count) * 4);
    void *labels = own_zeros((size_t)(ROWS * target.count) * 8);
    const void *inputs[] = {in}, *arrays[] = {in, labels}, *none[] = {NULL, NULL}, *half[] = {in, NULL};
    void *outputs[] = {out}, *nothing[] = {NULL};
    double loss = 0;
    CHECK(fnn_predict(s, in, out, ROWS) == FNN_OK, "a prediction");
    CHECK(fnn_predict(s, in, out, -1) == FNN_ERR_ARGUMENT && fnn_session_error(s)->text[0], "-1 rows: %s", fnn_session_error(s)->text);
    CHECK(fnn_predict(t, in, out, 1) != FNN_OK && fnn_session_error(t)->text[0], "predicting in a session for training");
    WORKS(fnn_predict_many(s, inputs, outputs, ROWS, e));
    WORKS(fnn_predict_many(s, inputs, nothing, ROWS, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_predict_many(s, NULL, outputs, 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_predict_many(s, none, outputs, 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_predict_many(s, inputs, NULL, 1, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_predict_many(s, inputs, outputs, -1, e));
    REFUSED(FNN_ERR_STATE, "", fnn_predict_many(t, inputs, outputs, 1, e));
    REFUSED(FNN_ERR_STATE, "", fnn_train_batch(s, arrays, 1, 0.1, &loss, e));
    REFUSED(FNN_ERR_STATE, "", fnn_train_epoch(s, arrays, 1, 0, 0, 0.1, &loss, e));
    WORKS(fnn_train_batch(t, arrays, ROWS, 0.01, &loss, e));
    WORKS(fnn_train_batch(t, arrays, ROWS, 0.01, NULL, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(t, arrays, ROWS + 1, 0.1, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(t, arrays, 0, 0.1, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(t, arrays, -1, 0.1, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(t, NULL, 1, 0.1, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(t, half, 1, 0.1, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_batch(t, arrays, 1, NAN, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_epoch(t, arrays, -1, 0, 0, 0.1, &loss, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_train_epoch(t, half, 1, 0, 0, 0.1, &loss, e));
    for (int k = 0; k < 8 * ROWS * (int)target.count; k++) ((unsigned char *)labels)[k] = 0x7f;
    if (target.dtype == FNN_I32) REFUSED(FNN_ERR_DATA, "", fnn_train_batch(t, arrays, 1, 0.1, &loss, e));

    fnn_array array = {in, FNN_F32, 0, x.ndim, {ROWS, x.shape[1]}, {x.shape[1] * 4, 4}}, bad = array;
    fnn_pass pass = {.n = ROWS, .batch_size = ROWS}, wrong = pass;
    double lr = 0.1;
    int64_t done;
    int finished;
    REFUSED(FNN_ERR_STATE, "", fnn_begin(s, &pass, e));                    /* nothing is bound */
    REFUSED(FNN_ERR_STATE, "", fnn_run(s, -1, -1, &lr, 1, &done, &finished, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, -1, &array, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, 1 << 20, &array, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, w.id, &array, e));
    bad.dtype = 99;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, x.id, &bad, e));
    bad = array;
    bad.ndim = 3;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, x.id, &bad, e));
    bad.ndim = -1;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, x.id, &bad, e));
    bad = array;
    bad.shape[1]++;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, x.id, &bad, e));
    bad = array;
    bad.data = NULL;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_bind(s, x.id, &bad, e));
    WORKS(fnn_bind(s, x.id, &array, e));
    WORKS(fnn_bind(s, x.id, NULL, e));
    WORKS(fnn_bind(s, x.id, &array, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_begin(s, NULL, e));
    wrong.n = ROWS + 1;                                                    /* more than are bound */
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_begin(s, &wrong, e));
    wrong = pass;
    wrong.batch_size = 0;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_begin(s, &wrong, e));
    wrong.batch_size = ROWS + 1;
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_begin(s, &wrong, e));

    REFUSED(FNN_ERR_FILE, "", fnn_save(m, in_folder("no such folder/m.fnn"), e));
    REFUSED(FNN_ERR_FILE, "", fnn_save(m, folder, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_save(m, NULL, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_save_memory(m, NULL, 0, &size, e));
    unsigned char *bytes = own_zeros(size + 1);
    size_t again = 0;
    CHECK(size > 1000, "a file of %zu bytes", size);
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_save_memory(m, bytes, size - 1, &again, e));
    REFUSED(FNN_ERR_ARGUMENT, "", fnn_save_memory(m, bytes, size, NULL, e));
    WORKS(fnn_save_memory(m, bytes, size, &again, e));
    CHECK(again == size && bytes[size] == 0, "%zu bytes instead of %zu", again, size);

    CHECK(fnn_set_allocator(take_none, give_none, NULL) == FNN_ERR_STATE, "another allocator while memory is held");

    fnn_model_free(m);
    for (int k = 0; k < 8 * ROWS * (int)target.count; k++) ((unsigned char *)labels)[k] = 0;
#ifdef FNN_DEBUG
    REFUSED(FNN_ERR_STATE, "freed", fnn_predict_many(s, inputs, outputs, ROWS, e));
    REFUSED(FNN_ERR_STATE, "freed", fnn_train_batch(t, arrays, ROWS, 0.01, &loss, e));
    CHECK(fnn_predict(s, in, out, ROWS) == FNN_ERR_STATE, "a prediction after the model was freed");
#else                                /* sessions keep what they need of it */
    CHECK(fnn_predict(s, in, out, ROWS) == FNN_OK, "a prediction after the model was freed");
    WORKS(fnn_train_batch(t, arrays, ROWS, 0.01, &loss, e));
#endif
    fnn_session_free(s);
    fnn_session_free(t);
    free(values);
    free(in);
    free(out);
    free(labels);
    free(bytes);
}

static void allocators(void) {
    fnn_model *m = NULL;
    CHECK(fnn_set_allocator(take_none, NULL, NULL) == FNN_ERR_ARGUMENT, "half an allocator");
    CHECK(fnn_set_allocator(NULL, give_none, NULL) == FNN_ERR_ARGUMENT, "the other half");
    CHECK(fnn_set_allocator(take_none, give_none, NULL) == FNN_OK, "an allocator");
    REFUSED(FNN_ERR_MEMORY, "memory", fnn_open(in_folder("trained.fnn"), &m, e));
    CHECK(fnn_set_allocator(NULL, NULL, NULL) == FNN_OK, "the system's");
    WORKS(fnn_open(in_folder("trained.fnn"), &m, e));
    fnn_model_free(m);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    folder = argv[1];
    allocators();
    no_handles();
    wrong_files();
    wrong_calls();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
