"""What a host may do to the library, and the system to both: each is answered with a status, by a process that goes on."""

import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import cet
from conftest import BUILD, DIGITS, ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
START = """
import os, resource, signal, sys
import numpy as np
import cet
model = cet.Model(sys.argv[1] + "/model.onnx")
data = cet.Calibration.from_npz(sys.argv[1] + "/calibration.npz")
def codes(threads=2):
    plan = cet.plan(model, data, target_bits=4, method="uniform", coding="affine", samples=64, threads=threads)
    return cet.quantize(model, data, plan, threads=threads)
"""


def host(script, *arguments, timeout=120, **environment):
    """A process that runs a script after START."""
    return subprocess.run(
        [sys.executable, "-c", START + script, str(DIGITS), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
        env={**ENVIRONMENT, **environment})


@pytest.fixture(scope="module")
def spectrum():
    return cet.eigsh(lambda v: np.arange(4000, dtype=np.float32) * v, k=4, n=4000)


@pytest.fixture(scope="module")
def session(model, calibration):
    return cet.Session(model, calibration, target_ratio=8, method="uniform", coding="affine", samples=64)


@pytest.fixture(scope="module")
def writers(quantized, spectrum, session):
    """What writes a file: name, a function of the path."""
    return {"model": quantized.save, "spectrum": spectrum.save, "state": quantized.save_state, "session": session.save}


KINDS = ["model", "spectrum", "state", "session"]


# ---- Disks

@pytest.fixture
def mounted(tmp_path):
    """A file system in memory of 64 kB, for as long as a test runs."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_full_disk_is_a_status_and_leaves_what_was_there(kind, writers, mounted, tmp_path):
    writers[kind](tmp_path / "o")
    assert (tmp_path / "o").stat().st_size > 16 << 10
    old = mounted / "o"
    old.write_bytes(b"before")
    (mounted / "filler").write_bytes(b"\0" * (48 << 10))
    with pytest.raises(cet.IOFailure, match="No space left on device"):
        writers[kind](old)
    assert old.read_bytes() == b"before" and sorted(os.listdir(mounted)) == ["filler", "o"]


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_file_system_is_a_status(kind, writers, mounted):
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(cet.IOFailure, match="Read-only file system"):
        writers[kind](mounted / "o")


def test_folder_without_permission_is_a_status(tmp_path):
    """Root may write anywhere, so the process gives that up."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    os.chmod(tmp_path, 0o755)
    run = host("""
small = codes()
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
try:
    small.save(sys.argv[2] + "/o.onnx")
except cet.IOFailure as error:
    print(error)
""", folder)
    assert run.returncode == 0 and ("Permission denied" in run.stdout), run.stderr
    assert os.listdir(folder) == []


@pytest.mark.parametrize("action", ["SIG_IGN", "SIG_DFL"])
def test_file_size_limit_is_a_status(tmp_path, action):
    """RLIMIT_FSIZE sends SIGXFSZ, which Python ignores and other hosts may not have thought of."""
    run = host(f"""
signal.signal(signal.SIGXFSZ, signal.{action})
small = codes()
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    small.save(sys.argv[2])
except cet.IOFailure as error:
    print(error)
assert not signal.sigpending()
""", tmp_path / "o.onnx")
    assert run.returncode == 0 and "File too large" in run.stdout, run.stderr
    assert os.listdir(tmp_path) == []


# ---- The end of a process

SHIM = """
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <stdio.h>
static void die(const char *call) {
  const char *chosen = getenv("DIE_IN");
  if (chosen != NULL && strcmp(chosen, call) == 0) kill(getpid(), SIGKILL);
}
int fsync(int file) { die("fsync"); (void)file; return 0; }
int rename(const char *from, const char *to) {
  extern int renameat(int, const char *, int, const char *);
  die("rename");
  return renameat(-100, from, -100, to);
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that kills the process in the call that DIE_IN names."""
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c"], check=True)
    return folder / "shim.so"


@pytest.mark.parametrize("old", [None, b"before"])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_process_killed_while_it_saves_leaves_no_half_file(call, old, shim, tmp_path):
    target = tmp_path / "o.onnx"
    if old is not None:
        target.write_bytes(old)
    run = host('codes().save(sys.argv[2]); print("saved")', target, LD_PRELOAD=str(shim), DIE_IN=call)
    assert run.returncode == -signal.SIGKILL and run.stdout == ""
    assert (target.read_bytes() if target.exists() else None) == old
    # What it leaves is under a temporary name, and does not stand in the way of the next.
    assert all(name.startswith(".o.onnx.cet-") for name in os.listdir(tmp_path) if name != "o.onnx")
    run = host('codes().save(sys.argv[2]); print("saved")', target, LD_PRELOAD=str(shim))
    assert run.stdout == "saved\n" and len(target.read_bytes()) > 1 << 13


# ---- Processes, threads, loading

def test_fork_leaves_a_library_that_works_in_both():
    """After threads have run: the child has none of them."""
    run = host("""
signal.alarm(100)
before = codes().to_bytes()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if codes().to_bytes() == before and cet.run(model, {"input": np.zeros((3, 1, 8, 8), np.float32)}) else 1)
assert codes().to_bytes() == before
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
""")
    assert (run.returncode, run.stdout) == (0, "0\n"), run.stderr


def test_fork_of_a_process_that_has_not_used_the_library_works():
    run = host("""
signal.alarm(100)
children = []
for _ in range(3):
    children.append(os.fork())
    if children[-1] == 0:
        signal.alarm(60)
        os._exit(0 if len(codes().to_bytes()) > 1000 else 1)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
""")
    assert (run.returncode, run.stdout) == (0, "[0, 0, 0]\n"), run.stderr


def test_library_is_loaded_and_closed_again_and_again(compile_c, tmp_path):
    """Linked to nothing of it: a host of plugins. Memory and threads end where they were after the second time."""
    source = tmp_path / "loading.c"
    source.write_text(LOADING)
    program = tmp_path / "loading"
    subprocess.run(["cc", "-o", program, source, f"-I{BUILD}/include", "-ldl"], check=True)
    run = subprocess.run([program, BUILD / "lib" / "libcet.so", DIGITS / "model.onnx"], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "ok\n"), run.stdout + run.stderr


LOADING = r"""
#include <cet/cet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static long field(const char *name) {
  char line[256];
  long value = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, file))
    if (strncmp(line, name, strlen(name)) == 0) sscanf(line + strlen(name), ":%ld", &value);
  fclose(file);
  return value;
}

int main(int count, char **arguments) {
  long memory = 0, threads = 0;
  int turn;
  (void)count;
  for (turn = 0; turn < 60; turn++) {
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    cet_status (*load)(const char *, cet_model **);
    cet_status (*inspect)(const cet_model *, char **);
    uint64_t (*live)(void);
    void (*release)(void *), (*end)(cet_model *);
    cet_model *model = NULL;
    char *json = NULL;
    if (library == NULL) return puts(dlerror()), 1;
    *(void **)&load = dlsym(library, "cet_model_load_file");
    *(void **)&inspect = dlsym(library, "cet_model_inspect_json");
    *(void **)&live = dlsym(library, "cet_live_handle_count");
    *(void **)&release = dlsym(library, "cet_free");
    *(void **)&end = dlsym(library, "cet_model_free");
    if (load(arguments[2], &model) != CET_OK || inspect(model, &json) != CET_OK) return puts("calls fail"), 1;
    release(json), end(model);
    if (live() != 0 || dlclose(library) != 0) return puts("handles are left"), 1;
    if (turn == 10) memory = field("VmRSS"), threads = field("Threads");
  }
  if (field("VmRSS") > memory + 4096 || field("Threads") != threads)
    return printf("%ld kB and %ld threads became %ld and %ld\n", memory, threads, field("VmRSS"), field("Threads")), 1;
  puts("ok");
  return 0;
}
"""

NEIGHBOURS = {
    "torch": """
import torch
def torch_works():
    x = torch.ones(8, 3, 16, 16, requires_grad=True)
    torch.nn.functional.conv2d(x, torch.ones(4, 3, 3, 3)).sum().backward()
    return float(x.grad.sum()) == 8 * 3 * 196 * 4 * 9
""",
    "onnx": """
import onnx
def onnx_works():
    onnx.checker.check_model(onnx.load(sys.argv[1] + "/model.onnx"), full_check=True)
    return True
""",
    "onnxruntime": """
import onnxruntime
def onnxruntime_works():
    session = onnxruntime.InferenceSession(sys.argv[1] + "/model.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"input": np.zeros((3, 1, 8, 8), np.float32)})[0].shape == (3, 10)
""",
    "cet": "import cet\n",
}


ORDERS = list(enumerate(itertools.permutations(["torch", "onnx", "onnxruntime"])))


@pytest.mark.parametrize("place, order", ORDERS[::2] + [pytest.param(*order, marks=pytest.mark.long) for order in ORDERS[1::2]], ids=str)
def test_neighbours_imported_in_any_order_work_together(place, order):
    """cet is first, second, third and last in turn. All compute, then again after the others have."""
    for name in order:
        pytest.importorskip(name)
    order = list(order)
    order.insert(place % 4, "cet")
    script = "import sys\nimport numpy as np\n" + "".join(NEIGHBOURS[name] for name in order)
    script += START + "before = codes().to_bytes()\n"
    script += "".join(f"assert {name}_works()\n" for name in order if name != "cet") * 2
    script += "assert codes().to_bytes() == before\nprint('done')\n"
    run = subprocess.run(
        [sys.executable, "-c", script, str(DIGITS)], capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr[-2000:]
