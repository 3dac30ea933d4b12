"""ocsp-bridge under load, beside a bare hyper server and `openssl ocsp` in the same run."""
import base64
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import time
import urllib.parse
import urllib.request

from measure import Lab, cpu_seconds, emit, note, resident

NODE, BRIDGE, METRICS, BARE, READING, OPENSSL = 15510, 15511, 15512, 15513, 15514, 15515
HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = {"wrk": "wrk", "openssl": "openssl"}
# The servers take turns on one half of the cores, the client has the other half.
CORES = sorted(os.sched_getaffinity(0))
SERVER, CLIENT = set(CORES[: max(1, len(CORES) // 2)]), set(CORES[len(CORES) // 2:])
DEVICES, CONNECTIONS, NONCE = 64, 32, 16
CONFIG = """
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[device]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[signer]
keyUsage = critical,digitalSignature
extendedKeyUsage = OCSPSigning
[req]
distinguished_name = name
[name]
"""


class Responders(Lab):
    """A bridge over a ledger node that holds a CA and its devices; requests about them, with and without a nonce."""

    def __init__(self):
        super().__init__(["ledger-node", "ocsp-bridge", "benches"])
        note(f"{DEVICES} devices: keys, certificates, records, requests")
        (self.folder / "x.cnf").write_text(CONFIG)
        self.certificate("ca", "ca", "-days", "3650")
        for n in range(DEVICES):
            self.issued(f"device{n}", "device", 0x1000 + n)
        self.issued("openssl-signer", "signer", 0xFFF)
        devices = "".join((self.folder / f"device{n}.pem").read_text() for n in range(DEVICES))
        (self.folder / "devices.pem").write_text(devices)
        node = self.ledger(NODE)
        self.submit(node, "ca.pem", "--class", "ca")
        self.submit(node, "devices.pem")
        for name, nonce in (("cached", "-no_nonce"), ("nonces", "-nonce")):
            with open(self.folder / f"{name}.requests", "w") as file:
                for n in range(DEVICES):
                    self.run("openssl", "ocsp", "-issuer", "ca.pem", "-cert", f"device{n}.pem", nonce, "-reqout", f"{name}.der")
                    file.write((self.folder / f"{name}.der").read_bytes().hex() + "\n")
        with open(self.folder / "get.requests", "w") as file:
            for line in (self.folder / "cached.requests").read_text().split():
                file.write("/" + urllib.parse.quote(base64.b64encode(bytes.fromhex(line)), safe="") + "\n")
        self.run("ocsp-bridge", "init", "--dir", "bridge", "--node", node)
        (self.folder / "bridge.toml").write_text(f"""
[listen]
address = "127.0.0.1:{BRIDGE}"
[signer]
certificate = "bridge/signer.pem"
key = "bridge/signer.key"
[ledger]
nodes = ["{node}"]
[metrics]
listen = "127.0.0.1:{METRICS}"
""")
        self.bridge = self.start("ocsp-bridge", "run", "--config", "bridge.toml", cores=SERVER)
        self.wait(lambda: self.is_ready())
        # Each once, so that the look-ups on the ledger are over.
        answers = [self.post(bytes.fromhex(line)) for line in (self.folder / "cached.requests").read_text().split()]
        self.octets = round(statistics.median(map(len, answers)))
        if min(map(len, answers)) < 100:
            raise SystemExit(f"report: the bridge signs nothing: {min(answers, key=len).hex()}")

    def certificate(self, name, section, *more):
        self.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                 "-out", f"{name}.pem", "-subj", f"/O=Lab/CN={name}", "-config", "x.cnf", "-extensions", section, *more)

    def issued(self, name, section, serial):
        self.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key",
                 "-out", f"{name}.csr", "-subj", f"/O=Lab/CN={name}", "-config", "x.cnf")
        self.run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", hex(serial),
                 "-days", "365", "-extfile", "x.cnf", "-extensions", section, "-out", f"{name}.pem")

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def post(self, der):
        request = urllib.request.Request(f"http://127.0.0.1:{BRIDGE}/", der, {"Content-Type": "application/ocsp-request"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read()

    def counter(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=5) as answer:
            found = re.search(rf"^ledgate_ocsp_bridge_{name} (\d+)", answer.read().decode(), re.M)
            return int(found.group(1)) if found else 0

    def bare(self, port, *more):
        server = self.start("ocsp-load", "bare", "--listen", f"127.0.0.1:{port}", "--octets", str(self.octets), *more, cores=SERVER)
        self.wait(lambda: listens(port))
        return server

    def openssl(self):
        index = "".join(f"V\t491231000000Z\t\t{0x1000 + n:X}\tunknown\t/O=Lab/CN=device{n}\n" for n in range(DEVICES))
        (self.folder / "index.txt").write_text(index)
        server = self.start("openssl", "ocsp", "-port", str(OPENSSL), "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "openssl-signer.pem",
                            "-rkey", "openssl-signer.key", "-rmd", "sha256", "-nmin", "5", cores=SERVER)
        # It hangs for good once a client connects and sends nothing: look, do not touch.
        self.wait(lambda: listens(OPENSSL))
        return server

    def client(self, command, env=None):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env={**os.environ, **(env or {})},
                              preexec_fn=lambda: os.sched_setaffinity(0, CLIENT))
        if done.returncode:
            raise SystemExit(f"report: {command[0]} failed: {done.stderr}{done.stdout[-2000:]}")
        return done.stdout

    def wrk(self, server, port, requests, seconds):
        """Requests a second, microseconds of the server's CPU for each."""
        env = {"OCSP_REQUESTS": f"{requests}.requests"}
        more = {"nonces": "OCSP_NONCES", "get": "OCSP_GET"}.get(requests)
        if more:
            env[more] = "1"
        before = cpu_seconds(server)
        out = self.client(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "ocsp.lua"), f"http://127.0.0.1:{port}/"], env)
        spent = cpu_seconds(server) - before
        report = json.loads(out.strip().splitlines()[-1])
        if report["errors"] or not report["requests"]:
            raise SystemExit(f"report: wrk: {report}")
        return report["requests"], report["requests"] / report["seconds"], spent / report["requests"] * 1e6

    def closing(self, server, port, count):
        """Microseconds of the server's CPU for each request, every one on a connection of its own."""
        before = cpu_seconds(server)
        out = self.client([self.program("ocsp-load"), "closing", "--address", f"127.0.0.1:{port}", "--requests", "cached.requests", "--count", str(count)])
        spent = cpu_seconds(server) - before
        if json.loads(out)["not_signed"]:
            raise SystemExit(f"report: not every answer was signed: {out}")
        return spent / count * 1e6

    def signature(self, count):
        """Microseconds of CPU for one signature."""
        command = [self.program("ocsp-load"), "sign", "--count", str(count), "--octets", "220"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, SERVER))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / count * 1e6

    def open_loop(self, rate, seconds, *more, port=BRIDGE):
        return json.loads(self.client([self.program("ocsp-load"), "open-loop", "--address", f"127.0.0.1:{port}", "--requests", "cached.requests",
                                       "--rate", str(rate), "--seconds", str(seconds), *more]))


def spread(ratios):
    """Of ratios that are in order."""
    return f"ratio of the rounds {ratios[0]:.2f} to {ratios[-1]:.2f}, median {statistics.median(ratios):.2f}"


def listens(port):
    """Whether a socket listens on this port, without a connection to it."""
    tables = "".join(pathlib.Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    return re.search(rf":{port:04X} [0-9A-F:]+ 0A ", tables) is not None


def lacks(*tools):
    """Whether a tool is missing; says so."""
    missing = [f"{tool} (Debian package {PACKAGES[tool]})" for tool in tools if shutil.which(tool) is None]
    if missing:
        note(f"skipped: there is no {', no '.join(missing)}")
    return bool(missing)


def ocsp(quick):
    """ocsp.cached.cpu_us, ocsp.get.cpu_us, ocsp.nonce.cpu_us, ocsp.vs_openssl, ocsp.vs_openssl_closing, ocsp.cached.per_s, ocsp.get.per_s, ocsp.half_load.p99_ms"""
    if lacks("wrk", "openssl"):
        return
    rounds, seconds, count = (1, 1, 500) if quick else (7, 3, 6000)
    seen = {}

    def take(name, value):
        seen.setdefault(name, []).append(value)

    with Responders() as lab:
        bare, reading = lab.bare(BARE), lab.bare(READING, "--read")
        peer = lab.openssl()
        for turn in range(rounds):
            note(f"round {turn + 1} of {rounds}: bare hyper, cached, with nonces, signatures, openssl in turn")
            _, per_s, cpu = lab.wrk(bare, BARE, "cached", seconds)
            take("bare.per_s", per_s), take("bare.cpu", cpu)
            take("reading.cpu", lab.wrk(reading, READING, "cached", seconds)[2])
            _, per_s, cpu = lab.wrk(bare, BARE, "get", seconds)
            take("bare_get.per_s", per_s), take("bare_get.cpu", cpu)
            for name in ("cached", "get"):
                signed, cached = lab.counter("signatures_total"), lab.counter("cached_answers_total")
                requests, per_s, cpu = lab.wrk(lab.bridge, BRIDGE, name, seconds)
                take(f"{name}.per_s", per_s), take(f"{name}.cpu", cpu)
                if lab.counter("cached_answers_total") - cached < 0.99 * requests or lab.counter("signatures_total") - signed > 4 * DEVICES:
                    raise SystemExit("report: the bridge did not answer from its cache")
            signed = lab.counter("signatures_total")
            requests, per_s, cpu = lab.wrk(lab.bridge, BRIDGE, "nonces", seconds)
            take("nonce.per_s", per_s), take("nonce.cpu", cpu)
            if lab.counter("signatures_total") - signed < requests:
                raise SystemExit("report: the bridge did not sign each answer with a nonce")
            take("signature.cpu", lab.signature(10 * count))
            take("openssl.cpu", lab.closing(peer, OPENSSL, count))
            take("closing.cpu", lab.closing(lab.bridge, BRIDGE, count))
        mid = {name: statistics.median(values) for name, values in seen.items()}
        of_bare = {name: sorted(a / b for a, b in zip(seen[f"{name}.per_s"], seen[f"{floor}.per_s"]))
                   for name, floor in (("cached", "bare"), ("get", "bare_get"))}
        conditions = (f"median of {rounds} rounds of {seconds} s in turn, POST, {CONNECTIONS} connections kept alive by wrk, {DEVICES} certificates in turn, answers of "
                      f"{lab.octets} octets, P-256; servers on core {min(SERVER)}{'' if len(SERVER) == 1 else f' to {max(SERVER)}'}, the client on the others")
        emit("ocsp.cached.cpu_us", round(mid["cached.cpu"], 2), "us",
             f"{conditions}; floor: a bare hyper server that looks at nothing and answers with a body of the same length (it takes {mid['reading.cpu']:.2f} us "
             f"when it reads the request's body)", floor=mid["bare.cpu"])
        emit("ocsp.get.cpu_us", round(mid["get.cpu"], 2), "us", f"with the header fields for caches; {conditions.replace('POST', 'GET')}", floor=mid["bare_get.cpu"])
        emit("ocsp.nonce.cpu_us", round(mid["nonce.cpu"], 2), "us",
             f"{conditions}; a nonce of {NONCE} octets, each its own; floor: ring's P-256 signature ({mid['signature.cpu']:.1f} us) and bare hyper",
             floor=mid["signature.cpu"] + mid["bare.cpu"])
        emit("ocsp.vs_openssl", round(mid["openssl.cpu"] / mid["cached.cpu"], 1), "ratio",
             f"requests per CPU second, as each serves at its best: cached answers on kept connections against one answer for each connection (openssl can do "
             f"no other), 4 clients at a time; {conditions}", peer=f"openssl ocsp, {mid['openssl.cpu']:.0f} us")
        emit("ocsp.vs_openssl_closing", round(mid["openssl.cpu"] / mid["closing.cpu"], 1), "ratio",
             f"the same with a connection for each request on both sides, 4 clients at a time ({mid['closing.cpu']:.1f} us); {conditions}",
             peer=f"openssl ocsp, {mid['openssl.cpu']:.0f} us")
        emit("ocsp.cached.per_s", round(mid["cached.per_s"]), "1/s",
             f"{conditions}; with nonces {mid['nonce.per_s']:.0f} /s; floor: bare hyper, {spread(of_bare['cached'])}", floor=mid["bare.per_s"])
        emit("ocsp.get.per_s", round(mid["get.per_s"]), "1/s", f"{conditions.replace('POST', 'GET')}; floor: bare hyper, {spread(of_bare['get'])}", floor=mid["bare_get.per_s"])
        rate = mid["cached.per_s"] / 2
        note(f"open loop at {rate:.0f} requests a second")
        runs, floors = [], []
        for _ in range(rounds):
            runs.append(lab.open_loop(rate, seconds, "--spin"))
            floors.append(lab.open_loop(rate, seconds, "--spin", port=BARE))
        if any(run["not_signed"] for run in runs):
            raise SystemExit(f"report: not every answer was signed: {runs}")
        runs, floors = (sorted(each, key=lambda run: run["p99_us"]) for each in (runs, floors))
        run, floor = runs[len(runs) // 2], floors[len(floors) // 2]
        # A latency in which the generator waits for itself says nothing of the bridge.
        if run["generator_lag_p99_us"] > run["p99_us"] / 2 or run["per_s"] < 0.95 * rate:
            note(f"no ocsp.half_load.p99_ms: the generator cannot make {rate:.0f} requests a second on its core ({run['per_s']:.0f} came about, "
                 f"p99 {run['p99_us']} us, of that its own lag {run['generator_lag_p99_us']} us): give it a quieter machine")
            return
        emit("ocsp.half_load.p99_ms", run["p99_us"] / 1e3, "ms",
             f"median of {rounds} runs of {seconds} s ({runs[0]['p99_us'] / 1e3} to {runs[-1]['p99_us'] / 1e3} ms), cached answers, open loop of {rate:.0f} requests a second (half of "
             f"ocsp.cached.per_s) on 64 connections, driven by one thread that spins, latency from the time a request was due; p50 {run['p50_us']} us, the generator "
             f"itself late by {run['generator_lag_p99_us']} us (p99); floor: bare hyper at the same rate, in turn ({floors[0]['p99_us'] / 1e3} to {floors[-1]['p99_us'] / 1e3} ms, p50 "
             f"{floor['p50_us']} us)", floor=floor["p99_us"] / 1e3)


def ocsp_slow(quick):
    """ocsp.slow_clients.p99_ms, ocsp.idle_connection.bytes"""
    if lacks("openssl"):
        return
    connections, seconds, rate = (500, 1, 500) if quick else (10_000, 8, 2_000)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < connections + 300:
        note(f"skipped: {connections} connections need as many descriptors, this process may have {most} (ulimit -Hn)")
        return
    with Responders() as lab:
        def slow(kind, time_s):
            more = ["--kind", kind] if kind else []
            return lab.start("ocsp-load", "slow", "--address", f"127.0.0.1:{BRIDGE}", "--requests", "cached.requests", "--connections", str(connections),
                             "--seconds", str(time_s), *more, cores=CLIENT)

        def held(least):
            for _ in range(600):
                if lab.counter("connections") >= least:
                    return
                time.sleep(0.1)
            raise SystemExit(f"report: only {lab.counter('connections')} of {connections} connections came about")

        runs = [lab.open_loop(rate, seconds) for _ in range(3)]
        before = statistics.median(run["p99_us"] for run in runs)
        empty = resident(lab.bridge)
        client = slow("idle", 90)
        held(connections * 0.95)
        time.sleep(1)
        memory = (resident(lab.bridge) - empty) / lab.counter("connections")
        client.terminate(), client.wait()
        emit("ocsp.idle_connection.bytes", round(memory), "octets",
             f"growth of the bridge's resident memory over {connections} connections, each idle after one answer")
        evicted = lab.counter("connections_evicted_total")
        client = slow(None, 600)
        held(connections * 0.9)
        runs = [lab.open_loop(rate, seconds) for _ in range(3)]
        open_now, evicted = lab.counter("connections"), lab.counter("connections_evicted_total") - evicted
        client.terminate(), client.wait()
        if any(run["not_signed"] for run in runs):
            raise SystemExit(f"report: not every answer was signed: {runs}")
        run = sorted(runs, key=lambda run: run["p99_us"])[1]
        emit("ocsp.slow_clients.p99_ms", run["p99_us"] / 1e3, "ms",
             f"64 normal connections, open loop of {rate} requests a second, median of 3 runs of {seconds} s, beside {connections} others that are idle, send a head or a body "
             f"octet by octet, or read no answer, and come again when closed ({open_now} open at the end, {evicted} evicted meanwhile, limits.connections 10000); "
             f"p50 {run['p50_us']} us; floor: without them", floor=before / 1e3)
