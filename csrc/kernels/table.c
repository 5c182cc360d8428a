/* The kernel table of one instruction set (FNN_ISA) and one type (REAL_BITS): compiled once for each pair. Every kernel is
 * static to this unit, so the table is the only symbol that leaves it. */
#define JOIN3_(a, b, c) a##b##_##c
#define JOIN3(a, b, c) JOIN3_(a, b, c)

/* All that avx512bf16 does otherwise than avx512; the kernels that it leaves out are not compiled to anything. */
#define ONLY_MIXED_avx512bf16 1
#define ONLY_MIXED JOIN3(ONLY_, MIXED, FNN_ISA)
#if ONLY_MIXED
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-const-variable"
#endif

#include "simd.h"
#include "../internal.h"

#include "vmath.h"
#include "activation.c"
#include "softmax.c"
#include "walk.c"
#include "loss.c"
#include "elementwise.c"
#include "norm.c"
#include "random.c"
#include "picture.c"
#include "shape.c"
#include "update.c"
#include "gemm.c"
#include "pairs.c"
#include "sparse.c"
#include "embedding.c"
#include "perceptron.c"

#define k_in_training NULL           /* the planner takes the input that counts in its place */

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

#if !ONLY_MIXED
extern const fnn_kernels JOIN3(fnn_kernels_, FNN_ISA, REAL_BITS);
const fnn_kernels JOIN3(fnn_kernels_, FNN_ISA, REAL_BITS) = {
    .isa = TEXT(FNN_ISA), .nr = NR, .mr = MR,
    .run = {
#define OP(name, inputs, outputs, rule, attrs, needs) [OP_##name] = k_##name,
#include "../ops.def"
#undef OP
    },
#define UPDATES(U) \
    U(sgd) U(rmsprop) U(adam) U(adagrad) U(adadelta) U(nadam) U(lion) U(rprop) U(moving_average)
#define UPDATE(name) [OP_##name] = name##_flat,
#define PREPARE(name) [OP_##name] = name##_prepare,
    .update = {UPDATES(UPDATE)},
    .prepare = {UPDATES(PREPARE)},
    .all_finite = all_finite,
    .perceptron_decide = perceptron_decide, .perceptron_learn = perceptron_learn,
};
#endif

#if REAL_BITS == 32
#define MIXED_TABLE(isa) MIXED_TABLE_(isa)
#define MIXED_TABLE_(isa) fnn_mixed_##isa
extern const fnn_mixed MIXED_TABLE(FNN_ISA);
const fnn_mixed MIXED_TABLE(FNN_ISA) = {k_mixed_matmul, k_mixed_matmul_nt, k_mixed_matmul_tn};
#endif
