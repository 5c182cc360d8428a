/* The quantile of the standard normal, made of + - * / and sqrt only, each correctly rounded: the same bits
 * on every machine. What includes this must not be contracted. The functions have no branches, so that loops
 * over them become vectors; normal_quantile is for one number.
 *
 * M. J. Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), routine PPND16; relative error near 1e-16.
 */
#ifndef FASTNN_NORMAL_H
#define FASTNN_NORMAL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Natural logarithm of a normal x > 0: x = 2^e m with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s) by its
 * series; s^2 < 0.0295, so what is cut off is below 2^-59 of the result. */
static inline double log_portable(double x) {
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    const uint64_t low = u & 0xFFFFFFFFFFFFFull, high = low > 0x6A09E667F3BCDull;  /* m above sqrt(2) */
    const uint64_t bits = low | (0x3FFull - high) << 52;
    const double e = (double)((int32_t)(u >> 52) - 1023 + (int32_t)high);
    double m;
    memcpy(&m, &bits, sizeof m);
    const double s = (m - 1) / (m + 1), z = s * s;
    double sum = 0;
    for (int k = 21; k >= 3; k -= 2) sum = (sum + 1.0 / k) * z;
    const double log_m = 2 * s + 2 * s * sum;
    /* log 2 in two parts: the first has 20 trailing zero bits, so its product with e is exact. */
    return e * 0x1.62e42fef00000p-1 + (e * 0x1.473de6af278edp-34 + log_m);
}

static inline double normal_horner(const double *c, double x) { /* degree 7, highest first */
    double y = c[0];
    for (int i = 1; i < 8; i++) y = y * x + c[i];
    return y;
}

/* At q = p - 1/2, |q| <= 0.425. */
static inline double normal_middle(double q) {
    static const double a[8] = {2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
                                4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
                                1.3314166789178437745e2, 3.3871328727963666080e0};
    static const double b[8] = {5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
                                2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
                                4.2313330701600911252e1, 1};
    const double r = 0.180625 - q * q;
    return q * normal_horner(a, r) / normal_horner(b, r);
}

/* Minus the quantile at r = sqrt(-log p), p the smaller tail's probability, r <= 5 (p >= 1.4e-11). */
static inline double normal_tail(double r) {
    static const double c[8] = {7.74545014278341407640e-4, 2.27238449892691845833e-2,
                                2.41780725177450611770e-1, 1.27045825245236838258e0,
                                3.64784832476320460504e0,  5.76949722146069140550e0,
                                4.63033784615654529590e0,  1.42343711074968357734e0};
    static const double d[8] = {1.05075007164441684324e-9, 5.47593808499534494600e-4,
                                1.51986665636164571966e-2, 1.48103976427480074590e-1,
                                6.89767334985100004550e-1, 1.67638483018380384940e0,
                                2.05319162663775882187e0,  1};
    return normal_horner(c, r - 1.6) / normal_horner(d, r - 1.6);
}

/* The same beyond, r > 5. */
static inline double normal_far_tail(double r) {
    static const double e[8] = {2.01033439929228813265e-7, 2.71155556874348757815e-5,
                                1.24266094738807843860e-3, 2.65321895265761230930e-2,
                                2.96560571828504891230e-1, 1.78482653991729133580e0,
                                5.46378491116411436990e0,  6.65790464350110377720e0};
    static const double f[8] = {2.04426310338993978564e-15, 1.42151175831644588870e-7,
                                1.84631831751005468180e-5,  7.86869131145613259100e-4,
                                1.48753612908506148525e-2,  1.36929880922735805310e-1,
                                5.99832206555887937690e-1,  1};
    return normal_horner(e, r - 5) / normal_horner(f, r - 5);
}

/* Quantile for p in (0, 1). */
static inline double normal_quantile(double p) {
    const double q = p - 0.5;
    if (q <= 0.425 && q >= -0.425) return normal_middle(q);
    const double r = sqrt(-log_portable(q < 0 ? p : 1 - p));
    const double x = r <= 5 ? normal_tail(r) : normal_far_tail(r);
    return q < 0 ? -x : x;
}

#endif
