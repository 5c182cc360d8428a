/* Prints what a model that fastnn saved says about rows of numbers.
 *
 *   cc -std=c11 predict.c $(pkg-config --cflags --libs fastnn) -o predict
 *   echo "5.1 3.5 1.4 0.2" | ./predict iris.fnn
 */
#include <fastnn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    fnn_error err;
    fnn_model *model;
    fnn_session *session;
    fnn_tensor_info in, out;
    if (argc != 2) return fprintf(stderr, "usage: predict MODEL < ROWS\n"), 2;
    if (fnn_open(argv[1], &model, &err) || fnn_model_tensor(model, FNN_INPUTS, 0, &in, &err) ||
        fnn_model_tensor(model, FNN_OUTPUTS, 0, &out, &err) ||
        fnn_session_create(model, FNN_PREDICT, 1, FNN_ONE_THREAD, &session, &err))
        return fprintf(stderr, "%s\n", err.text), 1;
    float *x = calloc((size_t)in.count, sizeof *x), *y = calloc((size_t)out.count, sizeof *y);
    if (!x || !y || in.dtype != FNN_F32 || out.dtype != FNN_F32) return fprintf(stderr, "no float32 model\n"), 1;

    for (;;) {
        int64_t got = 0, best = 0;
        while (got < in.count && scanf("%f", &x[got]) == 1) got++;
        if (got < in.count) break;
        if (fnn_predict(session, x, y, 1)) return fprintf(stderr, "%s\n", fnn_session_error(session)->text), 1;
        for (int64_t i = 0; i < out.count; i++) {
            printf("%.9g ", y[i]);
            if (y[i] > y[best]) best = i;
        }
        const char *name = fnn_model_name(model, FNN_CLASS_NAMES, (int)best);
        printf("%s\n", name ? name : "");
    }
    free(x), free(y);
    fnn_session_free(session);
    fnn_model_free(model);
    return 0;
}
