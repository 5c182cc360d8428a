/* cc -std=c11 first.c $(pkg-config --cflags --libs fastnn) -o first */
#include <fastnn.h>
#include <stdio.h>

int main(void) {
    const float x[] = {5.1f, 3.5f, 1.4f, 0.2f};
    float y[3];
    fnn_error err;
    fnn_model *model;
    fnn_session *session;
    if (fnn_open("iris.fnn", &model, &err) ||
        fnn_session_create(model, FNN_PREDICT, 1, FNN_ONE_THREAD, &session, &err))
        return printf("%s\n", err.text), 1;
    if (fnn_predict(session, x, y, 1)) return 1;
    for (int i = 0; i < 3; i++)
        printf("%s %.9g\n", fnn_model_name(model, FNN_CLASS_NAMES, i), y[i]);
    fnn_session_free(session);
    fnn_model_free(model);
    return 0;
}
