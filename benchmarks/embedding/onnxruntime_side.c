/* ONNX Runtime by its C API, in what its documentation says is fast for small models: one session that all threads share,
 * no threads of its own, all graph optimisations, tensors made once over the caller's arrays and bound once. */
#include "side.h"

#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct predictor {
    OrtIoBinding *binding;
} predictor;

static const OrtApi *ort;
static OrtSession *loaded;
static OrtMemoryInfo *memory;
static char *input, *output;

static int failed(OrtStatus *status) {
    if (!status) return 0;
    fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
    ort->ReleaseStatus(status);
    return 1;
}

int side_open(const char *path) {
    OrtEnv *env;
    OrtSessionOptions *options;
    OrtAllocator *allocator;
    ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    return !ort || failed(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "benchmark", &env)) ||
           failed(ort->CreateSessionOptions(&options)) || failed(ort->SetIntraOpNumThreads(options, 1)) ||
           failed(ort->SetInterOpNumThreads(options, 1)) ||
           failed(ort->SetSessionExecutionMode(options, ORT_SEQUENTIAL)) ||
           failed(ort->SetSessionGraphOptimizationLevel(options, ORT_ENABLE_ALL)) ||
           failed(ort->CreateSession(env, path, options, &loaded)) ||
           failed(ort->GetAllocatorWithDefaultOptions(&allocator)) ||
           failed(ort->SessionGetInputName(loaded, 0, allocator, &input)) ||
           failed(ort->SessionGetOutputName(loaded, 0, allocator, &output)) ||
           failed(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
}

static OrtValue *tensor(float *values, int count) {
    const int64_t shape[] = {1, count};
    OrtValue *made = NULL;
    return failed(ort->CreateTensorWithDataAsOrtValue(memory, values, (size_t)count * sizeof *values, shape, 2,
                                                      ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &made)) ? NULL : made;
}

void *side_session(const float *x, float *y, int features, int outputs) {
    predictor *p = malloc(sizeof *p);
    OrtValue *in = tensor((float *)x, features), *out = tensor(y, outputs);
    if (!p || !in || !out || failed(ort->CreateIoBinding(loaded, &p->binding)) ||
        failed(ort->BindInput(p->binding, input, in)) || failed(ort->BindOutput(p->binding, output, out)))
        return NULL;
    return p;
}

int side_run(void *session) {
    return failed(ort->RunWithBinding(loaded, NULL, ((predictor *)session)->binding));
}
