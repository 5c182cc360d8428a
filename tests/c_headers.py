"""Models as C headers, compiled and run: for tests, and `python -m tests.c_headers --models 300` for many more.

A program of the header and some rows prints its outputs as bits, so the same one runs here and on an emulated
microcontroller.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from fastnn import _core, errors
from fastnn.backends import xp
from fastnn.c_functions import number

sys.path.insert(0, os.path.dirname(__file__))  # for -m, which has the folder above
from random_models import random_model

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion"]
GCC = ["gcc", "-std=c99", "-O1", *WARNINGS]
# Newlib, which prints through the emulator.
_ARM = ["arm-none-eabi-gcc", "-std=c99", "-O2", "-mthumb", "--specs=rdimon.specs",
        "-Wl,--section-start=.vectors=0,-Tdata=0x20000000", *WARNINGS]  # fmt: skip
ARM_GCC = [*_ARM, "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
ARM_GCC_SMALL = [*_ARM, "-mcpu=cortex-m0", "-DNET_FMA(a,b,c)=((a)*(b)+(c))"]  # without a floating-point unit
ARM_RUN = ["timeout", "20", "qemu-system-arm", "-M", "mps2-an386", "-nographic", "-semihosting", "-kernel"]
# The first two words of memory: the stack's top, and where to begin, which turns the floating-point unit on.
ARM_START = """
#ifdef __arm__
void _start(void);
static void reset(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm volatile("dsb\\n isb");
    _start();
}
extern void (*const vectors[2])(void);
__attribute__((section(".vectors"), used)) void (*const vectors[2])(void) = {(void (*)(void))0x20400000u, reset};
#endif
"""
# The engine's instruction set where it has no fused multiply-add.
PLAIN = ["-DNET_FMA(a,b,c)=((a)*(b)+(c))"] if _core.active_isa() == "baseline" else []


def has_arm():
    """Whether the compiler and the emulator are there."""
    return bool(shutil.which(ARM_GCC[0]) and shutil.which("qemu-system-arm"))


def program(predictor, name, arrays):
    """C that includes the header `name`.h and prints the bits of all outputs for each row."""
    inputs = predictor.program.of_kind("input")
    outputs = [predictor.program.tensors[r.tensor] for r in predictor.program.roots_of("output")]
    real, rows = {"float32": "float", "float64": "double"}[predictor.program.dtype], len(arrays[0])
    lines = [f'#include "{name}.h"', "#include <math.h>", "#include <stdint.h>", "#include <stdio.h>"]
    given = []
    for at, (tensor, array) in enumerate(zip(inputs, arrays)):
        integers, flat = tensor.type == "int32", np.asarray(array).reshape(-1)
        texts = map(str, flat.tolist()) if integers else (number(v, real) for v in flat.tolist())
        size = len(flat) // rows
        lines.append(f"static const {'int32_t' if integers else real} in{at}[] = {{{', '.join(texts)}}};")
        given.append(f"in{at} + row * {size}")
    for at, tensor in enumerate(outputs):
        lines.append(f"static {real} out{at}[{max(int(np.prod(tensor.shape[1:])), 1)}];")
        given.append(f"out{at}")
    word = "uint32_t" if real == "float" else "uint64_t"
    lines += [
        ARM_START,
        f"static {name}_scratch scratch;",
        f"static void show({real} x) {{",
        f"    union {{ {real} x; {word} bits; }} u;",
        "    u.x = x;",
        '    printf("%llx\\n", (unsigned long long)u.bits);',
        "}",
        "int main(void) {",
        f"    for (size_t row = 0; row < {rows}; row++) {{",
    ]
    call = f"{name}_predict({', '.join(given)}, &scratch)"
    lines.append(f"        if ({call}) return 1;" if any(t.type == "int32" for t in inputs) else f"        {call};")
    for at, tensor in enumerate(outputs):
        lines.append(f"        for (size_t i = 0; i < sizeof out{at} / sizeof out{at}[0]; i++) show(out{at}[i]);")
    return "\n".join([*lines, "    }", "    return 0;", "}", ""])


def outputs_of(predictor, folder, arrays, compiler=GCC, run=(), name="net"):
    """What the header of a Predictor computes for rows of its inputs: a list of arrays."""
    path = os.path.join(folder, name)
    predictor.export_c(f"{path}.h")
    with open(f"{path}.c", "w") as file:
        file.write(program(predictor, name, arrays))
    subprocess.run([*compiler, *PLAIN, f"{path}.c", "-o", path, "-lm"], check=True)
    text = subprocess.run([*run, path], check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True).stdout
    dtype = predictor.program.dtype
    word = np.dtype("uint32" if dtype == "float32" else "uint64")
    flat = np.array([int(line, 16) for line in text.split()], word).view(dtype).reshape(len(arrays[0]), -1)
    made, at = [], 0
    for root in predictor.program.roots_of("output"):
        shape = predictor.program.tensors[root.tensor].shape[1:]
        size = int(np.prod(shape))
        made.append(flat[:, at : at + size].reshape(-1, *shape))
        at += size
    return made


def as_list(made):
    """Outputs of a Predictor or Model of any form as a list."""
    return list(made.values()) if isinstance(made, dict) else list(made) if isinstance(made, (list, tuple)) else [made]


def distance(got, want):
    """The largest difference, relative to the largest number wanted."""
    return max(float(np.abs(g - w).max(initial=0)) / (float(np.abs(w).max(initial=0)) or 1.0) for g, w in zip(got, want))


def check(model, arrays, folder, weights=None, compiler=GCC, run=()):
    """The distances of what the header computes: from the frozen model, and both from float64 without rounding.

    Returns
    -------
    tuple of three float
    """
    given = arrays if len(arrays) > 1 else arrays[0]
    predictor = model.freeze(weights)
    got = outputs_of(predictor, folder, arrays, compiler, run)
    want = as_list(predictor(given))
    program = predictor.program
    values = {t.id: predictor.read(t.id, t.shape) for t in program.of_kind("param")}
    for t in program.of_kind("param"):
        if t.type == "bfloat16":
            values[t.id] = (values[t.id].astype(np.uint32) << 16).view(np.float32)
    values.update((t.id, a) for t, a in zip(program.of_kind("input"), arrays))
    known = xp.run(program, values, "predict")
    exact = [known[r.tensor] for r in program.roots_of("output")]
    return distance(got, want), distance(got, exact), distance(want, exact)


def main(arguments=None):
    """Compiles and runs the headers of many random models."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--weights", choices=["int8", "bfloat16"])
    parser.add_argument("--arm", action="store_true", help="for a Cortex-M4, under QEMU")
    parser.add_argument("--tolerance", type=float, default=1e-6)
    options = parser.parse_args(arguments)
    machine = {"compiler": ARM_GCC, "run": ARM_RUN} if options.arm else {}
    done = same = refused = 0
    wrong, largest = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.models):
            model, arrays = random_model(np.random.default_rng(seed), "float32" if options.weights else None)
            try:
                found = check(model, arrays, folder, options.weights, **machine)
            except errors.UnsupportedError:
                refused += 1
                continue
            done, same, largest = done + 1, same + (found[0] == 0), max(largest, found[0])
            if not found[0] <= options.tolerance:
                wrong.append(seed)
                print(f"seed {seed}: {found[0]:.2g} from the frozen model; {found[1]:.2g} and it {found[2]:.2g} from float64")
    print(f"{done} models, {same} with the same bits, at most {largest:.2g} from the frozen model; {refused} refused")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
