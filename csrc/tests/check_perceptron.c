/* The perceptron of each table beside plain loops, and what the library refuses. Whole numbers, so that sums are
 * exact in any order. */
#include "kernel_check.h"

static REAL whole(void) { return (REAL)(random_below(9) - 4); }

static void check_rule(int64_t n, int64_t features, int units, bool with_bias, bool shuffled) {
    matrix x = matrix_new(n, features, features, 1), w = matrix_new(units, features, features, 3),
           bias = matrix_new(1, units, units, 2), out = matrix_new(n, units, units, 1);
    for (int64_t i = 0; i < n * features; i++) x.p[i] = whole();
    for (int64_t i = 0; i < units * features; i++) w.p[i] = whole();
    for (int k = 0; k < units; k++) bias.p[k] = whole();
    const int labels = units > 2 ? units : 2;
    int32_t label[200], order[200];
    double rate[8], loss[8] = {0}, want_loss[8] = {0};
    unsigned char active[8];
    int64_t mistakes[8] = {0}, want_mistakes[8] = {0};
    for (int64_t r = 0; r < n; r++) label[r] = (int32_t)random_below(labels), order[r] = (int32_t)r;
    for (int k = 0; k < labels; k++) rate[k] = k + 1;
    for (int k = 0; k < units; k++) active[k] = units == 1 || k != 1;
    matrix want_w = matrix_copy(&w), want_bias = matrix_copy(&bias);
    fnn_perceptron p = {.dtype = REAL_BITS == 32 ? FNN_F32 : FNN_F64, .units = units, .n = n, .features = features,
                        .x = x.p, .weights = w.p, .bias = with_bias ? bias.p : NULL, .labels = label, .rates = rate,
                        .active = active, .order = shuffled ? order : NULL};
    if (shuffled) fnn_shuffle(7, 1, order, n);
    bool seen[200] = {false};
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = order[i];
        CHECK(!seen[r], "sample %lld comes twice", (long long)r);
        seen[r] = true;
        for (int k = 0; k < units; k++) {
            double sum = with_bias ? (double)want_bias.p[k] : 0;
            for (int64_t c = 0; c < features; c++)
                sum += (double)want_w.p[k * features + c] * (double)x.p[r * features + c];
            const int error = (label[r] == (units == 1 ? 1 : k)) - (sum >= 0);
            if (!active[k] || !error) continue;
            want_mistakes[k]++;
            want_loss[k] += fabs(sum);
            for (int64_t c = 0; c < features; c++)
                want_w.p[k * features + c] += (REAL)(error * rate[label[r]]) * x.p[r * features + c];
            if (with_bias) want_bias.p[k] += (REAL)(error * rate[label[r]]);
        }
    }
    table->perceptron_learn(&p, mistakes, loss);
    CHECK(same(w.all, want_w.all, w.size) && same(bias.all, want_bias.all, bias.size),
          "%lld x %lld, %d units: weights", (long long)n, (long long)features, units);
    CHECK(!memcmp(mistakes, want_mistakes, sizeof mistakes) && !memcmp(loss, want_loss, sizeof loss),
          "%lld x %lld, %d units: mistakes", (long long)n, (long long)features, units);
    table->perceptron_decide(&p, out.p);
    bool right = matrix_intact(&out, 0, n);
    for (int64_t r = 0; r < n; r++)
        for (int k = 0; k < units; k++) {
            REAL sum = with_bias ? bias.p[k] : 0;
            for (int64_t c = 0; c < features; c++) sum += w.p[k * features + c] * x.p[r * features + c];
            right = right && out.p[r * units + k] == sum;
        }
    CHECK(right, "%lld x %lld, %d units: decisions", (long long)n, (long long)features, units);
    fnn_free(x.all); fnn_free(w.all); fnn_free(bias.all); fnn_free(out.all); fnn_free(want_w.all); fnn_free(want_bias.all);
}

static void check_refusals(void) {
    REAL x[4] = {1, 2, 3, 4}, w[2] = {0}, out[2];
    const int32_t label[2] = {1, 0}, wrong[2] = {0, 2};
    const double rate[2] = {1, 1};
    const unsigned char active[1] = {1};
    int64_t mistakes[1] = {0};
    double loss[1] = {0};
    fnn_error err;
    const fnn_perceptron good = {.dtype = REAL_BITS == 32 ? FNN_F32 : FNN_F64, .units = 1, .n = 2, .features = 2,
                                 .x = x, .weights = w, .labels = label, .rates = rate, .active = active};
    fnn_perceptron p = good;
#define EPOCH() fnn_perceptron_epoch(&p, 0, 0, mistakes, loss, &err)
    CHECK(EPOCH() == FNN_OK && mistakes[0] == 1 && w[0] == -3 && w[1] == -4, "a good one");
    p.dtype = FNN_I32;
    CHECK(EPOCH() == FNN_ERR_ARGUMENT && fnn_perceptron_decide(&p, out, &err) == FNN_ERR_ARGUMENT, "integers");
    p = good, p.features = 0;
    CHECK(EPOCH() == FNN_ERR_ARGUMENT, "no features");
    p = good, p.x = NULL;
    CHECK(EPOCH() == FNN_ERR_ARGUMENT && fnn_perceptron_decide(&p, out, &err) == FNN_ERR_ARGUMENT, "no samples");
    p = good, p.labels = NULL;
    CHECK(EPOCH() == FNN_ERR_ARGUMENT, "no labels");
    CHECK(fnn_perceptron_decide(&p, out, &err) == FNN_OK && out[0] == -11, "deciding needs none");
    p = good, p.labels = wrong;
    CHECK(EPOCH() == FNN_ERR_DATA && err.row == 1 && err.value == 2, "label 2");
    p = good, p.l1 = 0.5;
    CHECK(EPOCH() == FNN_ERR_ARGUMENT, "a penalty without memory");
    p = good, p.l2 = 1.5;
    CHECK(EPOCH() == FNN_ERR_ARGUMENT, "a penalty beyond all");
    p = good, p.n = (int64_t)1 << 31;
    CHECK(EPOCH() == FNN_ERR_LIMIT, "too many samples");
    CHECK(fnn_perceptron_decide(&good, NULL, &err) == FNN_ERR_ARGUMENT, "nowhere to write");
}

int main(void) {
    for (int64_t features = 1; features <= 70; features += features < 10 ? 1 : 7)
        for (int units = 1; units <= 5; units += 2)
            for (int variant = 0; variant < 4; variant++)
                check_rule(1 + random_below(200), features, units, variant & 1, variant & 2);
    check_rule(30, 300, 1, true, true);
    check_refusals();
    return summary("check_perceptron");
}
