/* The shared library as a host has it: the functions of the public header are there, predicting with several threads
 * works, and it stays where it is when the host lets go of it, since its idle workers run in it.
 *
 *   check_library PATH
 */
#include "check.h"
#include "sealed.h"

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

#define FUNCTIONS(F)                                                                              \
    F(fnn_set_threads) F(fnn_open_memory) F(fnn_model_free) F(fnn_set_parameter) F(fnn_session_create) F(fnn_session_free) \
    F(fnn_predict)
#define DECLARE(name) static __typeof__(&name) the_##name;
FUNCTIONS(DECLARE)

/* A model file in which the kernel is zero. */
static const char rest[] =
    "\",\"format\":\"fastnn 1\",\"kind\":\"model\",\"config\":\"{}\",\"program\":\""
    "fastnn-program 1\\n"
    "dtype float32\\n"
    "tensor 0 input float32 B,64 x\\n"
    "tensor 1 param float32 64,256 kernel\\n"
    "tensor 2 temp float32 B,256\\n"
    "node matmul 0,1 2 -\\n"
    "root output 2 y\\n\"},"
    "\"kernel\":{\"dtype\":\"F32\",\"shape\":[64,256],\"data_offsets\":[0,65536]}}";

enum { N = 2000, FEATURES = 64, UNITS = 256 };
static float x[N][FEATURES], kernel[FEATURES][UNITS], y[N][UNITS];

enum { PREFIX = sizeof file_prefix - 1, HEADER = PREFIX + 64 + sizeof rest - 1 };
static unsigned char file[8 + HEADER + sizeof kernel];

static void write_model(void) {
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)HEADER >> (8 * i));
    memcpy(file + 8, file_prefix, PREFIX);
    memcpy(file + 8 + PREFIX + 64, rest, sizeof rest - 1);
    seal(file, sizeof file);
}

/* Row r is r in its first feature, so its outputs are r times the first row of the kernel. */
static int predict(fnn_error *err) {
    fnn_model *m = NULL;
    fnn_session *s = NULL;
    for (int r = 0; r < N; r++) x[r][0] = (float)r;
    for (int u = 0; u < UNITS; u++) kernel[0][u] = (float)(u + 1);
    int status = the_fnn_set_threads(4);
    if (!status) status = the_fnn_open_memory(file, sizeof file, &m, err);
    if (!status) status = the_fnn_set_parameter(m, 1, kernel, FEATURES * UNITS, err);
    if (!status) status = the_fnn_session_create(m, FNN_PREDICT, N, 0, &s, err);
    if (!status) status = the_fnn_predict(s, x, y, N);
    the_fnn_session_free(s);
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
    write_model();
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
