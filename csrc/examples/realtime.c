/* Filters audio in blocks of 64 samples, as the callback of a sound card does, and says how long the slowest took.
 *
 *   cc -std=c11 realtime.c $(pkg-config --cflags --libs fastnn) -o realtime
 *   sox guitar.wav -t f32 -r 48000 -c 1 in.raw && ./realtime amp.fnn in.raw out.raw
 *
 * The model sees the block and the samples before it, as many as its input has room for, and gives the block's new
 * samples. A block is due every 1.33 ms, as at 48 kHz; between them the thread sleeps, so that caches get cold as they
 * do in an application. In the loop the library takes no memory and no lock, and makes no system call.
 */
#define _POSIX_C_SOURCE 200809L
#include <fastnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK = 64, RATE = 48000 };

static int fail(const char *what) {
    fprintf(stderr, "realtime: %s\n", what);
    return 1;
}

static double since(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e6 * (double)(now.tv_sec - start->tv_sec) + 1e-3 * (double)(now.tv_nsec - start->tv_nsec);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    fnn_error err;
    fnn_model *model;
    fnn_session *session;
    fnn_tensor_info in, out;
    if (argc != 4) return fail("needs MODEL IN OUT");
    if (fnn_open(argv[1], &model, &err) || fnn_model_tensor(model, FNN_INPUTS, 0, &in, &err) ||
        fnn_model_tensor(model, FNN_OUTPUTS, 0, &out, &err) ||
        fnn_session_create(model, FNN_PREDICT, 1, FNN_ONE_THREAD, &session, &err))
        return fail(err.text);
    if (in.dtype != FNN_F32 || out.dtype != FNN_F32 || in.count < BLOCK || out.count != BLOCK)
        return fail("the model needs 64 float32 outputs and as many inputs or more");

    /* All is read, and all memory taken, before the first block. */
    const size_t before = (size_t)in.count - BLOCK;
    FILE *file = fopen(argv[2], "rb");
    if (!file || fseek(file, 0, SEEK_END)) return fail("cannot read the input");
    const long size = ftell(file);
    const size_t blocks = size < 0 ? 0 : (size_t)size / (BLOCK * sizeof(float));
    float *x = calloc(before + blocks * BLOCK, sizeof *x), *y = calloc(blocks * BLOCK, sizeof *y);
    double *took = calloc(blocks, sizeof *took);
    rewind(file);
    if (!blocks || !x || !y || !took || fread(x + before, BLOCK * sizeof *x, blocks, file) != blocks)
        return fail("the input is empty or too long");
    fclose(file);

    struct timespec due, start;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (size_t b = 0; b < blocks; b++) {
        due.tv_nsec += 1000000000L / RATE * BLOCK;
        if (due.tv_nsec >= 1000000000L) due.tv_nsec -= 1000000000L, due.tv_sec++;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
        clock_gettime(CLOCK_MONOTONIC, &start);
        /* The model's window ends with the block's last sample. */
        if (fnn_predict(session, x + b * BLOCK, y + b * BLOCK, 1)) return fail(fnn_session_error(session)->text);
        took[b] = since(&start);
    }

    qsort(took, blocks, sizeof *took, ascending);
    printf("%zu blocks of %d samples, due every %.0f us: median %.2f us, p99.9 %.2f us, worst %.2f us\n", blocks, BLOCK,
           1e6 * BLOCK / RATE, took[blocks / 2], took[(blocks - 1) * 999 / 1000], took[blocks - 1]);
    file = fopen(argv[3], "wb");
    if (!file || fwrite(y, BLOCK * sizeof *y, blocks, file) != blocks || fclose(file)) return fail("cannot write the output");
    free(x), free(y), free(took);
    fnn_session_free(session);
    fnn_model_free(model);
    return 0;
}
