"""The C functions that an exported header may use, as text; `c_header` takes those that a network needs.

In the text REAL is float or double, R(x) a constant of that type, C(f) the function f of <math.h> for it, and @ the
prefix of the header's names. The functions of float are the engine's own (see csrc/kernels/vmath.h), one number at a
time: with fused multiply-add they give its bits. Those of double are the C library's.
"""

import re

import numpy as np

# exp(x) = 2^n (1 + r + r^2 poly(r)) with x = n ln(2) + r
_EXP = [0.5, 0.166665435, 0.0416662842, 0.00836657174, 0.00139464264]
# log((1 + s) / (1 - s)) = s (2 + z poly(z)), z = s^2
_LOG = [0.66666776, 0.399775356, 0.298718631]
# tanh(x) = x (1 + z poly(z)), z = x^2 <= 0.625^2
_TANH = [-0.333332837, 0.133314908, -0.0537434965, 0.0206505843, -0.00571704097]
# erf(x) = x (1 + poly(x^2)), |x| <= 1
_ERF = [
    0.128379166, -0.37612626, 0.112835579, -0.0268516634, 0.00518243341, -0.000793694053, 7.42903139e-05, 9.45128818e-07,
]  # fmt: skip
# (a + 3) exp(a^2) erfc(a) in (a - 3) / (a + 3), 1 <= a <= 10
_ERFC = [
    1.07400692, -0.88339442, 0.590228498, -0.31046927, 0.11952484, -0.0267986674, -0.00119841029, 0.00288216863,
    -0.000542157388,
]  # fmt: skip


def number(value, real="float"):
    """A constant of C that reads back as `value`."""
    value = float(np.float32(value)) if real == "float" else float(value)
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = f"{value:.9g}" if real == "float" else f"{value:.17g}"
    text = text if "." in text or "e" in text else f"{text}.0"
    return f"{text}f" if real == "float" else text


def numbers(values, real="float"):
    """`number` for a flat array, quickly."""
    form = "%.9g" if real == "float" else "%.17g"
    if not np.isfinite(values).all():
        return [number(v, real) for v in values.tolist()]
    end = "f" if real == "float" else ""
    return [t + (end if "." in t or "e" in t else ".0" + end) for t in (form % v for v in values.tolist())]


def _poly(x, coefficients):
    """c[0] + c[1] x + ... by Horner's rule, as statements."""
    lines = [f"    REAL p = R({coefficients[-1]!r});"]
    lines += [f"    p = @FMA(p, {x}, R({c!r}));" for c in coefficients[-2::-1]]
    return "\n".join(lines)


_COMMON = {
    "relu": "static inline REAL @relu(REAL x) { return x < R(0) ? R(0) : x; }",
    "step": "static inline REAL @step(REAL x) { return x >= R(0) ? R(1) : R(0); }",
    "hard_sigmoid": """
static inline REAL @hard_sigmoid(REAL x) {
    const REAL v = @relu(x + R(3));
    return (v > R(6) ? R(6) : v) * R(0.16666666666666666);
}""",
    "leaky_relu": "static inline REAL @leaky_relu(REAL x, REAL slope) { return x > R(0) ? x : slope * x; }",
    "elu": "static inline REAL @elu(REAL x, REAL alpha) { return x > R(0) ? x : alpha * @expm1(x); }",
    "selu": """
static inline REAL @selu(REAL x) { return R(1.0507009873554805) * @elu(x, R(1.6732632423543772)); }""",
    "gelu": "static inline REAL @gelu(REAL x) { return x * @normal_cdf(x); }",
    "gelu_tanh": """
static inline REAL @gelu_tanh(REAL x) {
    return x * @sigmoid(R(1.5957691216057308) * @FMA(R(0.044715) * (x * x), x, x));
}""",
    "silu": "static inline REAL @silu(REAL x) { return x * @sigmoid(x); }",
    "mish": """
static inline REAL @mish(REAL x) { /* x tanh(log(1 + e)), e = exp(x) */
    const REAL most = R(MISH_ONE), e = @exp(x > most ? most : x), w = e * (e + R(2));
    return x * (w / (w + R(2)));
}""",
    "softsign": "static inline REAL @softsign(REAL x) { return x / (R(1) + C(fabs)(x)); }",
    "maximum": "static inline REAL @maximum(REAL x, REAL y) { return x > y || x != x ? x : y; }",
    "minimum": "static inline REAL @minimum(REAL x, REAL y) { return x < y || x != x ? x : y; }",
    "sign": """
static inline REAL @sign(REAL x) { return x > R(0) ? R(1) : x < R(0) ? R(-1) : x == x ? R(0) : x; }""",
    "square": "static inline REAL @square(REAL x) { return x * x; }",
}

_FLOAT = {
    "bits": """
static inline uint32_t @bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}""",
    "of_bits": """
static inline float @of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
    "exp_split": f"""
/* exp(x) = 2^n (1 + r + rest), x = n ln(2) + r; n goes to the exponent's bits of power */
static inline float @exp_split(float x, uint32_t *power, float *rest) {{
    const float t = @FMA(x, R({float.fromhex("0x1.71547652b82fep0")!r}), R(12582912)), n = t - R(12582912);
    const float r = @FMA(n, R({float.fromhex("0x1.bd0106p-13")!r}), @FMA(n, R({-float.fromhex("0x1.63p-1")!r}), x));
{_poly("r", _EXP)}
    *rest = r * r * p;
    *power = @bits(t) << 23;
    return r;
}}""",
    "exp": f"""
static inline float @exp(float x) {{
    uint32_t power;
    float rest, r;
    if (!(x <= R({float.fromhex("0x1.62e42ep6")!r}))) return x + INFINITY;
    if (x < R({float.fromhex("-0x1.5d589ep6")!r})) return R(0);
    r = @exp_split(x, &power, &rest);
    return @of_bits(@bits(R(1) + (r + rest)) + power);
}}""",
    "exp_negative": f"""
/* exp(x), x <= 0 */
static inline float @exp_negative(float x) {{
    uint32_t power;
    float rest, r;
    if (x < R({float.fromhex("-0x1.5d589ep6")!r})) return R(0);
    r = @exp_split(x, &power, &rest);
    return (R(1) + (r + rest)) * @of_bits(power + @bits(R(1)));
}}""",
    "expm1": f"""
/* exp(x) - 1 */
static inline float @expm1(float x) {{
    uint32_t power;
    float rest, r, half, y;
    if (C(fabs)(x) < R({2.0**-64!r})) return x;
    if (!(x <= R({float.fromhex("0x1.62e42ep6")!r}))) return x + INFINITY;
    r = @exp_split(x < R(-46) ? R(-46) : x, &power, &rest);
    half = @of_bits(power + @bits(R(0.5)));
    y = @FMA(half, r, half - R(0.5)) + half * rest;
    return y + y;
}}""",
    "log_sum": f"""
/* e ln(2) + log(1 + f) */
static inline float @log_sum(float f, float e) {{
    const float s = f / (f + R(2)), z = s * s, half = R(0.5) * f * f;
{_poly("z", _LOG)}
    return @FMA(e, R({float.fromhex("0x1.63p-1")!r}),
                   f - (half - @FMA(e, R({-float.fromhex("0x1.bd0106p-13")!r}), s * (half + z * p))));
}}""",
    "log_split": """
/* x = 2^e m with sqrt(1/2) <= m < sqrt(2) */
static inline float @log_split(float x, int32_t *e) {
    const uint32_t bits = @bits(x), k = (bits - @bits(R(0.7071067811865476)) + @bits(R(1))) >> 23;
    *e = (int32_t)k - 127;
    return @of_bits(bits - ((k - 127u) << 23));
}""",
    "log": f"""
static inline float @log(float x) {{
    int32_t e;
    float m;
    if (!(x >= R({2.0**-126!r}))) return x > R({-(2.0**-126)!r}) ? -INFINITY : NAN;
    if (x > R({float(np.finfo(np.float32).max)!r})) return x;
    m = @log_split(x, &e);
    return @log_sum(m - R(1), (float)e);
}}""",
    "log1p_finite": f"""
/* log(1 + x), x > -1; u + c is 1 + x without rounding */
static inline float @log1p_finite(float x) {{
    const float u = R(1) + x, v = u - R(1), c = (R(1) - (u - v)) + (x - v);
    int32_t e;
    const float m = @log_split(u, &e);
    const float inverse = u < R({2.0**60!r}) ? @of_bits((uint32_t)(127 - e) << 23) : R(0);
    return @log_sum(@FMA(c, inverse, m - R(1)), (float)e);
}}""",
    "log1p": f"""
static inline float @log1p(float x) {{
    if (x == R(0) || x > R({float(np.finfo(np.float32).max)!r})) return x;
    if (!(x > R(-1))) return x == R(-1) ? -INFINITY : NAN;
    return @log1p_finite(x);
}}""",
    "tanh": f"""
static inline float @tanh(float x) {{
    const float a = C(fabs)(x);
    float t;
    if (a < R(0.625)) {{
        const float z = x * x;
    {_poly("z", _TANH).replace(chr(10), chr(10) + "    ")}
        return C(copysign)(@FMA(a * z, p, a), x);
    }}
    t = @exp_negative(R(-2) * a);
    return C(copysign)(@FMA(R(-2), t / (R(1) + t), R(1)), x);
}}""",
    "sigmoid": """
/* 1 / (1 + exp(-x)) */
static inline float @sigmoid(float x) {
    const float t = @exp_negative(-C(fabs)(x)), w = x >= R(0) ? R(1) : t;
    return @FMA(-w, t / (R(1) + t), w);
}""",
    "softplus": """
/* log(1 + exp(x)) */
static inline float @softplus(float x) {
    return @relu(x) + @log1p_finite(@exp_negative(-C(fabs)(x)));
}""",
    "erf_small": f"""
/* erf(x), |x| <= 1 */
static inline float @erf_small(float x) {{
    const float big = x * R({2.0**64!r}), z = x * x;
{_poly("z", _ERF)}
    return @FMA(big, p, big) * R({2.0**-64!r});
}}""",
    "erfcx": f"""
/* exp(a^2) (1 - erf(a)), a >= 1 */
static inline float @erfcx(float a) {{
    const float q = R(1) / (a + R(3)), z = @FMA(q, R(-6), R(1));
{_poly("z", _ERFC)}
    return q * p;
}}""",
    "erf": """
static inline float @erf(float x) {
    const float a = C(fabs)(x);
    const float y = a < R(1) ? @erf_small(a) : R(1) - @exp_negative(-(a * a)) * @erfcx(a);
    return C(copysign)(y, x);
}""",
    "normal_cdf": """
/* (1 + erf(x / sqrt(2))) / 2 */
static inline float @normal_cdf(float x) {
    const float v = x < R(-40) ? R(-40) : x > R(40) ? R(40) : x, square = v * v, lost = @FMA(v, v, -square);
    const float e = @exp_negative(R(-0.5) * square), a = C(fabs)(v) * R(0.7071067811865476);
    float tail;
    if (a < R(1)) return @FMA(R(0.5), @erf_small(v * R(0.7071067811865476)), R(0.5));
    tail = R(0.5) * @erfcx(a) * @FMA(R(-0.5) * lost, e, e);
    return v < R(0) ? tail : R(1) - tail;
}""",
    "round_row": """
/* x (n) rounded to integers q of 14 bits and a sign, to nearest, ties to even; gives what one of them stands for,
 * a power of 2, or NaN where a number of x is not finite */
static inline float @round_row(const float *x, size_t n, int16_t *q) {
    uint32_t largest = 0, e;
    float scale;
    for (size_t k = 0; k < n; k++) {
        const uint32_t bits = @bits(x[k]) & 0x7FFFFFFFu;
        if (bits > largest) largest = bits;
    }
    e = largest >> 23; /* 2^(e - 127) <= the largest < 2^(e - 126) */
    if (e == 255u) {
        for (size_t k = 0; k < n; k++) q[k] = 0;
        return NAN;
    }
    if (e < 14u) e = 14u;
    scale = @of_bits((267u - e) << 23);
    /* A number of 2^23 and more has no fraction: x scale is rounded into its low bits. */
    for (size_t k = 0; k < n; k++) q[k] = (int16_t)((int32_t)@bits(x[k] * scale + R(12582912)) - 0x4B400000);
    return @of_bits((e - 13u) << 23);
}""",
    "bfloat16": """
/* The nearest number of 8 significant bits, ties to even */
static inline float @bfloat16(float x) {
    const uint32_t bits = @bits(x);
    return x == x ? @of_bits((bits + (0x7FFFu + (bits >> 16 & 1u))) & 0xFFFF0000u) : x;
}""",
    "widen": """
static inline float @widen(uint16_t upper_half) { return @of_bits((uint32_t)upper_half << 16); }""",
}

_DOUBLE = {
    **{
        name: f"static inline double @{name}(double x) {{ return {name}(x); }}"
        for name in ("exp", "expm1", "log", "log1p", "tanh", "erf")
    },
    "exp_negative": "static inline double @exp_negative(double x) { return exp(x); }",
    "sigmoid": """
/* 1 / (1 + exp(-x)) */
static inline double @sigmoid(double x) {
    const double t = exp(-fabs(x));
    return (x >= 0.0 ? 1.0 : t) / (1.0 + t);
}""",
    "softplus": """
/* log(1 + exp(x)) */
static inline double @softplus(double x) { return @relu(x) + log1p(exp(-fabs(x))); }""",
    "normal_cdf": """
/* (1 + erf(x / sqrt(2))) / 2 */
static inline double @normal_cdf(double x) { return 0.5 * erfc(x * R(-0.70710678118654757)); }""",
}

FUNCTIONS = {"float": {**_COMMON, **_FLOAT}, "double": {**_COMMON, **_DOUBLE}}

# Elementwise ops as an expression of their inputs {0}, {1}, {2} and attributes {a}, {b}.
EXPRESSIONS = {
    "step": "@step({0})", "sigmoid": "@sigmoid({0})", "hard_sigmoid": "@hard_sigmoid({0})",
    "tanh": "@tanh({0})", "relu": "@relu({0})", "leaky_relu": "@leaky_relu({0}, {a})",
    "elu": "@elu({0}, {a})", "selu": "@selu({0})", "gelu": "@gelu({0})", "silu": "@silu({0})",
    "mish": "@mish({0})", "softplus": "@softplus({0})", "softsign": "@softsign({0})",
    "bias_add": "({0} + {1})", "add": "({0} + {1})", "subtract": "({0} - {1})", "multiply": "({0} * {1})",
    "divide": "({0} / {1})", "power": "C(pow)({0}, {1})", "maximum": "@maximum({0}, {1})",
    "minimum": "@minimum({0}, {1})", "less": "({0} < {1} ? R(1) : R(0))", "less_equal": "({0} <= {1} ? R(1) : R(0))",
    "equal": "({0} == {1} ? R(1) : R(0))", "where": "({0} != R(0) ? {1} : {2})", "affine": "@FMA({a}, {0}, {b})",
    "abs": "C(fabs)({0})", "sign": "@sign({0})", "square": "@square({0})", "sqrt": "C(sqrt)({0})",
    "rsqrt": "(R(1) / C(sqrt)({0}))", "exp": "@exp({0})", "expm1": "@expm1({0})", "log": "@log({0})",
    "log1p": "@log1p({0})", "erf": "@erf({0})", "sin": "C(sin)({0})", "cos": "C(cos)({0})",
    "floor": "C(floor)({0})", "broadcast": "{0}", "to_real": "(REAL){0}", "round_bfloat16": "@bfloat16({0})",
    "copy": "{0}",
}  # fmt: skip


def in_type(text, real, name):
    """Text with REAL, R(x), C(f) and @ written for a type and for names that begin with `name`."""
    text = text.replace("MISH_ONE", "20" if real == "float" else "40")
    text = re.sub(r"\bR\(([^()]+)\)", lambda m: number(float(m[1]), real), text)
    text = re.sub(r"\bC\((\w+)\)", lambda m: m[1] + ("f" if real == "float" else ""), text)
    text = re.sub(r"\bREAL\b", real, text)
    return re.sub(r"@(\w+)", lambda m: f"{name.upper() if m[1].isupper() else name}_{m[1]}", text)


def used(body, real):
    """The texts of the functions that `body` uses, each after those that it uses itself."""
    known, found = FUNCTIONS[real], {}

    def take(text, within):
        for name in re.findall(r"@(\w+)\(", text):
            if name in known and name not in found and name != within:
                take(known[name], name)
                found[name] = known[name].strip("\n")

    take(body, None)
    return list(found.values())
