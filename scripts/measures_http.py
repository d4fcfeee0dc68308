"""What bench-peers measures of HTTP gateways, as measures.py does of relays: requests are routed by their path, and the
connections to the servers are kept. The ratios stand first. peers_http.py tells how each gateway is set up."""

import re
import shlex
from dataclasses import dataclass

import contest
import measures
import peers
import peers_http
from contest import LOAD_CORE, Client, Load, Units
from measures import median, paired, quiet, spread
from peers import Entry
from peers_http import AUTHORIZATION, DEMANDS, LOG, PATH, UNDER, HttpEntry

REQUESTS = Units("requests/s", 1, 0, "CPU µs/request", 1e6)
GIGABYTES = Units("GB/s", 1, 2, "CPU ms/GB", 1e3)
HTTP_1 = f"rr --http --under {UNDER}"
SMALL = f"{HTTP_1} --connections 64 --reply 100"
RELAY = Entry("ringgate", "as a relay of TCP")
H2_LOAD = ["-t1", "-c8", "-m16"]
BODY_BYTES = 262144
BROWSER = [  # what a browser sends with a request for a part of a page, without a Host
    "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept: application/json, text/plain, */*",
    "accept-language: en-GB,en;q=0.5",
    "accept-encoding: gzip, deflate, br, zstd",
    "referer: https://shop.example.com/orders/2026",
    "cookie: session=8d0f6c1b5a2e4f7390bd8c6a1e5f2d47; theme=dark; consent=yes",
    "sec-fetch-dest: empty",
    "sec-fetch-mode: cors",
    "sec-fetch-site: same-origin",
    "priority: u=4",
]


@dataclass
class Cost:
    """CPU time per request or per gigabyte of bodies, Ringgate beside its peers."""

    about: str
    arguments: str  # of ringload
    body: int = 0  # bytes of the bodies that count
    h2: bool = False  # h2load puts on the load instead

    def run(self, options, kinds):
        kinds = [kind for kind in kinds if kind in peers_http.KINDS or kind == "direct" and not self.h2]
        entries = peers_http.entries(options, kinds, h2=self.h2)
        if "ringgate" in kinds:
            entries.append(HttpEntry("ringgate", "on epoll", io="epoll", h2=self.h2))
        if self.body:
            bulk = [("haproxy", "bulk"), ("nginx", "buffers")]
            entries += [HttpEntry(kind, label, bulk=True) for kind, label in bulk if kind in kinds]

        def client(address, seconds):
            if self.h2:
                return h2load(address, seconds)
            found = measures.ringload_client(self.arguments, address, seconds)
            return Client(found.command, in_gigabytes(found.result, self.body)) if self.body else found

        def ratio(turns, name):
            return measures.ratio(turns, name, options, lambda turn: turn.cost)

        turns = compete(options, entries, client)
        command = f"h2load {shlex.join(H2_LOAD)} …{PATH}" if self.h2 else f"ringload {self.arguments}"
        figures = table(turns, options, GIGABYTES if self.body else REQUESTS, "Ringgate's CPU to its", ratio)
        return f"`{command}`", figures, measures.rejected(turns, options)


@dataclass
class Added:
    """What Ringgate's own stages add to a request, each beside Ringgate without them."""

    about: str
    arguments: str  # of ringload
    variants: dict  # settings by label

    def run(self, options, kinds):
        entries = peers_http.entries(options, [kind for kind in kinds if kind == "ringgate"])
        if entries:
            entries += [HttpEntry("ringgate", label, **settings) for label, settings in self.variants.items()]

        def ratio(turns, name):
            if name == "ringgate":
                return ""
            return spread(paired(turns[name], turns["ringgate"], options, lambda turn: turn.cost))

        def client(address, seconds):
            return measures.ringload_client(self.arguments, address, seconds)

        turns = compete(options, entries, client)
        figures = table(turns, options, REQUESTS, "its CPU to that without", ratio)
        return f"`ringload {self.arguments}`", figures, measures.rejected(turns, options)


@dataclass
class Idle:
    """How much a gateway's memory grows per idle connection that has had one request, beside Ringgate as a relay of
    TCP, which keeps a connection to the server for each."""

    about: str
    arguments: str = f"hold --http --under {UNDER}"

    def run(self, options, kinds):
        kinds = [kind for kind in kinds if kind in peers_http.KINDS]
        kinds += [RELAY.name] if "ringgate" in kinds else []
        with contest.Processes() as processes:
            found = []
            for number, kind in enumerate(kinds):
                server, port = measures.place(number)
                start_servers(processes, [server])
                if kind == RELAY.name:
                    found += peers.start_entries(options, processes, [RELAY], [server], checks=False, port=port)
                else:
                    found += peers_http.start(options, processes, [HttpEntry(kind)], [server], port)
            sizes = measures.held(options, processes, found, self.arguments, str, Memory.of)
        whole, heap, rows = {}, {}, []
        for name, row in sizes.items():
            if isinstance(row, str):
                rows.append([name, row])
                continue
            whole[name] = measures.growth([memory.resident for memory in row])
            heap[name] = measures.growth([memory.heap for memory in row])
            ratio = f"**{whole['ringgate'] / whole[name]:.2f}**" if "ringgate" in whole and name != "ringgate" else ""
            mib = [f"{memory.resident / 2**20:,.1f}" for memory in row]
            rows.append([name, ratio, f"{whole[name]:.2f}", f"{heap[name]:.2f}", *mib])
        heads = ["", "Ringgate's to its", "KiB per connection", "of heap"]
        heads += [f"MiB at {count:,}" for count in measures.HELD]
        both = [heap[name] for name in ("ringgate", RELAY.name) if name in heap]
        note = ""
        if len(both) == 2:
            note = f"HTTP changes the heap of a connection to Ringgate by {both[0] - both[1]:+.2f} KiB."
        command = f"`ringload {self.arguments}`, {options.idle} s idle before each look"
        return command, measures.table(heads, rows), note


@dataclass
class Memory:
    """Bytes of a gateway."""

    resident: float
    heap: float  # what belongs to no file: heap and stacks

    @classmethod
    def of(cls, pids):
        return cls(measures.resident_bytes(pids), measures.resident_bytes(pids, "RssAnon"))


MEASURES = {
    "http-small": Cost("HTTP: small requests and replies, 64 kept connections", SMALL),
    "http-fields": Cost(
        "HTTP: the same with the fields that a browser sends",
        " ".join([SMALL, *(f"--field {shlex.quote(text)}" for text in BROWSER)]),
    ),
    "http-log": Added("HTTP: what the access log adds, 64 kept connections", SMALL, LOG),
    "http-auth": Added(
        "HTTP: what a token and a rate limit add, 64 kept connections",
        f"{SMALL} --field {shlex.quote(AUTHORIZATION)}",
        DEMANDS,
    ),
    "h2-small": Cost("HTTP/2: small requests and replies, 8 kept connections with 16 streams each", "", h2=True),
    "http-bulk": Cost(
        "HTTP: bodies of 256 KiB from the server, 8 kept connections",
        f"{HTTP_1} --connections 8 --reply {BODY_BYTES}",
        body=BODY_BYTES,
    ),
    "http-bulk-up": Cost(
        "HTTP: bodies of 256 KiB to the server, 8 kept connections",
        f"{HTTP_1} --connections 8 --body {BODY_BYTES} --reply 100",
        body=BODY_BYTES,
    ),
    "http-idle": Idle("HTTP: user memory of idle kept connections, one request each"),
}


# -- Load and figures ------------------------------------------------------------------------------------------------


def compete(options, entries, client):
    def start(processes):
        start_servers(processes, measures.SERVERS)
        return peers_http.start(options, processes, entries, measures.SERVERS)

    return contest.compete_by_slices(start, options.rounds, options.seconds, client)


def start_servers(processes, addresses):
    listens = [argument for address in addresses for argument in ("--http", address)]
    processes.start(addresses[0], [peers.benches_program("ringserve"), *listens], LOAD_CORE, addresses[0])


def in_gigabytes(result, body):
    """The result of a client in gigabytes of bodies."""

    def scaled(*outputs):
        load = result(*outputs)
        load.units *= body / 1e9
        return load

    return scaled


def h2load(address, seconds):
    """HTTP/2 without TLS, by prior knowledge."""

    def result(output, _errors):
        found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout(?s:.*?) (\d+) 2xx", output)
        if not found:
            return Load(0, 0, "h2load said: " + output.strip())
        succeeded, *bad, good = map(int, found.groups())
        error = found[0] if any(bad) or good < succeeded else None
        return Load(succeeded, seconds, error)

    command = ["taskset", "-c", LOAD_CORE, "h2load", *H2_LOAD, "-D", str(seconds), f"http://{address}{PATH}"]
    return Client(command, result)


def table(turns, options, units, ratio_is, ratio):
    """The figures of each contestant; `ratio` tells one from the turns and a name."""
    rows = []
    for name, row in turns.items():
        good = quiet(row, options)
        if not good:
            rows.append([name, measures.why_not(row)])
            continue
        rate = f"{median(turn.rate for turn in good) * units.rate_scale:,.{units.rate_digits}f}"
        if name == "direct":
            rows.append([name, "", "", rate])
            continue
        cost = f"{median(turn.cost for turn in good) * units.cost_scale:,.2f}"
        busy = f"{median(turn.busy for turn in good):.0%}"
        rows.append([name, ratio(turns, name), cost, rate, busy])
    return measures.table(["", ratio_is, units.cost, units.rate, "core busy"], rows)
