/* Activations y = f(x) and their gradients dx = dy f'(x), for rows [lo, hi) of views (rows, cols).
 *
 *   k_<op>       in[0] x, out[0] y
 *   k_<op>_grad  in[0] dy, in[1] x or y (ops.def: needs), out[0] dx
 *
 * out[0] may be in[0]. NaN gives NaN (but for step: 0). Definitions and defaults are those of Keras 3.
 */

typedef void (*forward_line)(const fnn_task *t, const REAL *xp, REAL *yp, int64_t n);
typedef void (*backward_line)(const fnn_task *t, const REAL *dyp, const REAL *sp, REAL *dxp, int64_t n);

/* Call `line` on runs of contiguous elements: row by row, or all rows at once where no operand is padded. */
INLINE void forward_rows(const fnn_task *t, int64_t lo, int64_t hi, forward_line line) {
    const fnn_view *x = &t->in[0], *y = &t->out[0];
    const REAL *xp = (const REAL *)x->p + lo * x->ld;
    REAL *yp = (REAL *)y->p + lo * y->ld;
    int64_t cols = y->cols;
    if (x->ld == cols && y->ld == cols) { line(t, xp, yp, (hi - lo) * cols); return; }
    for (int64_t r = lo; r < hi; r++, xp += x->ld, yp += y->ld) line(t, xp, yp, cols);
}

INLINE void backward_rows(const fnn_task *t, int64_t lo, int64_t hi, backward_line line) {
    const fnn_view *dy = &t->in[0], *s = &t->in[1], *dx = &t->out[0];
    const REAL *dyp = (const REAL *)dy->p + lo * dy->ld, *sp = (const REAL *)s->p + lo * s->ld;
    REAL *dxp = (REAL *)dx->p + lo * dx->ld;
    int64_t cols = dx->cols;
    if (dy->ld == cols && s->ld == cols && dx->ld == cols) {
        line(t, dyp, sp, dxp, (hi - lo) * cols);
        return;
    }
    for (int64_t r = lo; r < hi; r++, dyp += dy->ld, sp += s->ld, dxp += dx->ld) line(t, dyp, sp, dxp, cols);
}

/* line_<name>: y as an expression in x and the op's first attribute a; each: FOR_VECTORS, or EACH_VECTOR for a long one. */
#define FORWARD_LINE(name, each, ...)                                                            \
    static void line_##name(const fnn_task *t, const REAL *xp, REAL *yp, int64_t n) {        \
        const V a = v_set1((REAL)t->attr[0]);                                                \
        (void)a;                                                                             \
        each(n, i, { const V x = LOADV(xp + i); STOREV(yp + i, (__VA_ARGS__)); });    \
    }
/* line_<name>: dx as an expression in dy, the saved x or y (named by `saved`) and a. */
#define BACKWARD_LINE(name, each, saved, ...)                                                                  \
    static void line_##name(const fnn_task *t, const REAL *dyp, const REAL *sp, REAL *dxp, int64_t n) {   \
        const V a = v_set1((REAL)t->attr[0]);                                                             \
        (void)a;                                                                                          \
        each(n, i, {                                                                               \
            const V dy = LOADV(dyp + i);                                                                  \
            const V saved = LOADV(sp + i);                                                                \
            (void)saved;                                                                                  \
            STOREV(dxp + i, (__VA_ARGS__));                                                               \
        });                                                                                               \
    }
#define KERNEL(op, rows, line)                                                       \
    static void k_##op(const fnn_task *t, int64_t lo, int64_t hi, void *scratch) {   \
        (void)scratch;                                                               \
        rows(t, lo, hi, line);                                                       \
    }
#define FORWARD(op, each, ...)                \
    FORWARD_LINE(op, each, __VA_ARGS__)       \
    KERNEL(op, forward_rows, line_##op)
#define BACKWARD(op, each, saved, ...)                \
    BACKWARD_LINE(op##_grad, each, saved, __VA_ARGS__) \
    KERNEL(op##_grad, backward_rows, line_##op##_grad)

#define ZERO (v_set1(R(0.0)))
#define ONE (v_set1(R(1.0)))

/* The derivative of step is 0, or with straight_through taken for 1 where |x| <= clip_value (0: everywhere). */
INLINE V step_reach(const fnn_task *t) {
    return v_set1(t->attr[0] == 0 ? R(-1.0) : t->attr[1] == 0 ? (REAL)INFINITY : (REAL)t->attr[1]);
}
FORWARD(step, FOR_VECTORS, v_where(x >= ZERO, ONE))
BACKWARD(step, FOR_VECTORS, x, v_where(v_abs(x) <= step_reach(t), dy))

FORWARD(sigmoid, EACH_VECTOR, v_sigmoid(x))
BACKWARD(sigmoid, FOR_VECTORS, y, dy * (y * (ONE - y)))

/* relu6(x + 3) / 6 */
FORWARD(hard_sigmoid, FOR_VECTORS, v_min(v_set1(R(6.0)), v_max(ZERO, x + R(3.0))) * (R(1.0) / R(6.0)))
BACKWARD(hard_sigmoid, FOR_VECTORS, y, v_where((y > ZERO) & (y < ONE), dy * (R(1.0) / R(6.0))))

FORWARD(tanh, EACH_VECTOR, v_tanh(x))
BACKWARD(tanh, FOR_VECTORS, y, dy * ((ONE - y) * (ONE + y)))

FORWARD(relu, FOR_VECTORS, v_max(ZERO, x))
BACKWARD(relu, FOR_VECTORS, y, v_where(y > ZERO, dy))

FORWARD(leaky_relu, FOR_VECTORS, v_select(x > ZERO, x, a * x))
BACKWARD(leaky_relu, FOR_VECTORS, x, v_select(x > ZERO, dy, a * dy))

/* x > 0 ? x : a (exp(x) - 1) */
INLINE V elu(V x, V a) { return v_select(x > ZERO, x, a * v_expm1(v_min(ZERO, x))); }
FORWARD(elu, EACH_VECTOR, elu(x, a))
BACKWARD(elu, EACH_VECTOR, x, dy * v_select(x > ZERO, ONE, a * v_exp_negative(v_min(ZERO, x))))

/* Klambauer et al., Self-Normalizing Neural Networks, 2017 */
#define SELU_SCALE R(1.0507009873554804934193349852946)
#define SELU_ALPHA R(1.6732632423543772848170429916717)
FORWARD(selu, EACH_VECTOR, SELU_SCALE * elu(x, v_set1(SELU_ALPHA)))
BACKWARD(selu, FOR_VECTORS, y, dy * v_select(y > ZERO, v_set1(SELU_SCALE), y + SELU_SCALE * SELU_ALPHA))

/* x cdf(x), the normal distribution's (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016) */
INLINE V gelu_erf(V x) { V bell; return x * v_normal_cdf(x, &bell); }
INLINE V gelu_erf_slope(V x) {
    V bell, cdf = v_normal_cdf(x, &bell);
    return v_fma(x * R(0.39894228040143267793994605993438), bell, cdf); /* 1 / sqrt(2 pi) */
}
/* Its approximation x (1 + tanh(u)) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3) */
#define GELU_TWO_U R(1.5957691216057307117597842397375) /* 2 sqrt(2 / pi) */
#define GELU_CUBIC R(0.044715)
INLINE V gelu_gate(V x) { return v_sigmoid(GELU_TWO_U * v_fma(GELU_CUBIC * (x * x), x, x)); }
INLINE V gelu_tanh_slope(V x) {
    /* beyond |x| = 40 the slope is 0 or 1, but x^2 might overflow */
    x = v_min(v_set1(R(40.0)), v_max(v_set1(R(-40.0)), x));
    V s = gelu_gate(x), du = GELU_TWO_U * v_fma(v_set1(R(3.0) * GELU_CUBIC), x * x, ONE);
    return v_fma(x * s * (ONE - s), du, s);
}
FORWARD_LINE(gelu_erf, EACH_VECTOR, gelu_erf(x))
FORWARD_LINE(gelu_tanh, EACH_VECTOR, x * gelu_gate(x))
BACKWARD_LINE(gelu_erf_grad, EACH_VECTOR, x, dy * gelu_erf_slope(x))
BACKWARD_LINE(gelu_tanh_grad, EACH_VECTOR, x, dy * gelu_tanh_slope(x))
KERNEL(gelu, forward_rows, t->attr[0] != 0 ? line_gelu_tanh : line_gelu_erf)
KERNEL(gelu_grad, backward_rows, t->attr[0] != 0 ? line_gelu_tanh_grad : line_gelu_erf_grad)

/* x sigmoid(x) */
INLINE V silu_slope(V x) { V s = v_sigmoid(x); return v_fma(x * s, ONE - s, s); }
FORWARD(silu, EACH_VECTOR, x * v_sigmoid(x))
BACKWARD(silu, EACH_VECTOR, x, dy * silu_slope(x))

/* x tanh(softplus(x)) (Misra, Mish, 2019). With e = exp(x), tanh(log(1 + e)) = w / (w + 2), w = e (e + 2):
 * from x = 20 on (40 in double) that is 1 in the type. */
#define MISH_ONE ((REAL)(REAL_BITS == 32 ? 20 : 40))
INLINE V mish_exp(V x) { return v_exp(v_min(v_set1(MISH_ONE), x)); }
INLINE V mish_gate(V e) { V w = e * (e + R(2.0)); return w / (w + R(2.0)); }
INLINE V mish_slope(V x) {
    x = v_min(v_set1(MISH_ONE), x);
    V e = mish_exp(x), w = e * (e + R(2.0)), d = R(1.0) / (w + R(2.0));
    return v_fma(R(4.0) * x * d, e * (e + R(1.0)) * d, w * d);
}
FORWARD(mish, EACH_VECTOR, x * mish_gate(mish_exp(x)))
BACKWARD(mish, EACH_VECTOR, x, dy * mish_slope(x))

FORWARD(softplus, EACH_VECTOR, v_softplus(x))
BACKWARD(softplus, EACH_VECTOR, x, dy * v_sigmoid(x))

/* x / (1 + |x|) */
FORWARD(softsign, EACH_VECTOR, x / (ONE + v_abs(x)))
BACKWARD(softsign, FOR_VECTORS, y, dy * ((ONE - v_abs(y)) * (ONE - v_abs(y))))

#undef FORWARD
#undef BACKWARD
#undef KERNEL
#undef FORWARD_LINE
#undef BACKWARD_LINE
