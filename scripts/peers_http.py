"""The proxies of a contest as HTTP gateways, with settings that are fair: one worker, no logs, the same routes, kept
connections to the servers, X-Forwarded-For and X-Forwarded-Proto set, no bound on the requests of a connection. It
measures nothing; peers.py tells how they are set up for TCP."""

import hashlib
import os
import shutil
from dataclasses import dataclass

import peers
from contest import wanted
from peers import BACKLOG, CONNECTIONS_MAX, Entry

KINDS = ["ringgate", "haproxy", "nginx", "envoy"]
UNDER = "/v1/"  # of the requests that the servers under test get; another route takes /assets/
PATH = f"{UNDER}100"  # what answers with 100 bytes
TOKEN = "0123456789abcdef0123456789abcdef"
AUTHORIZATION = f"authorization: Bearer {TOKEN}"
REQUESTS_MAX = 1_000_000_000  # on one connection
BUFFER_BYTES = 65536  # of the settings for long transfers
# Ringgate's stages that cost something, by what an entry with them is called.
LOG = {"with the access log": {"log": True}}
DEMANDS = {
    "with a token": {"auth": True},
    "with a rate limit": {"limit": True},
    "with both": {"auth": True, "limit": True},
}


@dataclass
class HttpEntry(Entry):
    """A gateway that takes part. `bulk` is as for TCP: the settings for long bodies."""

    h2: bool = False  # clients speak HTTP/2 without TLS, and say so by their first bytes
    log: bool = False  # Ringgate logs each request, to a file
    auth: bool = False  # Ringgate asks for a token
    limit: bool = False  # Ringgate limits the rate of each client, far above what comes


def start(options, processes, entries, servers, port=7001):
    """Starts those of `entries` that are installed."""
    return peers.start_entries(options, processes, entries, servers, checks=False, port=port, starters=STARTERS)


def entries(options, kinds, again=True, **settings):
    """One of each kind that is wanted, and Ringgate again, whose ratio to itself is the noise."""
    found = [HttpEntry(kind, **settings) for kind in kinds if wanted(options, kind)]
    if again and "ringgate" in kinds and wanted(options, "ringgate"):
        found.append(HttpEntry("ringgate", "again", **settings))
    return found


def ringgate(options, processes, entry, place):
    access = processes.dir / f"{place.name}.access" if entry.log or options.access_log == "on" else "off"
    demands = [f"limits: {{ requests_per_connection: {REQUESTS_MAX} }}"]
    if entry.auth:
        demands.append(f'auth: {{ tokens_file: "{tokens_file(processes)}" }}')
    if entry.limit:
        demands.append("rate_limit: { rate: 1000000/s }")
    servers = ", ".join(f'"{server}"' for server in place.servers)
    config = processes.file(
        f"{place.name}.yaml",
        f"""workers: {entry.workers}
io: {entry.io}
admin: {{ socket: {processes.dir}/{place.name}.sock, http: off }}
log: {{ level: warn, access: {access} }}
limits: {{ connections: {CONNECTIONS_MAX} }}
timeouts: {{ connect: 5s, idle: 5m }}
listeners:
  bench:
    bind: "{place.address}"
    http: {{ {", ".join(demands)} }}
    routes:
    - {{ path: /assets/*, pool: assets }}
    - {{ path: {UNDER}*, pool: bench }}
pools:
  assets: [{servers}]
  bench: [{servers}]
""",
    )
    return [os.environ["RINGGATE"], "run", "-c", config]


def tokens_file(processes):
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return processes.file("tokens", f"bench sha256:{digest}\n")


def haproxy(options, processes, entry, place):
    program = shutil.which(options.haproxy)
    if program is None:
        return None
    lines = "\n".join(f"    server s{n} {server}" for n, server in enumerate(place.servers))
    splice = "option splice-request\n    option splice-response" if entry.bulk else "option splice-auto"
    buffers = f"tune.bufsize {BUFFER_BYTES}" if entry.bulk else ""
    config = processes.file(
        f"{place.name}.cfg",
        f"""global
    nbthread {entry.workers}
    maxconn {CONNECTIONS_MAX}
    maxpipes 400
    tune.pipesize 1048576
    {buffers}
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-request 10s
    timeout http-keep-alive 300s
    option http-keep-alive
    http-reuse always
    {splice}
frontend bench
    bind {place.address} backlog {BACKLOG} shards by-thread {"proto h2" if entry.h2 else ""}
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    use_backend assets if {{ path_beg /assets/ }}
    use_backend bench if {{ path_beg {UNDER} }}
backend assets
    balance roundrobin
{lines}
backend bench
    balance roundrobin
{lines}
""",
    )
    return [program, "-db", "-f", config]


def nginx(_options, processes, entry, place):
    program = shutil.which("nginx")
    if program is None:
        return None
    servers = " ".join(f"server {server};" for server in place.servers)
    keep = f"keepalive 256; keepalive_requests {REQUESTS_MAX}; keepalive_timeout 300s;"
    # What passes through while it comes, in buffers that hold some of it; as it is, nginx takes a whole body first,
    # by a file when it is longer than 16 KiB.
    buffers = f"""proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k;
  proxy_max_temp_file_size 0; proxy_request_buffering off; client_body_buffer_size 512k;"""
    config = processes.file(
        f"{place.name}.conf",
        f"""{peers.nginx_process(processes, place.name, entry.workers)}
http {{
  access_log off; server_tokens off; {peers.nginx_temporary(processes)}
  keepalive_timeout 300s; keepalive_requests {REQUESTS_MAX};
  client_max_body_size 0; client_header_timeout 10s;
  {buffers if entry.bulk else ""}
  upstream assets {{ {servers} {keep} }}
  upstream bench {{ {servers} {keep} }}
  server {{
    listen {place.address} reuseport backlog={BACKLOG} {"http2" if entry.h2 else ""};
    proxy_http_version 1.1; proxy_connect_timeout 5s;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    location /assets/ {{ proxy_pass http://assets; }}
    location {UNDER} {{ proxy_pass http://bench; }}
  }}
}}
""",
    )
    return [program, "-c", config, "-e", "stderr"]


def envoy(_options, processes, entry, place):
    program = peers.envoy_program()
    if not program.exists():
        return None
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    config = processes.file(
        f"{place.name}.yaml",
        f"""stats_config: {{ stats_matcher: {{ reject_all: true }} }}
static_resources:
  listeners:
  - name: bench
    address: {peers.envoy_address(place.address)}
    enable_reuse_port: true
    tcp_backlog_size: {BACKLOG}
    per_connection_buffer_limit_bytes: 1048576
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {manager}
          stat_prefix: h
          codec_type: {"HTTP2" if entry.h2 else "HTTP1"}
          use_remote_address: true
          generate_request_id: false
          normalize_path: true
          request_headers_timeout: 10s
          common_http_protocol_options: {{ idle_timeout: 300s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {router}, dynamic_stats: false, suppress_envoy_headers: true }}
          route_config:
            virtual_hosts:
            - name: bench
              domains: ["*"]
              routes:
              - {{ match: {{ prefix: /assets/ }}, route: {{ cluster: assets, timeout: 60s }} }}
              - {{ match: {{ prefix: {UNDER} }}, route: {{ cluster: bench, timeout: 60s }} }}
  clusters:
{peers.envoy_cluster("assets", place.servers)}
{peers.envoy_cluster("bench", place.servers)}
""",
    )
    return [program, "-c", config, "--concurrency", entry.workers, "--disable-hot-restart", "-l", "error"]


STARTERS = {"ringgate": ringgate, "haproxy": haproxy, "nginx": nginx, "envoy": envoy}
