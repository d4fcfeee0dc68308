"""A fair contest between TCP proxies on one machine: proxies on one core, load on another, turns taken in balanced
order, cost counted over every thread of the proxy. It runs in its own network and process namespaces, so it changes
nothing on the host and leaves nothing running. How each proxy is set up is told in peers.py."""

import argparse
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

REPO = pathlib.Path(__file__).resolve().parent.parent
PROXY_CORE = "1"
LOAD_CORE = "0"  # the client and the servers
NAMES = ["direct", "ringgate", "haproxy", "nginx"]
READY_SECONDS_MAX = 10
FOREIGN_SHARE_MAX = 0.05
SLICE_SECONDS = 0.1
STOP_SECONDS = 0.003  # after which a client that was told to stop has stopped, and the proxy has answered
IN_SANDBOX = "RINGGATE_CONTEST_SANDBOX"


def arguments(about, known=NAMES):
    """The options of every contest, in which `known` may take part."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each contestant [%(default)s]")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn [%(default)s]")
    parser.add_argument(
        "--only", type=some_of(known), metavar="A,B", help=f"of {', '.join(known)} [all that are installed]"
    )
    parser.add_argument("--aa", action="store_true", help="add Ringgate a second time: its ratio to itself is the noise")
    parser.add_argument("--ringgate", metavar="PATH", help="use this program instead of building one")
    parser.add_argument("--haproxy", metavar="PATH", default="haproxy", help="use this HAProxy [%(default)s]")
    parser.add_argument("--access-log", choices=["on", "off"], default="off", help="Ringgate's, to a file [%(default)s]")
    return parser


def some_of(known):
    def names(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return chosen

    return names


def wanted(options, name):
    return options.only is None or name in options.only


# -- The place -------------------------------------------------------------------------------------------------------


def prepare(options, tools):
    """Installs `tools`, builds Ringgate, then continues this script inside fresh namespaces. Returns in there."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps nginx, HAProxy and ip, out of a user's path
    if os.environ.get(IN_SANDBOX):
        return set_up_sandbox()
    if os.cpu_count() < 2:
        sys.exit("a contest needs two cores: one for the proxy, one for the load")
    subprocess.run(["bash", "-c", '. "$0" && need "$@"', REPO / "scripts/lib.sh", *tools, "ip=iproute2"], check=True)
    environment = {**os.environ, IN_SANDBOX: "1"}
    if wanted(options, "ringgate"):
        environment["RINGGATE"] = options.ringgate or build_ringgate()
    namespaces = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespaces += ["--map-current-user", "--keep-caps"]
    os.execvpe("unshare", [*namespaces, sys.executable, "-B", *sys.argv], environment)


def build_ringgate():
    command = ["cargo", "build", "--release", "--locked", "-p", "ringgate"]
    if subprocess.run(command, cwd=REPO).returncode != 0:
        sys.exit("Ringgate could not be built: see above, or give --ringgate PATH")
    return str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPO / "target")) / "release/ringgate")


def set_up_sandbox():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    _, descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for key, value in {
        "ipv4/tcp_congestion_control": "reno",  # never paces, and every kernel has it
        "ipv4/tcp_tw_reuse": "1",
        "ipv4/ip_local_port_range": "10240 65535",
        "core/somaxconn": "65535",
    }.items():
        pathlib.Path("/proc/sys/net", key).write_text(value)


class Processes:
    """Everything started for a contest; ends with the `with` block."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ringgate-contest-"))
        self.running = []
        return self

    def __exit__(self, *_):
        for process in self.running:
            end_group(process)
        shutil.rmtree(self.dir)

    def start(self, name, command, core, address):
        """Starts `command` on `core` and waits until it accepts on `address`."""
        if accepts(address):
            sys.exit(f"{name} cannot start: somebody else is at {address}")
        log = self.dir / f"{name}.log"
        with log.open("w") as output:
            process = self.spawn(core, command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not accepts(address):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} did not start:\n{log.read_text()}")
            time.sleep(0.02)
        return process.pid

    def spawn(self, core, command, **streams):
        """Starts `command` on `core`, in a process group of its own."""
        command = ["taskset", "-c", core, *map(str, command)]
        process = subprocess.Popen(command, start_new_session=True, text=True, **streams)
        self.running.append(process)
        return process

    def file(self, name, text):
        path = self.dir / name
        path.write_text(text)
        return path


def end_group(process):
    """Ends a process and all it has forked, and waits for that: workers that outlive their master would go on taking
    connections. Here this process is the first of its namespace, so orphans are its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        while True:
            os.waitpid(-process.pid, 0)
    except (ProcessLookupError, ChildProcessError):
        process.wait()


def accepts(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False


# -- The rounds ------------------------------------------------------------------------------------------------------


@dataclass
class Contestant:
    name: str
    address: str
    pid: int | None  # None: no proxy, the client talks to the first server
    cores: str = PROXY_CORE


@dataclass
class Load:
    """What a client achieved in one turn; `units` are requests or gigabytes."""

    units: float
    seconds: float
    error: str | None = None
    latency: dict | None = None  # microseconds by quantile
    late: bool = False  # less came through than was to


@dataclass
class Turn:
    rate: float = 0.0  # units per second
    cost: float = 0.0  # seconds of proxy CPU per unit
    busy: float = 0.0  # share of the proxy's core
    foreign: float = 0.0  # share of the machine used by processes that are not ours
    latency: dict | None = None
    late: bool = False
    error: str | None = None


def compete(found, rounds, load):
    """Every contestant once per round, every other round in reverse; `load(address)` is one turn's client."""
    turns = {contestant.name: [] for contestant in found}
    for contestant in found:
        load(contestant.address)  # warm up
        check_pinned(contestant)
    for number in range(rounds):
        for contestant in found if number % 2 == 0 else reversed(found):
            turns[contestant.name].append(take_turn(contestant, load))
    return turns


@dataclass
class Client:
    """A client that is a program: started with `command`, it runs for a time of its own and then says what it got."""

    command: list
    result: Callable[[str, str], Load]  # from its two outputs

    def start(self):
        return subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self):
        return self.result(*self.start().communicate())


def compete_by_slices(start, rounds, seconds, client):
    """As [compete], but in a round the contestants' turns are cut into slices that alternate, so that a slow phase of
    the machine hits all alike: all clients run, and all but one are stopped by a signal. Each round has contestants of
    its own, that `start(processes)` starts: how fast one is depends on where its memory happens to lie, by some
    percent for as long as it lives. `client(address, seconds)` is one that runs for so long."""
    turns = {}
    for number in range(rounds):
        with Processes() as processes:
            found = start(processes)
            order = found if number % 2 == 0 else found[::-1]
            for contestant in order:
                client(contestant.address, 1).run()  # warm up
                check_pinned(contestant)
            for contestant, turn in zip(order, take_slices(order, seconds, client)):
                turns.setdefault(contestant.name, []).append(turn)
    return turns


def take_slices(found, seconds, client):
    clients = [client(contestant.address, seconds * len(found)) for contestant in found]
    before = [proxy_seconds(contestant) for contestant in found], own_seconds(), *machine_seconds()
    running = [each.start() for each in clients]
    for process in running:
        process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + seconds * len(found)
    served = [0.0] * len(found)
    while time.monotonic() < end:
        for number, process in enumerate(running):
            if process.poll() is None:
                began = time.monotonic()
                process.send_signal(signal.SIGCONT)
                time.sleep(SLICE_SECONDS)
                process.send_signal(signal.SIGSTOP)
                served[number] += time.monotonic() - began
                time.sleep(STOP_SECONDS)
    results = []
    for number, (each, process) in enumerate(zip(clients, running)):
        began = time.monotonic()
        process.send_signal(signal.SIGCONT)
        results.append(each.result(*process.communicate()))
        served[number] += time.monotonic() - began
    after = [proxy_seconds(contestant) for contestant in found], own_seconds(), *machine_seconds()
    own, machine_busy, machine_all = (b - a for a, b in zip(before[1:], after[1:]))
    foreign = max(0.0, machine_busy - own) / machine_all
    turns = []
    for result, used, time_served in zip(results, (b - a for a, b in zip(before[0], after[0])), served):
        if result.error or result.units == 0:
            turns.append(Turn(error=result.error or "nothing came through"))
        else:
            rate, cost, busy = result.units / time_served, used / result.units, used / time_served
            turns.append(Turn(rate, cost, busy, foreign, late=result.late))
    return turns


def take_turn(contestant, load):
    before = (proxy_seconds(contestant), own_seconds(), *machine_seconds())
    result = load(contestant.address)
    after = (proxy_seconds(contestant), own_seconds(), *machine_seconds())
    proxy, own, machine_busy, machine_all = (b - a for a, b in zip(before, after))
    if result.error or result.units == 0:
        return Turn(error=result.error or "nothing came through")
    return Turn(
        rate=result.units / result.seconds,
        cost=proxy / result.units,
        busy=proxy / result.seconds,
        foreign=max(0.0, machine_busy - own) / machine_all,
        latency=result.latency,
        late=result.late,
    )


def check_pinned(contestant):
    for pid in family(contestant.pid):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            if not os.sched_getaffinity(int(task.name)) <= set(map(int, contestant.cores.split(","))):
                sys.exit(f"{contestant.name} left its cores, {contestant.cores}: no fair contest")


def proxy_seconds(contestant):
    """CPU time of the proxy: all its processes, all their threads, also those that have ended."""
    return sum(map(process_seconds, family(contestant.pid)))


def own_seconds():
    """CPU time of everything in this process namespace, ended or running."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = (int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit())
    return ended.ru_utime + ended.ru_stime + sum(map(process_seconds, running))


def machine_seconds():
    """Busy and whole CPU time of all cores (proc_stat(5): user nice system idle iowait irq softirq steal)."""
    ticks = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    second = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / second, sum(ticks) / second


def process_seconds(pid):
    """The process's CPU clock in nanosecond precision (clock_getcpuclockid(3): the clock's id is made of the pid)."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def family(pid):
    """The process and all its descendants."""
    if pid is None:
        return []
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


# -- The result ------------------------------------------------------------------------------------------------------


@dataclass
class Units:
    """How a rate and a cost are shown."""

    rate: str
    rate_scale: float
    rate_digits: int
    cost: str
    cost_scale: float


def report(title, turns, units):
    """Prints medians of every contestant, then the first proxy's ratios to the others, paired by round. Says whether
    every turn was valid."""
    width = max(16, *(len(name) + 2 for name in turns))
    print(f"\n{title}")
    print(f"  {'':{width}}{units.rate:>14}{units.cost:>18}{'core busy':>12}")
    for name, row in turns.items():
        errors = [turn.error for turn in row if turn.error]
        if errors:
            print(f"  {name:{width}}  INVALID: {len(errors)} of {len(row)} turns failed: {errors[0]}")
            continue
        rate = statistics.median(turn.rate for turn in row) * units.rate_scale
        line = f"  {name:{width}}{rate:>14,.{units.rate_digits}f}"
        if name != "direct":
            cost = statistics.median(turn.cost for turn in row) * units.cost_scale
            busy = statistics.median(turn.busy for turn in row)
            line += f"{cost:>18.3f}{busy:>12.0%}"
        print(line)
    valid = {name: row for name, row in turns.items() if name != "direct" and not any(turn.error for turn in row)}
    first, *others = valid or [None]
    if others:
        print(f"  {first + ' to':{width}}{units.rate:>22}{units.cost:>24}   (median of rounds, least .. most)")
    for other in others:
        rate = ratios(valid[first], valid[other], lambda turn: turn.rate)
        cost = ratios(valid[first], valid[other], lambda turn: turn.cost)
        print(f"  {other:{width}}{rate:>22}{cost:>24}")
    foreign = statistics.median(turn.foreign for row in turns.values() for turn in row)
    if foreign > FOREIGN_SHARE_MAX:
        print(f"  Other processes used {foreign:.0%} of the machine meanwhile: repeat this on a quiet one.")
    return not any(turn.error for row in turns.values() for turn in row)


def ratios(ours, theirs, value):
    paired = [value(a) / value(b) for a, b in zip(ours, theirs)]
    return f"{statistics.median(paired):.3f}  {min(paired):.2f} .. {max(paired):.2f}"


def describe():
    congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    print(
        f"Linux {os.uname().release}, congestion control {congestion}; proxies one worker on core {PROXY_CORE}, "
        f"client and servers on core {LOAD_CORE}"
    )
    print("Where the proxy's core is not fully busy the load is the limit: compare CPU, not throughput.")
