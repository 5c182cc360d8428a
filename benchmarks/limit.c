/* What one thread reaches at best, compiled by limit.py: multiply-adds in registers, reading, copying.
 * Each is compiled for every instruction set of fastnn that the processor may have. */
#include <string.h>

#if defined(__x86_64__)
#define SETS(F) F(baseline, 16, ) F(avx2, 32, __attribute__((target("avx2,fma")))) \
    F(avx512, 64, __attribute__((target("avx512f")))) F(avx512bf16, 64, __attribute__((target("avx512f"))))
#elif defined(__aarch64__)
#define SETS(F) F(neon, 16, )
#else
#define SETS(F) F(baseline, 16, )
#endif

enum { CHAINS = 12, STREAMS = 8 };  /* independent sums: enough to hide the latency of two pipes */

/* fma_*: `turns` times CHAINS vectors of multiply-adds on registers; their sum, so that none is left out.
 * read_*: sums a buffer of `bytes` bytes, a multiple of STREAMS vectors, `turns` times. */
#define MEASURES(set, width, target, type, name)                                                       \
    target double fma_##name##_##set(long turns) {                                                     \
        typedef type vec __attribute__((vector_size(width)));                                          \
        vec acc[CHAINS], a = (vec){0} + (type)0.999, b = (vec){0} + (type)0.001;                       \
        _Pragma("GCC unroll 12") for (int j = 0; j < CHAINS; j++) acc[j] = (vec){0} + (type)j;         \
        for (long i = 0; i < turns; i++)                                                               \
            _Pragma("GCC unroll 12") for (int j = 0; j < CHAINS; j++) acc[j] = acc[j] * a + b;         \
        _Pragma("GCC unroll 12") for (int j = 1; j < CHAINS; j++) acc[0] += acc[j];                    \
        return (double)acc[0][0];                                                                      \
    }                                                                                                  \
    target double read_##name##_##set(const void *from, long bytes, long turns) {                      \
        typedef type vec __attribute__((vector_size(width)));                                          \
        vec acc[STREAMS] = {{0}};                                                                      \
        for (long i = 0; i < turns; i++) {                                                             \
            const vec *p = from, *end = p + bytes / width;                                             \
            __asm__ volatile("" : "+r"(p));                                                            \
            for (; p < end; p += STREAMS)                                                              \
                _Pragma("GCC unroll 8") for (int j = 0; j < STREAMS; j++) acc[j] += p[j];              \
        }                                                                                              \
        _Pragma("GCC unroll 8") for (int j = 1; j < STREAMS; j++) acc[0] += acc[j];                    \
        return (double)acc[0][0];                                                                      \
    }
#define BOTH_TYPES(set, width, target) \
    MEASURES(set, width, target, float, float32) MEASURES(set, width, target, double, float64)
SETS(BOTH_TYPES)

void copy(void *to, const void *from, long bytes, long turns) {
    for (long i = 0; i < turns; i++) {
        memcpy(to, from, (unsigned long)bytes);
        __asm__ volatile("" ::: "memory");
    }
}
