"""L-BFGS and Levenberg-Marquardt: steps of `fit` that use curvature, for small nets on all samples at a time.

The engine gives losses, gradients and products of Jacobians; what is decided between two evaluations is a few
vector operations in NumPy, in float64. Weights are rounded to the model's dtype before they are judged, so
what was accepted is what the model holds.
"""

import math

import numpy as np

from . import _core, losses, ops
from .differentiate import differentiate
from .errors import ArgumentError, NonFiniteLossError
from .graph import MAX_INPUTS, Builder, Value
from .training import Arrays

_SAMPLES = 1024  # at a time, where sums over samples are taken in blocks
_CHANGING = ("dropout", "mix", "random_uniform", "random_normal", "in_training")


class Driver(Arrays):
    """Makes one step of `fit` an iteration over all samples.

    Subclasses define `prepare()`, `restart()` for weights that others have set, and `iterate()`, which goes on
    from `self.x` and `self.loss`.
    """

    def __init__(self, model, *arguments):
        super().__init__(model, *arguments)
        self.optimizer, self.engine = model.optimizer, model._engine().engine
        self.owner = type(self.optimizer).__name__
        if any(node.op in _CHANGING for node in model._forward.nodes):
            raise ArgumentError(
                f"{self.owner} minimises a function that stays the same, but {model._label} acts otherwise in "
                "training than in prediction; leave out Dropout, noise, augmentation and BatchNormalization."
            )
        index = model._compiled.gradients
        self.trained = [(i, p) for i, p in model._params if p.trainable and i in index]
        self.size = sum(p.size for _, p in self.trained)
        self.flat = np.empty(self.size, model.dtype)
        self.views, at = [], 0
        for _, p in self.trained:
            self.views.append(self.flat[at : at + p.size].reshape(p.shape))
            at += p.size
        self.x = None
        self.optimizer.converged = None
        self.prepare()

    def bound(self, session):
        """A session with the arrays of `fit`."""
        for tensor, array in self.arrays.items():
            session.bind(tensor, array)
        session.select(self.selected)
        return session

    def total(self, session):
        """The loss of a pass over all samples, penalties included."""
        return self.model._losses(session.results(), self.count)[0]

    def read(self):
        """The weights as one float64 vector."""
        for (_, p), view in zip(self.trained, self.views):
            p._storage.read(view)
        return self.flat.astype(np.float64)

    def write(self, x):
        """Set the weights."""
        self.flat[:] = x
        for (_, p), view in zip(self.trained, self.views):
            p._storage.write(view)

    def moved(self, step):
        """The weights after a step, rounded as the model holds them."""
        return (self.x + step).astype(self.flat.dtype).astype(np.float64)

    def run(self, max_steps, max_ms, rates):
        before = self.read()
        self.session.run(1, -1.0, 0.0)  # the values that the epoch begins with; counts the iteration
        try:
            if self.x is None or not np.array_equal(before, self.x):
                self.x = before
                self.restart()
                if not math.isfinite(self.loss):
                    raise NonFiniteLossError(f"the loss is {self.loss}", step=0)
            self.iterate(float(rates if np.ndim(rates) == 0 else rates[0]))
        finally:
            self.write(self.x)
        if self.optimizer.converged is not None:
            self.model.stop_training = True
        return 1, True

    def small_change(self, before):
        """Notes that the loss, `before` the iteration, changes too little to go on."""
        tolerance = self.optimizer.tolerance_change
        if before - self.loss <= tolerance * max(abs(before), abs(self.loss)):
            self.optimizer.converged = f"the loss changed by less than {tolerance:g} of itself"

    def flat_enough(self, largest):
        """Notes that the largest element of the gradient is as good as 0."""
        tolerance = self.optimizer.tolerance_grad
        if largest <= tolerance:
            self.optimizer.converged = f"no element of the gradient is above {tolerance:g}"
        return largest <= tolerance


# ---- L-BFGS ----


class LBFGSDriver(Driver):
    """See `optimizers.LBFGS`."""

    def prepare(self):
        self.session_of_gradients = self.bound(self.engine.session("gradients", self.rows))
        self.order = [self.model._compiled.gradients[i] for i, _ in self.trained]
        self.kept, self.resumed = [], False  # (s, y, 1 / s'y), the newest last

    def restart(self):
        if not self.resumed:
            self.kept = []
        self.resumed = False
        self.loss, self.g = self.evaluate(self.x)

    def get_state(self):
        return {"s": [s for s, _, _ in self.kept], "y": [y for _, y, _ in self.kept]}

    def set_state(self, state):
        self.kept = [(s, y, 1 / (s @ y)) for s, y in zip(state["s"], state["y"])]
        self.resumed = True

    def evaluate(self, x):
        """Loss and gradient at x, where the weights are set to."""
        self.write(x)
        session = self.session_of_gradients
        session.begin(self.count, self.count, False, False, 0, 0, 0)
        session.run(-1, -1.0, 0.0)
        for index, view in zip(self.order, self.views):
            session.gradient(index, view)
        return self.total(session), self.flat.astype(np.float64)

    def direction(self):
        """-H g by two loops over the kept pairs (Nocedal, Wright, Numerical Optimization, algorithm 7.4)."""
        d, shares = -self.g, []
        for s, y, inverse in reversed(self.kept):
            shares.append(inverse * (s @ d))
            d -= shares[-1] * y
        if self.kept:
            _, y, inverse = self.kept[-1]
            d /= inverse * (y @ y)
        for (s, y, inverse), share in zip(self.kept, reversed(shares)):
            d += (share - inverse * (y @ d)) * s
        return d

    def iterate(self, rate):
        o = self.optimizer
        if self.flat_enough(np.abs(self.g).max(initial=0)):
            return
        d = self.direction()
        found = self.search(d, rate) if self.kept and self.g @ d < 0 else None
        if found is None:  # at the start, or where the curvature misleads: along the gradient
            self.kept, d = [], -self.g
            found = self.search(d, rate * min(1.0, 1.0 / np.abs(self.g).sum()))
        if found is None:
            o.converged = "no step along the gradient lowers the loss"
            return
        x, g, before = found[3], found[4], self.loss
        s, y = x - self.x, g - self.g
        curvature = s @ y
        if curvature > 1e-10 * math.sqrt((s @ s) * (y @ y)):
            self.kept.append((s, y, 1 / curvature))
            del self.kept[: -o.history_size]
        self.x, self.loss, self.g = x, found[1], g
        self.small_change(before)

    def search(self, d, t):
        """A step along d by the strong Wolfe conditions (Nocedal, Wright, algorithms 3.5 and 3.6).

        Returns (t, loss, slope, weights, gradient); of the best step found where none of `max_line_search`
        meets the condition on the slope; None where none lowers the loss enough.
        """
        start = low = (0.0, self.loss, self.g @ d, self.x, self.g)
        high = None
        for _ in range(self.optimizer.max_line_search):
            x = self.moved(t * d)
            loss, g = self.evaluate(x)
            now = t, loss, g @ d, x, g
            if not (loss <= start[1] + 1e-4 * t * start[2] and loss < low[1]):
                high = now
            else:
                if abs(now[2]) <= -0.9 * start[2]:
                    return now
                if now[2] * ((math.inf if high is None else high[0]) - low[0]) >= 0:
                    high = low
                low = now
            if high is not None and high[0] == low[0]:
                break
            t = 2 * t if high is None else _between(low, high)
            if np.array_equal(self.moved(t * d), low[3]):
                break  # nothing lies between
        return low if low is not start else None


def _between(a, b):
    """The minimum of the cubic through two points (t, value, slope), kept off both by a tenth of their distance."""
    (t, f, s), (u, h, r) = a[:3], b[:3]
    middle = 0.5 * (t + u)
    if not (math.isfinite(h) and math.isfinite(r)):
        return middle
    c = s + r - 3 * (f - h) / (t - u)
    square = c * c - s * r
    if square < 0:
        return middle
    root = math.copysign(math.sqrt(square), u - t)
    below = r - s + 2 * root
    found = u - (u - t) * (r + root - c) / below if below else middle
    margin = 0.1 * abs(u - t)
    return min(max(found, min(t, u) + margin), max(t, u) - margin)


# ---- Levenberg-Marquardt ----


class LevenbergMarquardtDriver(Driver):
    """See `optimizers.LevenbergMarquardt`."""

    def prepare(self):
        model, o = self.model, self.optimizer
        [output] = model._compiled.outputs if len(model._compiled.outputs) == 1 else [None]
        loss = losses.get(model._compiled.users["loss"][0]) if output is not None else None
        if type(loss) is not losses.MeanSquaredError or len(output.shape) != 2:
            raise ArgumentError(
                f"{self.owner} needs one output of shape (n, features) and the loss mean_squared_error, got "
                f"{[o.shape for o in model._compiled.outputs]} and "
                f"{[getattr(u, 'name', u) for u in model._compiled.users['loss']]}; LBFGS takes any loss."
            )
        if self.size > o.max_parameters:
            raise ArgumentError(
                f"{self.owner} solves a system in all parameters, at most {o.max_parameters}, got {self.size}; "
                "LBFGS takes large nets."
            )
        self.decay = np.zeros(self.size)
        at = 0
        for _, p in self.trained:
            penalty = p.regularizer
            if penalty is not None:
                if penalty.traced or penalty.l1:
                    raise ArgumentError(
                        f"{self.owner} takes sums of squares: the penalty of {p.name!r} must be L2, got {penalty!r}."
                    )
                self.decay[at : at + p.size] = penalty.l2
            at += p.size
        self.scale = model._compiled.loss_weights[0] / (self.count * output.shape[-1])
        rows = min(self.count, _SAMPLES)
        self.session_of_loss = self.bound(self.engine.session("evaluate", rows))
        program = self.jacobian_program(output)
        stored = {i: p._storage for i, p in model._params}
        self.products = _core.Engine(program.text(), stored)
        self.session_of_products = self.bound(self.products.session("gradients", rows))
        self.damping = o.damping

    def get_state(self):
        return {"damping": self.damping}

    def set_state(self, state):
        self.damping = state["damping"]

    def jacobian_program(self, output):
        """A Program whose roots are J'J and J'r of a batch: r = prediction - target, rows by the root of their weight.

        A row of J is one sample's derivative of one output: of a kernel the outer product of the layer's input and
        the derivative by its result, of a bias that derivative itself.
        """
        program = self.model._forward.copy()
        program.roots.clear()
        builder = Builder.over(program, self.model._params)
        made = {i: self.place(program, i, p) for i, p in self.trained}
        target = Value(builder, program.add_tensor("target", output.shape, name=output.name))
        weight = Value(builder, program.add_tensor("weight", (None,), name=output.name))
        root = ops.expand_dims(ops.sqrt(weight), -1)
        residual = (Value(builder, output.tensor) - target) * root
        width, products = output.shape[-1], []
        for column in range(width):
            one = builder.once("full", shape=(1,), value=1.0)
            if width > 1:
                one = builder.once("pad", one, shape=(width,), axis=0, start=column)
            one = builder.once("broadcast", one, shape=output.shape)
            by_result, _ = differentiate(builder, [(output.tensor, one.id)], [node.outputs[0] for node in made.values()])
            blocks = []
            for i, p in self.trained:
                node = made[i]
                d = Value(builder, by_result[node.outputs[0]])
                if node.op == "matmul":
                    x = Value(builder, node.inputs[0])
                    d = ops.reshape(ops.expand_dims(x, 2) * ops.expand_dims(d, 1), (-1, p.size))
                blocks.append(d)
            while len(blocks) > 1:
                blocks = [
                    blocks[k] if len(blocks[k : k + MAX_INPUTS]) == 1 else ops.concatenate(blocks[k : k + MAX_INPUTS], axis=1)
                    for k in range(0, len(blocks), MAX_INPUTS)
                ]
            j = blocks[0] * root
            r = residual[:, column : column + 1]
            products.append((builder.emit("matmul_tn", j, j), builder.emit("matmul_tn", j, r)))
        for parts in zip(*products):
            total = parts[0]
            for part in parts[1:]:
                total = builder.emit("add", total, part)
            program.add_root("grad", total.id, program.add_tensor("param", total.shape))
        program.verify()
        return program

    def place(self, program, id, p):
        """The one node that uses a parameter, a product or the sum with a bias."""
        users = [n for n in program.nodes if id in n.inputs]
        [node] = users if len(users) == 1 else [None]
        if (
            node is None
            or node.op not in ("matmul", "bias_add")
            or node.inputs[1] != id
            or len(program.tensors[node.outputs[0]].shape) != 2
        ):
            raise ArgumentError(
                f"{self.owner} trains kernels and biases of Dense layers that are used once, on inputs of shape "
                f"(n, features); {p.name!r} is used otherwise. LBFGS has no such limits."
            )
        return node

    def restart(self):
        self.loss = self.loss_at(self.x)
        self.square = None

    def loss_at(self, x):
        """The loss at x, where the weights are set to."""
        self.write(x)
        session = self.session_of_loss
        session.begin(self.count, min(self.count, _SAMPLES), False, False, 0, 0, 0)
        session.run(-1, -1.0, 0.0)
        return self.total(session)

    def linearise(self):
        """Half the Gauss-Newton matrix and half the gradient of the loss at self.x, where the weights stand."""
        size, session = self.size, self.session_of_products
        square, slope = np.zeros((size, size)), np.zeros(size)
        part, side = np.empty((size, size), self.flat.dtype), np.empty((size, 1), self.flat.dtype)
        session.begin(self.count, min(self.count, _SAMPLES), False, False, 0, 0, 0)
        finished = False
        while not finished:
            _, finished = session.run(1, -1.0, 0.0)
            session.gradient(0, part)
            session.gradient(1, side)
            square += part
            slope += side[:, 0]
        square *= self.scale
        square[np.diag_indices(size)] += self.decay
        self.square, self.slope = square, self.scale * slope + self.decay * self.x

    def iterate(self, rate):
        o = self.optimizer
        if self.square is None:
            self.linearise()
        if self.flat_enough(2 * np.abs(self.slope).max(initial=0)):
            return
        # The same damping for all: a saturated unit has next to no curvature, and damped by that alone it would leap.
        curvature = self.square.diagonal().mean()
        while True:
            damped = self.square.copy()
            damped[np.diag_indices(self.size)] += self.damping * curvature
            try:
                step = np.linalg.solve(damped, -self.slope)
            except np.linalg.LinAlgError:
                step = np.full(self.size, np.nan)
            x = self.moved(step)
            loss = self.loss_at(x) if np.isfinite(x).all() else math.nan
            if loss < self.loss:
                break
            self.damping *= o.damping_increase
            if self.damping > o.max_damping:
                self.damping = o.damping
                o.converged = "no damped step lowers the loss"
                return
        self.damping = max(self.damping / o.damping_decrease, 1e-15)
        before, self.x, self.loss, self.square = self.loss, x, loss, None
        self.small_change(before)
