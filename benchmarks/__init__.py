"""Speed of fastnn beside other ways to do the same work.

    python -m benchmarks [--quick]      tables, and JSON in benchmarks/results
    pytest benchmarks                   the same work under pytest-benchmark

A side of the comparison is a module with ``version()``, ``Trainer(net, weights)`` (methods ``steps`` and
``epoch``) and ``predictor(net, weights, rows)``, as numpy_net.py; __main__.py lists the sides in one dict.
"""
