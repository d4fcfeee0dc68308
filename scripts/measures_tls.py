"""What bench-peers measures with TLS at the client's side and plaintext at the servers', as measures.py does without.
TLS 1.3, X25519 and a P-256 certificate for all, and two tickets after a full handshake, as each does unless told
otherwise."""

import json
import subprocess
import sys
from dataclasses import dataclass

import contest
import measures
import peers
from contest import LOAD_CORE, Contestant
from measures import Cost, Memory, median, quiet, spread
from peers import Entry

CIPHER = "--cipher TLS13_AES_128_GCM_SHA256"
RELAY = "rr --connections 64 --request 100 --reply 100"
FLOOD = "handshakes --abandon --connections 1000"
USUAL_SHARE = 0.1  # of a flood are the handshakes that are there anyway


@dataclass
class Flood:
    """What a relay of plaintext keeps of its throughput when the same worker gets as many handshakes as it could do if
    it did nothing else, ten times the usual. They are abandoned as in an attack: all their cryptography is the
    proxy's, so that the generator has time for the relay's load."""

    about: str

    def run(self, options, kinds):
        kinds = [kind for kind in kinds if kind in peers.SPEAK_TLS]
        entries = [Entry(kind, tls=True) for kind in kinds]
        if "ringgate" in kinds:
            entries.append(Entry("ringgate", "again", tls=True))
        with contest.Processes() as processes:
            measures.start_server(processes)
            found = peers.start_entries(options, processes, entries, measures.SERVERS, checks=False)
            rates = {contestant.name: capacity(contestant, options) for contestant in found}
            pairs = {contestant.name: ([], []) for contestant in found}
            done = {contestant.name: [] for contestant in found}
            for number in range(options.rounds):
                for contestant in found if number % 2 == 0 else reversed(found):
                    usual, flooded = pairs[contestant.name]
                    rate = rates[contestant.name]
                    usual.append(relay_beside(contestant, USUAL_SHARE * rate, options)[0])
                    turn, handshakes = relay_beside(contestant, rate, options)
                    flooded.append(turn)
                    done[contestant.name].append(handshakes)
        rows = []
        for name, (usual, flooded) in pairs.items():
            good = quiet(usual, options), quiet(flooded, options)
            if not all(good):
                rows.append([name, next(measures.why_not(row) for row, of in zip((usual, flooded), good) if not of)])
                continue
            figures = [f"{rates[name]:,.0f}", f"{median(done[name]):,.0f}"]
            figures += [f"{median(turn.rate for turn in row):,.0f}" for row in good]
            figures.append(spread(measures.paired(flooded, usual, options, lambda turn: turn.rate)))
            figures += [f"{median(turn.latency['p99'] for turn in row):,.0f}" for row in good]
            rows.append([name, *figures])
        heads = ["", "flood, handshakes/s", "of these answered", "exchanges/s, usual", "flooded", "flooded to usual"]
        heads += ["p99 µs, usual", "flooded"]
        commands = f"`ringload {RELAY}` beside `ringload {FLOOD} --rate …`"
        every = {name: usual + flooded for name, (usual, flooded) in pairs.items()}
        return commands, measures.table(heads, rows), measures.rejected(every, options)


def capacity(contestant, options):
    """Handshakes per second that fill the proxy's core."""
    address = peers.tls_address(contestant.address)
    target = Contestant(contestant.name, address, contestant.pid)
    turn = contest.take_turn(target, lambda address: measures.ringload(FLOOD, address, options))
    contest.check_pinned(contestant)
    if turn.error:
        sys.exit(f"{contestant.name} does no handshakes: {turn.error}")
    return 1 / turn.cost


def relay_beside(contestant, rate, options):
    """The relay's turn while so many handshakes are asked for, and how many per second there were."""
    arguments = [*FLOOD.split(), "--rate", f"{rate:.0f}", "--seconds", str(options.seconds), "--json"]
    command = ["taskset", "-c", LOAD_CORE, peers.benches_program("ringload"), *arguments]
    command += ["--connect", peers.tls_address(contestant.address)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        turn = contest.take_turn(contestant, lambda address: measures.ringload(RELAY, address, options))
        output = json.loads(flood.communicate()[0])
    return turn, output["exchanges"] / output["seconds"]


MEASURES = {
    "tls-full": Cost(
        "TLS: a full handshake, one small exchange, the client closes first",
        "handshake",
        "crr --tls --connections 64 --request 100 --reply 100",
        tls=True,
    ),
    "tls-resumed": Cost(
        "TLS: a handshake that resumes a session, one small exchange, the client closes first",
        "handshake",
        "crr --resume --connections 64 --request 100 --reply 100",
        tls=True,
    ),
    "tls-rr": Cost(
        "TLS: small exchanges, 64 kept connections",
        "exchange",
        f"rr --tls {CIPHER} --connections 64 --request 100 --reply 100",
        tls=True,
    ),
    "tls-bulk": Cost(
        "TLS: 1 MiB replies, 8 kept connections",
        "reply",
        f"rr --tls {CIPHER} --connections 8 --request 100 --reply 1048576",
        both_settings=True,
        tls=True,
    ),
    "tls-bulk-up": Cost(
        "TLS: 1 MiB requests, 8 kept connections",
        "request",
        f"rr --tls {CIPHER} --connections 8 --request 1048576 --reply 100",
        both_settings=True,
        tls=True,
    ),
    "tls-memory": Memory("TLS: user memory of idle connections, one exchange each", tls=True),
    "tls-flood": Flood("TLS: a relay of plaintext beside a flood of handshakes, one worker for both"),
}
