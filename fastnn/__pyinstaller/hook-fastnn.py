"""PyInstaller: what fastnn imports by name at first use, its data and its metadata."""

from importlib.metadata import packages_distributions

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

# Programs that use one of these import it by its full name; the others would carry the libraries behind them for nothing.
_ON_REQUEST = {"__main__", "__pyinstaller", "bench", "cli", "interop", "onnx", "plot", "sklearn"}

hiddenimports = collect_submodules("fastnn", filter=lambda name: not _ON_REQUEST.intersection(name.split(".")[1:2]))
excludedimports = [f"fastnn.{name}" for name in _ON_REQUEST]
# Imported inside functions: for data frames, with every library of such that is installed behind it; by the callback of that
# name; and to register where it is used anyway. A program that needs one imports it by its name.
excludedimports += ["narwhals", "tensorboardX", "threadpoolctl"]
datas = collect_data_files("fastnn", includes=["data/*"])
for distribution in packages_distributions().get("fastnn", ()):
    datas += copy_metadata(distribution)
