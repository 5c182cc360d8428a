/* Vector mathematics: exp and its relatives on V, without tables, branches or calls.
 *
 * Every function takes and gives all lanes alike, so a value's result does not depend on its place in a
 * vector. NaN gives NaN, infinities give the limit. Arguments below the smallest normal number count as zero,
 * and results below it may be zero. Polynomials are minimax fits (Remez exchange in 50 digits) on the
 * intervals named beside them, rounded to the type.
 */
#ifndef FASTNN_VMATH_H
#define FASTNN_VMATH_H

#include "simd.h"

/* Bounds in ULP, rounded up from what tests/ulp.c measures and holds every function to: float and double
 * with fused multiply-add, then without. */
#define VMATH_FUNCTIONS(F)                 \
    F(exp,      1.1, 1.0, 1.1, 1.0)        \
    F(expm1,    1.7, 1.7, 1.7, 1.7)        \
    F(log,      0.9, 0.9, 0.9, 0.9)        \
    F(log1p,    1.5, 1.5, 1.5, 1.5)        \
    F(tanh,     1.6, 1.5, 1.6, 1.5)        \
    F(sigmoid,  1.8, 1.8, 1.9, 1.9)        \
    F(softplus, 1.8, 1.8, 1.8, 1.8)        \
    F(erf,      1.7, 1.7, 1.7, 1.7)

typedef UINT VX __attribute__((vector_size(VBYTES)));

#if REAL_BITS == 32
enum { MANTISSA_BITS = 23, EXPONENT_BIAS = 127 };
#define SMALLEST_NORMAL 0x1p-126f
#define EXP_MAX 0x1.62e42ep6f       /* the largest argument whose exponential is finite */
#define EXP_MIN (-0x1.5d589ep6f)    /* the smallest whose exponential is a normal number */
#define LN2_HI 0x1.63p-1f           /* short enough that n * LN2_HI is exact for every exponent n */
#define LN2_LO (-0x1.bd0106p-13f)
/* (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2 */
static const REAL exp_poly[] = {0.5f, 0.166665435f, 0.0416662842f, 0.00836657174f, 0.00139464264f};
/* (log((1 + s) / (1 - s)) / s - 2) / z, z = s^2, on |s| <= 3 - 2 sqrt(2) */
static const REAL log_poly[] = {0.66666776f, 0.399775356f, 0.298718631f};
/* (tanh(x) / x - 1) / x^2 in x^2 on |x| <= 0.625 */
static const REAL tanh_poly[] = {-0.333332837f, 0.133314908f, -0.0537434965f, 0.0206505843f, -0.00571704097f};
/* erf(x) / x - 1 in x^2 on |x| <= 1 */
static const REAL erf_poly[] = {
    0.128379166f, -0.37612626f, 0.112835579f, -0.0268516634f, 0.00518243341f, -0.000793694053f,
    7.42903139e-05f, 9.45128818e-07f};
/* (a + 3) exp(a^2) erfc(a) in (a - 3) / (a + 3) on 1 <= a <= 10 */
static const REAL erfc_poly[] = {
    1.07400692f, -0.88339442f, 0.590228498f, -0.31046927f, 0.11952484f, -0.0267986674f, -0.00119841029f,
    0.00288216863f, -0.000542157388f};
#else
enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023 };
#define SMALLEST_NORMAL 0x1p-1022
#define EXP_MAX 0x1.62e42fefa39efp9
#define EXP_MIN (-0x1.6232bdd7abcd2p9)
#define LN2_HI 0x1.62e42feep-1
#define LN2_LO 0x1.a39ef35793c76p-33
static const REAL exp_poly[] = {
    0.5000000000000006, 0.16666666666666685, 0.0416666666665741, 0.008333333333314806,
    0.0013888888932257464, 0.00019841269902569187, 2.48015045677774e-05, 2.755722835837908e-06,
    2.762628454360296e-07, 2.5114348150698157e-08};
static const REAL log_poly[] = {
    0.6666666666666734, 0.39999999999414304, 0.2857142874247932, 0.2222219856304838, 0.18183564888044398,
    0.15314035322867778, 0.14796110253480396};
static const REAL tanh_poly[] = {
    -0.33333333333332876, 0.13333333333264916, -0.05396825393248194, 0.021869487601956922,
    -0.008863221319171678, 0.0035919915701081704, -0.0014549704738266562, 0.000586352479487816,
    -0.00022863323657439148, 7.721917846570995e-05, -1.610754739481111e-05};
static const REAL erf_poly[] = {
    0.1283791670955126, -0.3761263890318375, 0.11283791670954885, -0.02686617064507787,
    0.005223977624828397, -0.0008548326981424025, 0.00012055331132914794, -1.4925595771502634e-05,
    1.6461008471293004e-06, -1.635039619458434e-07, 1.4660328772062062e-08, -1.1374956732946107e-09,
    5.960688208552334e-11};
/* on 1 <= a <= 28 */
static const REAL erfc_poly[] = {
    1.0740069070883398, -0.8833944531698842, 0.5902283571041034, -0.31046726190048823, 0.1195277612871166,
    -0.026827234627892126, -0.001212416619952196, 0.0030340620657616996, -0.000548309839095824,
    -0.0002767784674308563, 0.00010756311029498422, 3.0401245931411485e-05, -1.748072165767364e-05,
    -4.75565327156889e-06, 2.8011435536958326e-06, 9.945275518729412e-07, -4.7323702963873414e-07,
    -1.9275093722302733e-07, 9.297824569788895e-08};
#endif
#define LOG2_E R(0x1.71547652b82fep0)
#define SQRT_HALF R(0x1.6a09e667f3bcdp-1)
#define V_INF (v_set1((REAL)INFINITY))
/* Adding and subtracting it rounds to an integer, which meanwhile stands in the low bits. */
#define ROUNDER ((REAL)((UINT)3 << (MANTISSA_BITS - 1)))
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

INLINE VI v_lanes(void) { VI x; for (int i = 0; i < VL; i++) x[i] = i; return x; }
INLINE VI v_first_lanes(int n) { return v_lanes() < v_set1i(n); }
INLINE V v_where(VI mask, V x) { return (V)(mask & (VI)x); } /* x, 0 elsewhere */

/* c[0] + c[1] x + ... + c[n-1] x^(n-1) by Horner's rule */
INLINE V v_poly(V x, const REAL *c, int n) {
    V p = v_set1(c[n - 1]);
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; i--) p = v_fma(p, x, v_set1(c[i]));
    return p;
}
#define POLY(x, coefficients) v_poly((x), (coefficients), COUNT(coefficients))

/* x = n ln(2) + r with |r| <= ln(2) / 2 (Cody and Waite's two-step reduction); n goes to the exponent bits
 * of *power, which added to those of a number multiply it by 2^n. Gives r, and r^2 times exp_poly, so
 * exp(r) = 1 + r + *rest. */
INLINE V v_exp_reduce(V x, VX *power, V *rest) {
    V t = v_fma(x, v_set1(LOG2_E), v_set1(ROUNDER));
    V n = t - v_set1(ROUNDER);
    *power = (VX)t << MANTISSA_BITS;
    V r = v_fma(n, v_set1(-LN2_LO), v_fma(n, v_set1(-LN2_HI), x));
    *rest = r * r * POLY(r, exp_poly);
    return r;
}

SHARED V v_exp(V x) {
    VX power;
    V rest, r = v_exp_reduce(x, &power, &rest);
    V y = (V)((VX)(R(1.0) + (r + rest)) + power);
    y = v_select(x <= v_set1(EXP_MAX), y, x + V_INF);
    return v_where(~(x < v_set1(EXP_MIN)), y);
}

/* exp(x) for x <= 0, where nothing overflows */
SHARED V v_exp_negative(V x) {
    VX power;
    V rest, r = v_exp_reduce(x, &power, &rest);
    V scale = (V)(power + (VX)v_set1(R(1.0)));
    return v_where(~(x < v_set1(EXP_MIN)), (R(1.0) + (r + rest)) * scale);
}

/* exp(x) - 1 for 2^-64 <= |x|, x <= EXP_MAX. Half of 2^n is used, for 2^n alone may overflow. */
SHARED V v_expm1_finite(V x) {
    VX power;
    V rest, r = v_exp_reduce(v_max(v_set1(R(-1.0) * 2 * MANTISSA_BITS), x), &power, &rest);
    V half = (V)(power + (VX)v_set1(R(0.5)));
    V y = v_fma(half, r, half - R(0.5)) + half * rest;
    return y + y;
}

INLINE V v_expm1(V x) {
    /* so -0 stays, and nothing is flushed by halving */
    V y = v_select(v_abs(x) < v_set1(R(0x1p-64)), x, v_expm1_finite(x));
    return v_select(x <= v_set1(EXP_MAX), y, x + V_INF);
}

/* Splits a positive normal u into 2^e m with sqrt(1/2) <= m < sqrt(2); gives m, *e, and 2^-e (wrong where
 * u >= 2^127.5 in float, 2^1023.5 in double). */
INLINE V v_split(V u, V *e, V *inverse) {
    VX bias = (VX)v_set1i((INT)EXPONENT_BIAS), one = (VX)v_set1(R(1.0));
    VX k = ((VX)u - (VX)v_set1(SQRT_HALF) + one) >> MANTISSA_BITS; /* e + bias */
    V shift = v_set1((REAL)((UINT)1 << MANTISSA_BITS));
    *e = (V)(k | (VX)shift) - (shift + (REAL)EXPONENT_BIAS);
    *inverse = (V)((bias + bias - k) << MANTISSA_BITS);
    return (V)((VX)u - ((k - bias) << MANTISSA_BITS));
}

/* e ln(2) + log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2): log(1 + f) = log((1 + s) / (1 - s)), s = f / (2
 * + f) */
INLINE V v_log_sum(V f, V e) {
    V s = f / (f + R(2.0)), z = s * s;
    V half = R(0.5) * f * f;
    V low = v_fma(e, v_set1(LN2_LO), s * (half + z * POLY(z, log_poly)));
    return v_fma(e, v_set1(LN2_HI), f - (half - low));
}

/* y where x is normal and positive; log's values at 0, infinity, below 0 and at NaN elsewhere. */
INLINE V v_log_limits(V x, V y) {
    V edge = v_select(x > R(0.0), x, v_select(x > v_set1(-SMALLEST_NORMAL), -V_INF, v_set1((REAL)NAN)));
    return v_select((x >= v_set1(SMALLEST_NORMAL)) & (x < V_INF), y, edge);
}

SHARED V v_log(V x) {
    V e, inverse, m = v_split(x, &e, &inverse);
    return v_log_limits(x, v_log_sum(m - R(1.0), e));
}

/* 1 + x = u + c exactly (Knuth's two-sum); c joins the reduced argument, so e = 0 leaves f = x. */
SHARED V v_log1p_finite(V x) {
    V u = R(1.0) + x, v = u - R(1.0);
    V c = (R(1.0) - (u - v)) + (x - v);
    V e, inverse, m = v_split(u, &e, &inverse);
    inverse = v_where(u < v_set1(R(0x1p60)), inverse); /* beyond, c does not count */
    return v_log_sum(v_fma(c, inverse, m - R(1.0)), e);
}

INLINE V v_log1p(V x) {
    return v_select(x == R(0.0), x, v_log_limits(R(1.0) + x, v_log1p_finite(x)));
}

SHARED V v_tanh(V x) {
    V a = v_abs(x), z = x * x;
    V small = v_fma(a * z, POLY(z, tanh_poly), a);
    V t = v_exp_negative(R(-2.0) * a);
    V large = v_fma(v_set1(R(-2.0)), t / (R(1.0) + t), v_set1(R(1.0)));
    return v_copysign(v_select(a < R(0.625), small, large), x);
}

/* The sigmoid of x with t = exp(-|x|) known: w / (1 + t), w = 1 or t; written w - w t / (1 + t), which
 * rounds less. */
INLINE V v_sigmoid_from(V x, V t) {
    V w = v_select(x >= R(0.0), v_set1(R(1.0)), t);
    return v_fma(-w, t / (R(1.0) + t), w);
}

INLINE V v_sigmoid(V x) { return v_sigmoid_from(x, v_exp_negative(-v_abs(x))); }

/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)) */
INLINE V v_softplus(V x) {
    return v_max(v_set1(R(0.0)), x) + v_log1p_finite(v_exp_negative(-v_abs(x)));
}

/* erf(x) for |x| <= 1, scaled so that no product is flushed */
SHARED V v_erf_small(V x) {
    V big = x * R(0x1p64);
    return v_fma(big, POLY(x * x, erf_poly), big) * R(0x1p-64);
}

/* exp(a^2) erfc(a) for a >= 1, in Shepherd and Laframboise's variable (Math. Comp. 36, 1981) */
SHARED V v_erfcx_large(V a) {
    V q = R(1.0) / (a + R(3.0));
    return q * POLY(v_fma(q, v_set1(R(-6.0)), v_set1(R(1.0))), erfc_poly);
}

INLINE V v_erf(V x) {
    V a = v_abs(x);
    V large = R(1.0) - v_exp_negative(-(a * a)) * v_erfcx_large(a);
    return v_copysign(v_select(a < R(1.0), v_erf_small(a), large), x);
}

/* The normal distribution: (1 + erf(x / sqrt(2))) / 2, and *bell = exp(-x^2 / 2). Tails keep their
 * relative accuracy: what rounding takes from x^2 is put back (nothing without fused multiply-add). Beyond
 * |x| = 40 both types are at the limits. */
INLINE V v_normal_cdf(V x, V *bell) {
    x = v_min(v_set1(R(40.0)), v_max(v_set1(R(-40.0)), x));
    V square = x * x, lost = v_fma(x, x, -square);
    V e = v_exp_negative(R(-0.5) * square);
    *bell = e;
    V a = v_abs(x) * SQRT_HALF;
    V tail = R(0.5) * v_erfcx_large(a) * v_fma(R(-0.5) * lost, e, e);
    V large = v_select(x < R(0.0), tail, R(1.0) - tail);
    return v_select(a < R(1.0), v_fma(v_set1(R(0.5)), v_erf_small(x * SQRT_HALF), v_set1(R(0.5))), large);
}

#endif
