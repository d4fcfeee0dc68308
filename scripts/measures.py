"""What bench-peers measures, each measure with the load it takes and the table it gives. Ratios are those of two turns
of one round; it decides nothing about who takes part."""

import json
import re
import shlex
import statistics
import subprocess
import time
from dataclasses import dataclass

import contest
import peers
from contest import LOAD_CORE, PROXY_CORE, Client, Load
from peers import Entry

SERVERS = ["127.0.0.1:9001", "127.0.0.2:9001", "127.0.0.3:9001"]
DIRECT_SERVER = "127.0.0.4:9001"  # on the core that a proxy would have
HTTP_SERVER = "127.0.0.1:9080"
HTTP_RELAY = "127.0.0.1:9081"
HTTP_LOAD = "rr --http --connections 64 --reply 100"
WRK = ["-t1", "-c64", "--latency"]
RIVALS = ["ringgate", "haproxy", "nginx"]  # at a share of what the slowest of these can do, latency is measured
RATE_SHARE = 0.6
LATE = "the rate was not kept"  # in ringload's words
HELD = [1000, 5000, 9000]
ALL_CORES = ",".join(map(str, range(2)))


@dataclass
class Cost:
    """CPU time per exchange, and exchanges per second, of the load that `arguments` make ringload put on."""

    about: str
    unit: str
    arguments: str
    both_settings: bool = False  # it is open which of a peer's settings are best
    tls: bool = False  # the load speaks TLS

    def run(self, options, kinds):
        if self.tls:
            kinds = [kind for kind in kinds if kind in peers.SPEAK_TLS]
        entries = [Entry(kind, tls=self.tls) for kind in kinds]
        if "ringgate" in kinds:
            entries += [Entry("ringgate", "again", tls=self.tls)]
            entries += [Entry("ringgate", "on epoll", io="epoll", tls=self.tls)]
        if self.both_settings:
            bulk = [kind for kind in kinds if kind in ("haproxy", "nginx")]
            entries += [Entry(kind, "bulk", bulk=True, tls=self.tls) for kind in bulk]

        def load(address):
            return ringload(self.arguments, peers.tls_address(address) if self.tls else address, options)

        with contest.Processes() as processes:
            start_server(processes)
            found = peers.start_entries(options, processes, entries, SERVERS, checks=False)
            turns = contest.compete(found, options.rounds, load)
        rows = []
        for name, row in turns.items():
            good = quiet(row, options)
            if not good:
                rows.append([name, why_not(row), "", "", ""])
                continue
            rate = f"{median(turn.rate for turn in good):,.0f}"
            if name == "direct":
                rows.append([name, rate, "", "", ""])
                continue
            cost = f"{median(turn.cost for turn in good) * 1e6:.2f}"
            busy = f"{median(turn.busy for turn in good):.0%}"
            rows.append([name, rate, cost, busy, ratio(turns, name, options, lambda turn: turn.cost)])
        heads = ["", f"{self.unit}/s", f"CPU µs/{self.unit}", "core busy", "Ringgate's CPU to its"]
        return f"`ringload {self.arguments}`", table(heads, rows), rejected(turns, options)


@dataclass
class Latency:
    """What a proxy adds to the latency of exchanges that begin at fixed times, at a share of full load. On the direct
    path the server has the proxy's core, so that there too client and server wake each other from core to core."""

    about: str
    arguments: str

    def run(self, options, kinds):
        entries = [Entry(kind) for kind in kinds if kind != "direct"]
        if "ringgate" in kinds:
            entries.append(Entry("ringgate", "again"))
        with contest.Processes() as processes:
            start_server(processes)
            ringserve = [peers.benches_program("ringserve"), "--listen", DIRECT_SERVER]
            direct = processes.start("direct", ringserve, PROXY_CORE, DIRECT_SERVER)
            found = [contest.Contestant("direct", DIRECT_SERVER, direct)]
            found += peers.start_entries(options, processes, entries, SERVERS, checks=False)
            full = {c.name: ringload(self.arguments, c.address, options) for c in found}
            slowest = min(load.units / load.seconds for name, load in full.items() if name in RIVALS and not load.error)
            arguments = f"{self.arguments} --rate {RATE_SHARE * slowest:.0f}"
            turns = contest.compete(found, options.rounds, lambda address: ringload(arguments, address, options))
        good = {name: quiet(row, options) for name, row in turns.items()}
        rows = []
        for name, row in turns.items():
            if not good[name]:
                rows.append([name, why_not(row)])
                continue
            figures = [f"{median(turn.latency[q] for turn in good[name]):,.0f}" for q in ("p50", "p99", "p99.9")]
            if name != "direct" and good["direct"]:
                figures += [f"{added(good, name, q):,.0f}" for q in ("p50", "p99")]
            if name not in ("direct", "ringgate") and good["direct"] and good.get("ringgate"):
                pairs = [(added(good, "ringgate", q), added(good, name, q)) for q in ("p50", "p99")]
                figures += [f"**{a / b:.2f}**" if a > 0 and b > 0 else "lost in the noise" for a, b in pairs]
            rows.append([name, *figures])
        heads = ["", "p50 µs", "p99 µs", "p99.9 µs", "added p50", "added p99"]
        heads += ["Ringgate's added p50 to its", "added p99"]
        return f"`ringload {arguments}`", table(heads, rows), rejected(turns, options)


@dataclass
class Memory:
    """How much a proxy's resident memory grows per idle connection, over the line through all counts held."""

    about: str
    tls: bool = False  # they are TLS connections

    def run(self, options, kinds):
        kinds = [kind for kind in kinds if kind in peers.SPEAK_TLS or not (self.tls or kind == "direct")]
        slopes, rows = {}, []
        for kind, sizes in self.sizes(options, kinds).items():
            if isinstance(sizes, str):
                rows.append([kind, sizes])
                continue
            slopes[kind] = growth(sizes)
            rows.append([kind, *(f"{size / 2**20:,.1f}" for size in sizes), f"{slopes[kind]:.2f}"])
        for row in rows:
            ours, theirs = slopes.get("ringgate"), slopes.get(row[0])
            if ours and theirs:
                row.append(f"{ours / theirs:.2f}")
        heads = ["", *(f"MiB at {count:,}" for count in HELD), "KiB per connection", "Ringgate's to its"]
        return f"`ringload {self.arguments}`, {options.idle} s idle before each look", table(heads, rows), ""

    @property
    def arguments(self):
        return "hold --tls" if self.tls else "hold"

    def sizes(self, options, kinds):
        """Resident bytes at each count, by kind; a text when it failed."""
        with contest.Processes() as processes:

            def start(kind, server, port):
                processes.start(server, [peers.benches_program("ringserve"), "--listen", server], LOAD_CORE, server)
                entry = Entry(kind, tls=self.tls)
                return peers.start_entries(options, processes, [entry], [server], checks=False, port=port)

            found = [contestant for number, kind in enumerate(kinds) for contestant in start(kind, *place(number))]
            target = peers.tls_address if self.tls else str
            return held(options, processes, found, self.arguments, target, resident_bytes)


def place(number):
    """The address of a server of its own, and the port of who asks it: a process has few descriptors."""
    return f"127.0.1.{number + 1}:9001", 7001 + number


def held(options, processes, found, arguments, target, look):
    """What `look` tells of the processes of each contestant at each count of held connections, by its name; a text when
    it failed. All hold at once, since waiting costs nothing."""
    sizes = {contestant.name: [] for contestant in found}
    started = {contestant.name: [] for contestant in found}
    for before, count in zip([0, *HELD], HELD):
        for contestant in found:
            name = contestant.name
            if not isinstance(sizes[name], str):
                started[name].append(hold(processes, arguments, target(contestant.address), count - before))
                if not started[name][-1].stdout.readline().startswith("holding"):
                    sizes[name] = f"INVALID: did not take {count:,} connections"
        time.sleep(options.idle)
        for contestant in found:
            if not isinstance(sizes[contestant.name], str):
                sizes[contestant.name].append(look(contest.family(contestant.pid)))
    for name, holders in started.items():
        for holder in holders:
            output, _ = holder.communicate()
            if holder.returncode != 0 and not isinstance(sizes[name], str):
                sizes[name] = f"INVALID: {output.strip().splitlines()[-1]}"
    return sizes


def growth(sizes):
    """KiB per connection: the slope of the line through the sizes at all counts."""
    return statistics.linear_regression(HELD, sizes).slope / 1024


@dataclass
class Workers:
    """What a second worker brings when nothing is pinned: proxies, client and server share all cores."""

    about: str
    arguments: str

    def run(self, options, kinds):
        kinds = [kind for kind in kinds if kind not in ("direct", *peers.NULL_RELAYS)]
        entries = [Entry(kind, f"with {workers}", workers=workers) for kind in kinds for workers in (1, 2)]
        with contest.Processes() as processes:
            start_server(processes, ALL_CORES)
            found = peers.start_entries(options, processes, entries, SERVERS, checks=False, cores=ALL_CORES)

            def load(address):
                return ringload(self.arguments, address, options, ALL_CORES)

            turns = contest.compete(found, options.rounds, load)
        rows = []
        for kind in kinds:
            pair = [turns.get(f"{kind} with {workers}", []) for workers in (1, 2)]
            if all(quiet(row, options) for row in pair):
                rates = [f"{median(turn.rate for turn in quiet(row, options)):,.0f}" for row in pair]
                rows.append([kind, *rates, spread(paired(*reversed(pair), options, lambda turn: turn.rate))])
            elif all(pair):
                rows.append([kind, *map(why_not, pair), ""])
        heads = ["", "exchanges/s, 1 worker", "2 workers", "2 workers to 1"]
        return f"`ringload {self.arguments}`", table(heads, rows), rejected(turns, options)


@dataclass
class Generator:
    """Whether ringload tells what wrk tells. Both face a relay and a server that share one core and so are the limit:
    a generator that is itself the limit tells how fast it is, not whether it is right."""

    about: str

    def run(self, options, _kinds):
        with contest.Processes() as processes:
            ringserve = [peers.benches_program("ringserve"), "--http", HTTP_SERVER]
            processes.start("ringserve", ringserve, PROXY_CORE, HTTP_SERVER)
            relay = [peers.benches_program("null-tokio"), HTTP_RELAY, HTTP_SERVER]
            pid = processes.start("relay", relay, PROXY_CORE, HTTP_RELAY)
            turns = {"ringload": [], "wrk": []}
            for number in range(options.rounds):
                for name in turns if number % 2 == 0 else reversed(turns):
                    load = {"ringload": http_ringload, "wrk": wrk}[name]
                    contestant = contest.Contestant(name, HTTP_RELAY, pid)
                    turns[name].append(contest.take_turn(contestant, lambda address: load(address, options)))
        rows = []
        for name, row in turns.items():
            good = quiet(row, options)
            if not good:
                rows.append([name, why_not(row)])
                continue
            figures = [f"{median(turn.rate for turn in good):,.0f}"]
            figures += [f"{median(turn.latency[q] for turn in good):,.0f}" for q in ("p50", "p99")]
            rows.append([name, *figures, spread(paired(row, turns["wrk"], options, lambda turn: turn.rate))])
        heads = ["", "requests/s", "p50 µs", "p99 µs", "requests/s to wrk's"]
        commands = f"`ringload {HTTP_LOAD}`, `wrk {' '.join(WRK)}`"
        return commands, table(heads, rows), rejected(turns, options)


MEASURES = {
    "small": Cost("Small exchanges, 64 kept connections", "exchange", "rr --connections 64 --request 100 --reply 100"),
    "connect": Cost(
        "A new connection for each exchange, the client closes first",
        "connection",
        "crr --connections 64 --request 64 --reply 64",
    ),
    "16k": Cost(
        "16 KiB replies, 64 kept connections",
        "reply",
        "rr --connections 64 --request 100 --reply 16384",
        both_settings=True,
    ),
    "1m-down": Cost(
        "1 MiB replies, 8 kept connections",
        "reply",
        "rr --connections 8 --request 100 --reply 1048576",
        both_settings=True,
    ),
    "1m-up": Cost(
        "1 MiB requests, 8 kept connections",
        "request",
        "rr --connections 8 --request 1048576 --reply 100",
        both_settings=True,
    ),
    "latency": Latency(
        f"Latency at {RATE_SHARE:.0%} of what the slowest of {', '.join(RIVALS)} can do",
        "rr --connections 64 --request 100 --reply 100",
    ),
    "memory": Memory("User memory of idle connections, one exchange each"),
    "workers": Workers("From 1 worker to 2, nothing pinned", "rr --connections 64 --request 100 --reply 100"),
    "generator": Generator("The load generator beside wrk, both through null-tokio"),
}


# -- Load ------------------------------------------------------------------------------------------------------------


def start_server(processes, core=LOAD_CORE):
    listens = [argument for server in SERVERS for argument in ("--listen", server)]
    processes.start("ringserve", [peers.benches_program("ringserve"), *listens], core, SERVERS[0])


def ringload(arguments, address, options, core=LOAD_CORE):
    return ringload_client(arguments, address, options.seconds, core).run()


def ringload_client(arguments, address, seconds, core=LOAD_CORE):
    command = ["taskset", "-c", core, peers.benches_program("ringload"), *shlex.split(arguments), "--json"]
    return Client([*command, "--connect", address, "--seconds", str(seconds)], ringload_result)


def ringload_result(stdout, stderr):
    try:
        output = json.loads(stdout)
    except ValueError:
        return Load(0, 0, stdout + stderr)
    late = output["errors"].pop(LATE, 0) > 0
    error = "; ".join(f"{times} times: {why}" for why, times in output["errors"].items())
    return Load(output["exchanges"], output["seconds"], error or None, output["latency_us"], late)


def http_ringload(address, options):
    return ringload(HTTP_LOAD, address, options)


def wrk(address, options):
    command = ["taskset", "-c", LOAD_CORE, "wrk", *WRK, f"-d{options.seconds}s", f"http://{address}/100"]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    found = re.search(r"50% +(\S+)(?s:.*)99% +(\S+)(?s:.*) (\d+) requests in (\S+),(?s:.*)Requests/sec", output)
    if not found or "Socket errors" in output or "Non-2xx" in output:
        return Load(0, 0, output or "wrk says nothing")
    p50, p99, requests, seconds = found.groups()
    return Load(int(requests), wrk_us(seconds) / 1e6, None, {"p50": wrk_us(p50), "p99": wrk_us(p99)})


def wrk_us(text):
    """A time as wrk prints it, in microseconds."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}[unit]


def hold(processes, arguments, address, count):
    command = [peers.benches_program("ringload"), *arguments.split(), "--connect", address, "--connections", count]
    return processes.spawn(LOAD_CORE, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def resident_bytes(pids, key="VmRSS"):
    """Bytes in memory of these processes together, all or of one kind (proc_pid_status(5))."""
    lines = [line for pid in pids for line in open(f"/proc/{pid}/status")]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


# -- Figures ---------------------------------------------------------------------------------------------------------


def median(values):
    return statistics.median(values)


def is_quiet(turn, options):
    return turn.error is None and not turn.late and turn.foreign <= options.foreign


def quiet(row, options):
    """The turns that count; none when one failed."""
    return [] if any(turn.error for turn in row) else [turn for turn in row if is_quiet(turn, options)]


def why_not(row):
    errors = [turn.error for turn in row if turn.error]
    if errors:
        return f"INVALID: {len(errors)} of {len(row)} turns failed: {' '.join(errors[0].split())}"
    return "could not keep the rate" if all(turn.late for turn in row) else "never left alone by other processes"


def paired(ours, theirs, options, value):
    """One ratio for each round in which both turns count."""
    both = [(a, b) for a, b in zip(ours, theirs) if is_quiet(a, options) and is_quiet(b, options)]
    return [value(a) / value(b) for a, b in both]


def ratio(turns, name, options, value):
    if "ringgate" not in turns or name == "ringgate":
        return ""
    return spread(paired(turns["ringgate"], turns[name], options, value))


def spread(ratios):
    return f"**{median(ratios):.3f}**, {min(ratios):.2f} to {max(ratios):.2f}" if ratios else "no usable round"


def added(good, name, quantile):
    """What a proxy adds to the direct path's quantile: the difference of the medians."""
    proxied, direct = (median(turn.latency[quantile] for turn in good[who]) for who in (name, "direct"))
    return proxied - direct


def rejected(turns, options):
    every = [turn for row in turns.values() for turn in row]
    disturbed = sum(turn.foreign > options.foreign for turn in every)
    late = sum(turn.late and turn.foreign <= options.foreign for turn in every)
    parts = []
    if disturbed:
        parts.append(f"{disturbed} in which other processes used more than {options.foreign:.0%} of the machine")
    if late:
        parts.append(f"{late} in which the rate was not kept")
    return f"Left out of {len(every)} turns: {', '.join(parts)}." if parts else ""


def table(heads, rows):
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    lines += [row + [""] * (len(heads) - len(row)) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
