"""fastnn's thread pool among those that threadpoolctl limits, whichever of the two is imported first."""

import os
import sys
from importlib.machinery import PathFinder


def register(threadpoolctl):
    """Makes the pool known to the imported module `threadpoolctl`."""
    from . import _core, config

    class FastNNController(threadpoolctl.LibController):
        user_api = internal_api = "fastnn"
        filename_prefixes = (os.path.basename(_core.__file__).lower(),)
        check_symbols = ("fnn_set_threads",)

        def get_num_threads(self):
            return _core.get_threads()

        def set_num_threads(self, num_threads):
            config.set_num_threads(min(num_threads, config.MAX_THREADS))

        def get_version(self):
            return config.version()

    threadpoolctl.register(FastNNController)


class _Finder:
    """Stands on `sys.meta_path` to register as soon as threadpoolctl has been imported."""

    waits = True

    def find_spec(self, name, path=None, target=None):
        if name != "threadpoolctl" or not self.waits:
            return None
        self.waits = False
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                register(module)

            spec.loader.exec_module = exec_module
        return spec


def follow():
    """Registers now where threadpoolctl is imported, otherwise as soon as it will be."""
    if "threadpoolctl" in sys.modules:
        register(sys.modules["threadpoolctl"])
    else:
        sys.meta_path.insert(0, _Finder())
