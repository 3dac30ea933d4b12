"""What the measurements share: programs in a folder of their own, their CPU time and memory, lines of figures."""
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TICKS = os.sysconf("SC_CLK_TCK")


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores of {model.group(1) if model else platform.machine()}, load {os.getloadavg()[0]:.1f} at the start"


def emit(name, value, unit, conditions, floor=None, peer=None):
    line = {"name": name, "value": value, "unit": unit}
    if floor is not None:
        line["floor"] = round(floor, 3)
        line["ratio"] = round(value / floor, 3)
    if peer is not None:
        line["peer"] = peer
    line["conditions"] = f"{conditions}; {machine()}"
    print(json.dumps(line), flush=True)


def note(text):
    print(f"report: {text}", file=sys.stderr, flush=True)


def cargo(*arguments, **more):
    subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, **more)


def packages(names):
    return [word for name in names for word in ("-p", name)]


def criterion(bench, identifier, quick):
    """The median of one criterion measurement, in nanoseconds."""
    more = ["--quick"] if quick else ["--warm-up-time", "1", "--measurement-time", "3"]
    note(f"criterion {bench} {identifier}")
    cargo("bench", "--locked", "--quiet", "-p", "benches", "--bench", bench, "--", identifier, *more, stderr=subprocess.DEVNULL)
    file = TARGET / "criterion" / identifier / "new" / "estimates.json"
    return json.loads(file.read_text())["median"]["point_estimate"]


class Lab:
    """Programs of this checkout, in the release profile, that run in a folder of their own and end with it."""

    def __init__(self, names):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ledgate-report-"))
        self.processes = []
        note("release build")
        cargo("build", "--locked", "--release", "--quiet", *packages(names))

    def program(self, name):
        built = TARGET / "release" / name
        return built if built.exists() else name

    def run(self, program, *arguments):
        done = subprocess.run([self.program(program), *arguments], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"report: {program} {arguments[0]} failed: {done.stderr}{done.stdout[-2000:]}")
        return done.stdout

    def start(self, program, *arguments, cores=None):
        log = open(self.folder / f"{program}.log", "w")
        pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        process = subprocess.Popen([self.program(program), *arguments], cwd=self.folder, stdout=log, stderr=log, preexec_fn=pin)
        self.processes.append(process)
        return process

    def wait(self, ready):
        for _ in range(100):
            if ready():
                return
            time.sleep(0.1)
        logs = "".join(f.read_text()[-2000:] for f in self.folder.glob("*.log"))
        raise SystemExit(f"report: a program did not come up\n{logs}")

    def ledger(self, port):
        """A ledger node with one member, "lab". Gives its URL."""
        self.run("ledger-node", "init", "--dir", "ledger", "--member", "lab", "--organisation", "Lab")
        self.start("ledger-node", "run", "--dir", "ledger", "--listen", f"127.0.0.1:{port}")
        node = f"http://127.0.0.1:{port}"
        self.wait(lambda: subprocess.run([self.program("ledger-node"), "status", "0" * 64, "--node", node],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)
        return node

    def submit(self, node, certificates, *more):
        self.run("ledger-node", "submit", certificates, *more, "--node", node, "--member", "lab", "--key", "ledger/lab.key")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def cpu_seconds(process):
    """What a process has spent, user and system."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(process):
    """The resident memory of a process, in octets."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
