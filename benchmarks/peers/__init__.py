"""Other libraries on the nets of fastnn/bench/nets.py, one script a peer; they run in an environment of their own.

    python -m benchmarks.peers [--quick]      makes it, then tables, and JSON and a plot in benchmarks/results
"""

PEERS = {
    "torch": "benchmarks.peers.torch_net",
    "torch.compile": "benchmarks.peers.torch_compile_net",
    "jax": "benchmarks.peers.jax_net",
    "jax scan": "benchmarks.peers.jax_scan_net",
    "sklearn": "benchmarks.peers.sklearn_net",
    "onnxruntime": "benchmarks.peers.onnxruntime_net",
}
