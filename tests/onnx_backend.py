"""fastnn as a backend of ONNX, for ONNX's own tests of operators."""

import glob
import os
import warnings

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

import fastnn as fnn
from fastnn.onnx import files
from fastnn.onnx.operators import OPERATORS
from fastnn.onnx.reader import Reader


class FastnnBackend(Backend):
    """Runs models on the CPU."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        return Prepared(model)

    @classmethod
    def supports_device(cls, device):
        return device == "CPU"


class Prepared(BackendRep):
    """A graph whose inputs with as many rows as the first one are samples; the others become initializers."""

    def __init__(self, model):
        self.proto = model

    def run(self, inputs, **kwargs):
        arrays = dict(zip([i.name for i in self.proto.graph.input], inputs))
        rows = next((a.shape[0] for a in arrays.values() if a.ndim), 0)
        known = {n.input[i] for n in self.proto.graph.node for i in OPERATORS[n.op_type].known if i < len(n.input)}
        samples = [k for k, a in arrays.items() if a.ndim and a.shape[0] == rows and k not in known and a.dtype.kind in "fiub"]
        model = fnn.from_onnx(with_constants(self.proto, {k: v for k, v in arrays.items() if k not in samples}))
        made = model.predict([arrays[name] for name in samples], batch_size=max(rows, 1), check_finite=False, verbose=0)
        types = [onnx.helper.tensor_dtype_to_np_dtype(o.type.tensor_type.elem_type) for o in self.proto.graph.output]
        return [m.astype(t) for m, t in zip(made if isinstance(made, list) else [made], types, strict=True)]


def folded(proto, inputs):
    """The outputs where all inputs are numbers of the file."""
    arrays = dict(zip([i.name for i in proto.graph.input], inputs))
    reader = Reader(files.read(with_constants(proto, arrays)))
    for name in arrays:  # constants, not weights
        reader.values[name] = reader.graph.array(name)
        reader.types[name] = reader.values[name].dtype.name
    reader.run()
    return [reader.value(name) for name in reader.outputs]


def with_constants(proto, arrays):
    """The model with inputs replaced by initializers."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    kept = [i for i in made.graph.input if i.name not in arrays]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in arrays.items())
    return made


def node_cases():
    """{name: (model, [(inputs, outputs), ...], rtol, atol)} of ONNX's tests of the operators that fastnn reads."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        cases = load_model_tests(kind="node")
    found = {}
    for case in cases:
        model = case.model or onnx.load(os.path.join(case.model_dir, "model.onnx"))
        if all(n.op_type in OPERATORS and not n.domain for n in model.graph.node):
            tensors = all(v.type.HasField("tensor_type") for v in (*model.graph.input, *model.graph.output))
            found[case.name] = model, list(_data(case)) if tensors else [([[]], [])], case.rtol, case.atol
    return found


def _data(case):
    if case.data_sets:
        for pair in case.data_sets:
            yield tuple([_array(a) for a in arrays] for arrays in pair)
        return
    for folder in sorted(glob.glob(os.path.join(case.model_dir, "test_data_set_*"))):
        pair = []
        for kind in ("input", "output"):
            paths = [os.path.join(folder, f"{kind}_{i}.pb") for i in range(len(glob.glob(os.path.join(folder, f"{kind}_*.pb"))))]
            pair.append([_array(_tensor(path)) for path in paths])
        yield tuple(pair)


def _tensor(path):
    with open(path, "rb") as file:
        return onnx.TensorProto.FromString(file.read())


def _array(a):
    return onnx.numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a if isinstance(a, list) else np.asarray(a)


def fault(run, data, rtol, atol):
    """What is wrong with the outputs; None for nothing. Of an error that fastnn raises its text."""
    for inputs, wanted in data:
        if any(isinstance(a, list) for a in [*inputs, *wanted]):
            return "a list of tensors"
        try:
            made = run(inputs)
        except fnn.FastNNError as error:
            return f"{type(error).__name__}: {error}"
        for got, want in zip(made, wanted, strict=True):
            got = np.asarray(got)
            if got.shape != want.shape or (got.dtype != want.dtype and want.dtype.name != "bfloat16"):
                return f"wrong: {got.dtype} {got.shape}, not {want.dtype} {want.shape}"
            if got.dtype.kind in "OU":
                if got.tolist() != want.tolist():
                    return "wrong: other texts"
            elif not np.allclose(got.astype(np.float64), want.astype(np.float64), rtol, max(atol, 1e-6), equal_nan=True):
                return "wrong: other numbers"
    return None
