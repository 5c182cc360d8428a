"""Speed of fastnn beside other ways to do the same work.

    python -m benchmarks [--quick]            beside NumPy: tables, and JSON in benchmarks/results
    python -m benchmarks.peers [--quick]      beside PyTorch, JAX, scikit-learn and ONNX Runtime too
    python benchmarks/compare.py OLD NEW      what became slower from one file to the other
    pytest benchmarks                         the work of the first under pytest-benchmark

sides.py says what a side of a comparison is, nets.py what it works on, rounds.py how it is timed.
"""
