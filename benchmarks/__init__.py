"""Speed of fastnn beside other ways to do the same work.

    python -m benchmarks [--quick]            beside NumPy: tables, and JSON in benchmarks/results
    python -m benchmarks.peers [--quick]      beside PyTorch, JAX, scikit-learn and ONNX Runtime too
    python benchmarks/compare.py OLD NEW      what became slower from one file to the other
    pytest benchmarks                         the work of the first under pytest-benchmark

Nets, sides and timing are those of `fastnn bench`, in fastnn/bench/.
"""
