/* The registry of ops as a table, and the choice among the built-in instruction sets. */
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

const fnn_op_info fnn_ops[OP_COUNT] = {
#define OP(name, inputs, outputs, rule, attrs, needs)                                                        \
    {#name, inputs, outputs, RULE_##rule, attrs, NEEDS_##needs},
#include "ops.def"
#undef OP
};

int fnn_op_slots(int op, const double *attr) {
    switch (op) {
    case OP_sgd: return attr[0] != 0;                             /* momentum */
    case OP_rmsprop: return attr[3] != 0 ? 3 : attr[1] != 0 ? 2 : 1; /* centered, momentum */
    case OP_adam: return attr[3] != 0 ? 3 : 2;                    /* amsgrad */
    case OP_adagrad: case OP_lion: return 1;
    case OP_adadelta: case OP_nadam: case OP_rprop: return 2;
    default: return 0;
    }
}

/* ---- what the processor and its system run ---- */

#if (defined(__x86_64__) || defined(_M_X64)) && !defined(FNN_BASELINE)
#define X86_64                       /* FNN_BASELINE: a library that is quickly built, for the fuzzer */
#include <cpuid.h>

enum { CPU_AVX2 = 1, CPU_AVX512 = 2, CPU_AVX512BF16 = 4 };

/* From CPUID (Intel's manual, volume 2A): not every compiler's runtime knows what __builtin_cpu_supports asks it. */
static int cpu_has(void) {
    const unsigned avx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    unsigned eax, ebx, ecx, edx, saved, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE) || !(ecx & bit_FMA)) return 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));   /* the registers that the system saves */
#if defined(__APPLE__)
    if ((saved & 6) == 6) saved |= 0xE0;   /* macOS begins to save those of AVX-512 at their first use */
#endif
    if ((saved & 6) != 6 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(ebx & bit_AVX2)) return 0;
    if ((saved & 0xE0) != 0xE0 || (ebx & avx512) != avx512) return CPU_AVX2;
    if (eax < 1 || !__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !(eax & bit_AVX512BF16)) return CPU_AVX2 | CPU_AVX512;
    return CPU_AVX2 | CPU_AVX512 | CPU_AVX512BF16;
}
#endif

/* One row per instruction set, best first: ISA(name, whether this CPU and its system run it). The tables
 * themselves are built by setup.py and the Makefile, which hold the compiler's flags for each. */
#if defined(X86_64)
#define ISAS(ISA)                                                                                          \
    AVX512_ISAS(ISA)                                                                                       \
    ISA(avx2, RUNS_AVX2)                                                                                   \
    ISA(baseline, true)
#if defined(FNN_NO_AVX512)           /* sanitized checks on a CPU that could not run them */
#define AVX512_ISAS(ISA)
#else
#define AVX512_ISAS(ISA)                                                                                   \
    ISA(avx512bf16, cpu_has() & CPU_AVX512BF16)                                                            \
    ISA(avx512, cpu_has() & CPU_AVX512)
#endif
#define RUNS_AVX2 (cpu_has() & CPU_AVX2)
#define RUNS_WIDE RUNS_AVX2
#elif defined(__aarch64__) || defined(_M_ARM64)
#define ISAS(ISA) ISA(neon, true)
#define RUNS_WIDE true
#elif defined(__wasm__)
#define ISAS(ISA) ISA(wasm, true)
#define RUNS_WIDE true
#else
#define ISAS(ISA) ISA(baseline, true)
#define RUNS_WIDE true
#endif

/* 64-byte vectors from what the target has: only in the library that the checks link. */
#if defined(FNN_HAVE_WIDE)
#define TEST_ISAS(ISA) ISA(wide, RUNS_WIDE)
#else
#define TEST_ISAS(ISA)
#endif

/* Of its own it has mixed products alone. */
#define fnn_kernels_avx512bf16_32 fnn_kernels_avx512_32
#define fnn_kernels_avx512bf16_64 fnn_kernels_avx512_64

#define DECLARE(name, runs)                                                  \
    extern const fnn_kernels fnn_kernels_##name##_32, fnn_kernels_##name##_64; \
    extern const fnn_mixed fnn_mixed_##name;
ISAS(DECLARE)
TEST_ISAS(DECLARE)

#define RUNS(name, runs) static bool runs_##name(void) { return runs; }
ISAS(RUNS)
TEST_ISAS(RUNS)

#if defined(FNN_NO_FLOAT64)
#define FLOAT64(name) NULL
#else
#define FLOAT64(name) &fnn_kernels_##name##_64
#endif
#define ROW(name, runs) {#name, runs_##name, &fnn_kernels_##name##_32, FLOAT64(name), &fnn_mixed_##name},
static const struct {
    const char *name;
    bool (*runs)(void);
    const fnn_kernels *f32, *f64;
    const fnn_mixed *mixed;
} isas[] = {ISAS(ROW) TEST_ISAS(ROW)};
enum { N_ISAS = sizeof isas / sizeof isas[0] };

/* Index of a set that this CPU runs, -1 if there is none of that name. */
static int isa_index(const char *name) {
    for (int i = 0; i < N_ISAS; i++)
        if (!strcmp(isas[i].name, name)) return isas[i].runs() ? i : -1;
    return -1;
}

/* FASTNN_ISA where it names a set that runs here, else the best one; decided at the first call. */
static int active(void) {
    static atomic_int chosen = -1;
    int i = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (i >= 0) return i;
    const char *forced = getenv("FASTNN_ISA");
    i = forced ? isa_index(forced) : -1;
    if (i < 0)
        for (i = 0; !isas[i].runs(); i++) { } /* the last row always runs */
    int none = -1;
    return atomic_compare_exchange_strong(&chosen, &none, i) ? i : none;
}

#if !defined(FNN_VERSION_TEXT)
#error "define FNN_VERSION_TEXT, the version of pyproject.toml as a string: csrc/Makefile and setup.py do"
#endif
const char *fnn_version(void) {
    return FNN_VERSION_TEXT;
}

const char *fnn_isa(void) {
    return isas[active()].name;
}

const char *fnn_isa_at(int i) {
    if (i < 0) return NULL;
    for (int k = 0; k < N_ISAS; k++)
        if (isas[k].runs() && i-- == 0) return isas[k].name;
    return NULL;
}

const char *fnn_isa_built(int i, int *runs) {
    if (i < 0 || i >= N_ISAS) return NULL;
    *runs = isas[i].runs();
    return isas[i].name;
}

const fnn_kernels *fnn_kernels_find(const char *isa, fnn_type real) {
    int i = isa ? isa_index(isa) : active();
    if (i < 0) return NULL;
    return real == TYPE_F64 ? isas[i].f64 : real == TYPE_F32 ? isas[i].f32 : NULL;
}

const fnn_mixed *fnn_mixed_find(const char *isa) {
    int i = isa ? isa_index(isa) : active();
    return i < 0 ? NULL : isas[i].mixed;
}
