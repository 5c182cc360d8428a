"""`fastnn launch`: a script on several processes, started again where one of them dies."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .arguments import natural, positive


def add_to(commands):
    """Declares the command."""
    parser = commands.add_parser(
        "launch",
        help="run a training script on several processes",
        description=(
            "Runs mpiexec with a script that trains with fastnn.distributed. An exception in one process, or its death, ends\n"
            "all; the job is then started again and goes on from the checkpoint that the script's fit(resume=...) names."
        ),
        epilog="example: fastnn launch -n 8 --max-restarts 3 train.py --epochs 10",
    )
    parser.add_argument("-n", "--processes", type=positive, required=True, metavar="N", help="how many processes")
    parser.add_argument("--max-restarts", type=natural, default=0, metavar="N", help="start again so often (0)")
    parser.add_argument("script", help="a Python file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    parser.set_defaults(run=run)


def run(options):
    from ..errors import FileAccessError

    if not os.path.isfile(options.script):
        raise FileAccessError(f"cannot read '{options.script}': there is no such file", filename=options.script)
    command = [_mpiexec(), "-n", str(options.processes), sys.executable, "-m", "mpi4py", options.script, *options.arguments]
    for left in range(options.max_restarts, -1, -1):
        code = _once(command)
        if code == 0:
            return 0
        if left:
            print(f"fastnn: the job ended with code {code} and starts again; restarts left: {left - 1}", file=sys.stderr)
    print(f"fastnn: the job ended with code {code}", file=sys.stderr)
    return 4


def _mpiexec():
    """That of this environment, else that of the system."""
    import importlib.util

    from ..errors import MissingExtraError

    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        raise MissingExtraError.of("fastnn launch", "mpi4py and mpiexec", "mpi")
    return found


def _once(command):
    """The exit code of the job; Ctrl-C reaches it too, and is waited for."""
    with subprocess.Popen(command) as job:
        try:
            return job.wait()
        except KeyboardInterrupt:
            job.wait()
            raise
