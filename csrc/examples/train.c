/* Goes on training a model where Python stopped, with data that never leaves the device.
 *
 *   cc -std=c11 train.c $(pkg-config --cflags --libs fastnn) -o train
 *   ./train model.fnn x.raw y.raw 5 32 7 trained.fnn     # epochs, batch size, seed
 *
 * In Python, before:  model.save("model.fnn"); x.astype("f4").tofile("x.raw"); y.astype("i4").tofile("y.raw")
 * and afterwards:     model = fastnn.load("trained.fnn")
 * The weights are, to the bit, those of model.fit(x, y, epochs=5, batch_size=32, seed=7).
 */
#include <fastnn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
    fprintf(stderr, "train: %s\n", what);
    return 1;
}

/* All rows of a file, each of info->count elements of 4 bytes; *n: how many. */
static void *rows_of(const char *path, const fnn_tensor_info *info, int64_t *n) {
    const size_t row = 4 * (size_t)info->count;
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && !fseek(file, 0, SEEK_END)) size = ftell(file);
    void *values = size > 0 && (size_t)size % row == 0 ? malloc((size_t)size) : NULL;
    if (values) {
        rewind(file);
        *n = size / (long)row;
        if (fread(values, row, (size_t)*n, file) != (size_t)*n) {
            free(values);
            values = NULL;
        }
    }
    if (file) fclose(file);
    return values;
}

int main(int argc, char **argv) {
    fnn_error err;
    fnn_model *model;
    fnn_session *session;
    fnn_tensor_info in, target;
    if (argc != 8) return fail("needs MODEL X Y EPOCHS BATCH_SIZE SEED TRAINED");
    if (fnn_open(argv[1], &model, &err)) return fail(err.text);
    if (fnn_model_count(model, FNN_TARGETS) != 1) return fail("the model only predicts: compile it before it is saved");
    if (fnn_model_tensor(model, FNN_INPUTS, 0, &in, &err) || fnn_model_tensor(model, FNN_TARGETS, 0, &target, &err))
        return fail(err.text);
    if (in.dtype != FNN_F32 || (target.dtype != FNN_F32 && target.dtype != FNN_I32)) return fail("not of 4-byte types");

    int64_t n = 0, labels = 0;
    void *x = rows_of(argv[2], &in, &n), *y = rows_of(argv[3], &target, &labels);
    if (!x || !y || n != labels) return fail("x and y are not as many whole rows as each other");
    const void *arrays[] = {x, y};
    const int epochs = atoi(argv[4]), batch_size = atoi(argv[5]);
    const uint64_t seed = strtoull(argv[6], NULL, 10);
    double loss, rate = fnn_model_learning_rate(model);
    if (isnan(rate)) rate = 1e-3; /* the file's is a schedule, which only Python follows */

    if (fnn_session_create(model, FNN_TRAIN, batch_size, 0, &session, &err)) return fail(err.text);
    for (int epoch = 0; epoch < epochs; epoch++) {
        if (fnn_train_epoch(session, arrays, n, seed, (uint64_t)epoch, rate, &loss, &err)) return fail(err.text);
        printf("epoch %d: loss %.6f\n", epoch + 1, loss);
    }
    fnn_session_free(session);
    if (fnn_save(model, argv[7], &err)) return fail(err.text);
    fnn_model_free(model);
    free(x);
    free(y);
    return 0;
}
