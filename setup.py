"""Builds fastnn._core: the C library, one kernel table per instruction set and type, and the binding.

The same objects, without the binding, become the static library that the package carries beside its header.
"""

import platform
import shutil
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from itertools import product
from os import cpu_count, environ, path, unlink

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

with open("pyproject.toml", "rb") as file:
    VERSION = tomllib.load(file)["project"]["version"]

FLAGS = [
    "-std=gnu11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-fvisibility=hidden", "-pthread", "-Wno-psabi",
]  # fmt: skip

# What only POSIX has.
POSIX = {"-fvisibility=hidden", "-pthread", "-fno-asynchronous-unwind-tables"}

# The loops of a product begin at a cache line: elsewhere they lose some percent where two threads share a core. Nothing is
# thrown through a kernel.
KERNEL_FLAGS = ["-falign-loops=64", "-fno-asynchronous-unwind-tables"]

# Processor family: {instruction set: the flags that build its table}; csrc/dispatch.c chooses among them.
AVX512 = [
    "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mfma", "-mavx2", "-mprefer-vector-width=512",
]  # fmt: skip
INSTRUCTION_SETS = {
    "x86-64": {
        "baseline": ["-Os"],  # of processors from before 2013, for which the others need not make room
        "avx2": ["-mavx2", "-mfma"],
        "avx512": AVX512,
        "avx512bf16": [*AVX512, "-mavx512bf16"],
    },
    "aarch64": {"neon": []},
    "other": {"baseline": []},
}
FLOAT32_ONLY = {"avx512bf16"}  # it has mixed products alone
FAMILIES = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}

if platform.system() == "Darwin":
    # A universal Python would ask for both processors in one call of the compiler.
    environ.setdefault("ARCHFLAGS", f"-arch {platform.machine()}")


def family():
    """The processor family that is built for."""
    if "ARCHFLAGS" in environ:
        name = environ["ARCHFLAGS"].split()[-1]
    else:
        name = sysconfig.get_platform().rpartition("-")[2]
    return FAMILIES.get(name, "other")


# What the package carries for programs in C.
LIBRARY_FILES = [
    "fastnn/include/fastnn.h",
    "fastnn/lib/fastnn.lib" if sysconfig.get_platform().startswith("win") else "fastnn/lib/libfastnn.a",
]


class BuildExt(build_ext):
    """Compiles the kernel tables beside the extension's own sources; where Python is MSVC's, by clang-cl."""

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            self.use_clang_cl()
            ext.extra_compile_args, ext.extra_link_args = self.spelled(FLAGS), []
        jobs = [
            (instruction_set, bits)
            for instruction_set, bits in product(INSTRUCTION_SETS[family()].items(), (32, 64))
            if bits == 32 or instruction_set[0] not in FLOAT32_ONLY
        ]
        with ThreadPoolExecutor(cpu_count()) as pool:
            tables = list(pool.map(lambda job: self.build_table(ext, *job), jobs))
        ext.extra_objects = tables
        super().build_extension(ext)
        self.build_library(ext)

    def build_library(self, ext):
        """Puts the header and a static library of what was compiled into the package."""
        _, *sources = self.compiler.object_filenames(ext.sources, output_dir=self.build_temp)
        objects = [*sources, *ext.extra_objects]
        header, library = (path.join(self.build_lib, file) for file in LIBRARY_FILES)
        self.mkpath(path.dirname(header))
        self.copy_file("csrc/fastnn.h", header)
        if self.force or newer_group(objects, library):
            if path.exists(library):
                unlink(library)  # or it would keep members that are there no more
            self.compiler.create_static_lib(objects, "fastnn", output_dir=path.dirname(library))

    def copy_extensions_to_source(self):
        """In place: header and library too."""
        super().copy_extensions_to_source()
        for file in LIBRARY_FILES:
            self.mkpath(path.dirname(file))
            self.copy_file(path.join(self.build_lib, file), file)

    def get_outputs(self):
        return [*super().get_outputs(), *(path.join(self.build_lib, file) for file in LIBRARY_FILES)]

    def use_clang_cl(self):
        """Puts clang-cl in the place of cl, which lacks the vector extensions that the kernels are written in."""
        clang = shutil.which(environ.get("CC", "clang-cl"))
        if clang is None:
            raise CompileError(
                f"fastnn needs clang-cl, LLVM's compiler with MSVC's options: there is no {environ.get('CC', 'clang-cl')!r} on "
                "PATH; install LLVM, or set CC to the path of clang-cl.exe"
            )
        if not self.compiler.initialized:
            self.compiler.initialize(self.plat_name)
        self.compiler.cc = clang
        # Whole-program code is MSVC's own format.
        self.compiler.compile_options.remove("/GL")
        self.compiler.ldflags_shared.remove("/LTCG")

    def spelled(self, flags):
        """The flags as the compiler takes them."""
        if self.compiler.compiler_type != "msvc":
            return flags
        return [f"/clang:{flag}" for flag in flags if flag not in POSIX]

    def build_table(self, ext, instruction_set, bits):
        """Compiles kernels/table.c for one instruction set and type, and returns the object's path."""
        name, flags = instruction_set
        source = "csrc/kernels/table.c"
        folder = path.join(self.build_temp, f"{name}_{bits}")
        [target] = self.compiler.object_filenames([source], output_dir=folder)
        if self.force or newer_group([source, *ext.depends], target):
            self.compiler.compile(
                [source],
                output_dir=folder,
                macros=[("FNN_ISA", name), ("REAL_BITS", str(bits))],
                extra_postargs=self.spelled(FLAGS + KERNEL_FLAGS + flags),
            )
        return target


# Free-threaded Pythons have no stable ABI yet.
stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")

core = Extension(
    "fastnn._core",
    ["fastnn/_core.pyx", *sorted(glob("csrc/*.c"))],
    include_dirs=["csrc"],
    depends=sorted(glob("csrc/*.h") + glob("csrc/*.def") + glob("csrc/kernels/*")) + ["pyproject.toml", "setup.py"],
    define_macros=[("FNN_VERSION_TEXT", f'"{VERSION}"'), *([("Py_LIMITED_API", "0x030B0000")] if stable_abi else [])],
    py_limited_api=stable_abi,
    export_symbols=["fnn_get_threads", "fnn_set_threads"],  # Windows hides the others; threadpoolctl looks for these
    extra_compile_args=FLAGS,
    extra_link_args=["-pthread"],
)

setup(
    ext_modules=cythonize([core], build_dir="build"),
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable_abi else {},
)
