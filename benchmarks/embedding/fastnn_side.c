/* libfastnn: one model, a session of one thread for each. */
#include "side.h"

#include <fastnn.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct predictor {
    fnn_session *session;
    const float *x;
    float *y;
} predictor;

static fnn_model *model;

int side_open(const char *path) {
    fnn_error err;
    const int status = fnn_open(path, &model, &err);
    if (status) fprintf(stderr, "%s\n", err.text);
    return status;
}

void *side_session(const float *x, float *y, int features, int outputs) {
    fnn_error err;
    predictor *p = malloc(sizeof *p);
    (void)features, (void)outputs;
    if (p && fnn_session_create(model, FNN_PREDICT, 1, FNN_ONE_THREAD, &p->session, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return NULL;
    }
    if (p) p->x = x, p->y = y;
    return p;
}

int side_run(void *session) {
    predictor *p = session;
    return fnn_predict(p->session, p->x, p->y, 1);
}
