#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU, Linux), numpy 2.4.6.
# A good guess: once torch has run an operator on several threads, a forked process may run none on more than one, as
#   OpenMP's library waits there for threads that only the parent has; so children set one thread, as torch's own data
#   loader has them do.
# Seen: after the parent has called `omp_pause_resource_all` of the very library that torch loaded, which ends the threads
#   of the calling thread, parent and child both go on with several: each starts threads anew.
# For coset: kernels run on torch's threads, so this is called before every fork, and kernels and torch's operators have
#   threads in the child.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import ctypes
import os
import signal

import torch

HARD = 2  # omp_pause_hard, of omp.h


def threads():
    return len(os.listdir("/proc/self/task"))


def add():
    return torch.zeros(2_000_000).add_(1).sum().item()


torch.set_num_threads(2)
alone = threads()
assert add() == 2_000_000
working = threads()
assert ctypes.CDLL(torch._C.__file__).omp_pause_resource_all(HARD) == 0
paused = threads()
child = os.fork()
begun = threads()
signal.alarm(60)  # ends whichever would wait
assert add() == 2_000_000
grown = threads() - begun
if not child:
    os._exit(grown)
assert (working - alone, paused - alone, grown) == (1, 0, 1), (alone, working, paused, grown)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(f"threads: {alone} before, {working} after an operator, {paused} when paused; the child started {status}")
assert status == 1
print("as described")
PYTHON
