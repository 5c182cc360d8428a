"""Makes bfloat16.npz and bfloat16.json: products of operands rounded to bfloat16, and their gradients, by PyTorch.

    pip install torch==2.13.0 numpy && python tests/golden/make_bfloat16.py

"given" are float32: x (rows, k), w (k, n), dy (rows, n). "float64" are the products of the operands that torch
rounded to bfloat16, in float64; "bfloat16" what torch's own bfloat16 product makes of them, which is rounded to
bfloat16. In a case the order is y = x w, dx = dy w', dw = x' dy.
"""

import numpy as np
import torch
from store import Writer


def main():
    writer = Writer(torch=torch.__version__)
    rng = np.random.default_rng(0)
    for rows, k, n in [(1, 1, 1), (3, 7, 5), (5, 33, 17), (20, 18, 35)]:
        given = [np.float32(rng.normal(size=s) * rng.choice([0.01, 1, 100])) for s in ((rows, k), (k, n), (rows, n))]
        given[0].flat[0] = 1 + 2**-8  # a tie, to the even 1
        given[1].flat[0] = 1 + 3 * 2**-8  # a tie, to the even 1 + 2^-6
        x, w, dy = (torch.from_numpy(a).bfloat16() for a in given)
        case = {"given": [writer.put("given", a, np.float32) for a in given]}
        for group, kind in (("float64", torch.float64), ("bfloat16", torch.bfloat16)):
            a, b, d = (t.to(kind) for t in (x, w, dy))
            dtype = np.float64 if group == "float64" else np.float32
            case[group] = [writer.put(group, p.to(torch.float64).numpy(), dtype) for p in (a @ b, d @ b.T, a.T @ d)]
        writer.add(case)
    writer.save("bfloat16")


if __name__ == "__main__":
    main()
