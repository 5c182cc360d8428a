/* Perceptrons: arguments are checked here, and the kernels of the active instruction set called. */
#include "internal.h"

static const fnn_kernels *kernels_of(const fnn_perceptron *p) {
    return fnn_kernels_find(NULL, p->dtype == FNN_F64 ? TYPE_F64 : TYPE_F32);
}

static int check(const fnn_perceptron *p, fnn_error *err) {
    if (!p || (p->dtype != FNN_F32 && p->dtype != FNN_F64))
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a perceptron works on float32 or float64");
    if (p->n < 0 || p->features < 1 || p->units < 1)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a perceptron of %d units, %lld features and %lld samples", p->units,
                        (long long)p->features, (long long)p->n);
    if ((p->n > 0 && !p->x) || !p->weights)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a perceptron without samples or weights");
    return FNN_OK;
}

int fnn_perceptron_decide(const fnn_perceptron *p, void *out, fnn_error *err) {
    int status = check(p, err);
    if (status != FNN_OK) return status;
    if (p->n > 0 && !out) return fnn_fail(err, FNN_ERR_ARGUMENT, "nowhere to write the decisions");
    uint64_t host = fnn_fp_enter();
    kernels_of(p)->perceptron_decide(p, out);
    fnn_fp_restore(host);
    return FNN_OK;
}

int fnn_perceptron_epoch(const fnn_perceptron *p, uint64_t seed, uint64_t epoch, int64_t *mistakes, double *losses,
                         fnn_error *err) {
    int status = check(p, err);
    if (status != FNN_OK) return status;
    if ((p->n > 0 && !p->labels) || !p->rates || !p->active || !mistakes || !losses)
        return fnn_fail(err, FNN_ERR_ARGUMENT, "a perceptron learns from labels, with rates and active units");
    if (!(p->l1 >= 0 && p->l1_before >= 0 && p->l2 >= 0 && p->l2 <= 1) || (p->l1 > 0 && !p->l1_done))
        return fnn_fail(err, FNN_ERR_ARGUMENT, "penalties l1 = %g and l2 = %g of a perceptron", p->l1, p->l2);
    if (p->n > INT32_MAX)
        return fnn_fail(err, FNN_ERR_LIMIT, "%lld samples, at most %d can be learned from", (long long)p->n,
                        INT32_MAX);
    const int32_t labels = p->units > 2 ? p->units : 2;
    for (int64_t r = 0; r < p->n; r++)
        if (p->labels[r] < 0 || p->labels[r] >= labels)
            return fnn_fail_at(err, FNN_ERR_DATA, -1, r, p->labels[r], "label %d of sample %lld is none of the %d",
                               p->labels[r], (long long)r, labels);
    if (p->order) fnn_shuffle(seed, epoch, p->order, p->n);
    uint64_t host = fnn_fp_enter();
    kernels_of(p)->perceptron_learn(p, mistakes, losses);
    fnn_fp_restore(host);
    return FNN_OK;
}
