/* The shared library as a host has it: the functions of the public header are there, predicting with several threads
 * works, and it stays where it is when the host lets go of it, since its idle workers run in it.
 *
 *   check_library PATH
 */
#include "../fastnn.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#if defined(_WIN32)
#include <windows.h>
static void *library_open(const char *path) { return (void *)LoadLibraryA(path); }
static void *library_symbol(void *library, const char *name) { return (void *)GetProcAddress((HMODULE)library, name); }
static void library_close(void *library) { FreeLibrary((HMODULE)library); }
static bool library_stays(const char *path) { return GetModuleHandleA(path) != NULL; }
#else
#include <dlfcn.h>
static void *library_open(const char *path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
static void *library_symbol(void *library, const char *name) { return dlsym(library, name); }
static void library_close(void *library) { dlclose(library); }
static bool library_stays(const char *path) { return dlopen(path, RTLD_NOW | RTLD_NOLOAD) != NULL; }
#endif

static int failed;
#define CHECK(condition, ...)                                                                     \
    do {                                                                                          \
        if (!(condition)) { failed++; printf("%s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); printf("\n"); } \
    } while (0)

#define FUNCTIONS(F)                                                                              \
    F(fnn_set_threads) F(fnn_model_create) F(fnn_model_free) F(fnn_model_param) F(fnn_param_write) F(fnn_param_free) \
    F(fnn_session_create) F(fnn_session_free) F(fnn_bind) F(fnn_begin) F(fnn_run)
#define DECLARE(name) static __typeof__(&name) the_##name;
FUNCTIONS(DECLARE)

static const char text[] =
    "fastnn-program 1\n"
    "dtype float32\n"
    "tensor 0 input float32 B,64 x\n"
    "tensor 1 param float32 64,256 kernel\n"
    "tensor 2 temp float32 B,256\n"
    "node matmul 0,1 2 -\n"
    "root output 2 y\n";

enum { N = 2000, FEATURES = 64, UNITS = 256 };
static float x[N][FEATURES], kernel[FEATURES][UNITS], y[N][UNITS];

/* Row r is r in its first feature, so its outputs are r times the first row of the kernel. */
static int predict(fnn_error *err) {
    fnn_array in = {x, FNN_F32, 0, 2, {N, FEATURES}, {sizeof x[0], sizeof x[0][0]}};
    fnn_array out = {y, FNN_F32, 0, 2, {N, UNITS}, {sizeof y[0], sizeof y[0][0]}};
    fnn_pass pass = {.n = N, .batch_size = N};
    fnn_model *m = NULL;
    fnn_session *s = NULL;
    const double lr = 0;
    int64_t done;
    int finished = 0;
    for (int r = 0; r < N; r++) x[r][0] = (float)r;
    for (int u = 0; u < UNITS; u++) kernel[0][u] = (float)(u + 1);
    int status = the_fnn_set_threads(4);
    if (!status) status = the_fnn_model_create(text, strlen(text), NULL, NULL, 0, &m, err);
    fnn_param *param = status ? NULL : the_fnn_model_param(m, 1);
    if (!status) status = the_fnn_param_write(param, kernel, FEATURES * UNITS, err);
    if (!status) status = the_fnn_session_create(m, FNN_PREDICT, N, 0, &s, err);
    if (!status) status = the_fnn_bind(s, 0, &in, err);
    if (!status) status = the_fnn_bind(s, 2, &out, err);
    if (!status) status = the_fnn_begin(s, &pass, err);
    if (!status) status = the_fnn_run(s, -1, -1, &lr, 1, &done, &finished, err);
    the_fnn_session_free(s);
    the_fnn_param_free(param);
    the_fnn_model_free(m);
    return status;
}

int main(int argc, char **argv) {
    void *library = argc == 2 ? library_open(argv[1]) : NULL;
    if (!library) {
        printf("check_library: cannot open '%s'\n", argc == 2 ? argv[1] : "");
        return 1;
    }
#define FIND(name)                                                                                \
    the_##name = (__typeof__(the_##name))library_symbol(library, #name);                          \
    CHECK(the_##name, #name " is not exported");
    FUNCTIONS(FIND)
    CHECK(!library_symbol(library, "fnn_alloc"), "internal functions are exported");
    if (failed) return 1;
    for (int turn = 0; turn < 20; turn++) {
        fnn_error err = {0};
        int status = predict(&err), wrong = 0;
        CHECK(status == FNN_OK, "status %d, '%s'", status, err.text);
        for (int r = 0; r < N; r++)
            for (int u = 0; u < UNITS; u++) wrong += y[r][u] != (float)r * (float)(u + 1);
        CHECK(wrong == 0, "%d of %d outputs are wrong", wrong, N * UNITS);
    }
    library_close(library);
    CHECK(library_stays(argv[1]), "workers are left without the code they run");
    printf("check_library: %d failed\n", failed);
    return failed != 0;
}
