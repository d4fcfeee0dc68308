"""The proxies of a contest and the nginx behind them, each with the settings that are fair: one worker, no logs, connect
5 s, idle 5 min, the same backlog, TCP_NODELAY (the default of all three). It measures nothing."""

import os
import pathlib
import shutil

from contest import LOAD_CORE, PROXY_CORE, Contestant, wanted

BACKLOG = 65535


def start(options, processes, servers, checks, bulk=False):
    """Starts every proxy that is wanted and installed. `checks`: ask each server every 2 s whether it is alive.
    `bulk`: each peer's best settings for long transfers instead of small replies."""
    found = [Contestant("direct", servers[0], None)] if wanted(options, "direct") else []
    starters = [("ringgate", ringgate), ("haproxy", haproxy), ("nginx", nginx)]
    if options.aa:
        starters.append(("ringgate again", ringgate))
    for number, (name, proxy) in enumerate(starters):
        if not wanted(options, name.split()[0]):
            continue
        address = f"127.0.0.1:{7001 + number}"
        command = proxy(options, processes, name.replace(" ", "-"), address, servers, checks, bulk)
        if command is None:
            print(f"{name} is not installed, so it is left out")
            continue
        pid = processes.start(name, command, PROXY_CORE, address)
        found.append(Contestant(name, address, pid))
    return found


def ringgate(options, processes, name, address, servers, checks, _bulk):
    access = processes.dir / f"{name}.access" if options.access_log == "on" else "off"
    health = "\n    health: { interval: 2s }" if checks else ""
    config = processes.file(
        f"{name}.yaml",
        f"""workers: 1
admin: {{ socket: {processes.dir}/{name}.sock, http: off }}
log: {{ level: warn, access: {access} }}
timeouts: {{ connect: 5s, idle: 5m }}
listeners:
  bench: {{ bind: "{address}", pool: bench }}
pools:
  bench:{health}
    servers: [{", ".join(f'"{server}"' for server in servers)}]
""",
    )
    return [os.environ["RINGGATE"], "run", "-c", config]


def haproxy(options, processes, name, address, servers, checks, bulk):
    program = shutil.which(options.haproxy)
    if program is None:
        return None
    check = "check inter 2s" if checks else ""
    lines = "\n".join(f"    server s{n} {server} {check}" for n, server in enumerate(servers))
    splice = "option splice-request\n    option splice-response" if bulk else "option splice-auto"
    config = processes.file(
        f"{name}.cfg",
        f"""global
    nbthread 1
    maxconn 4000
    tune.pipesize 1048576
defaults
    mode tcp
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    option tcp-smart-accept
    option tcp-smart-connect
    {splice}
frontend bench
    bind {address} backlog {BACKLOG}
    default_backend bench
backend bench
    balance roundrobin
{lines}
""",
    )
    return [program, "-db", "-f", config]


def nginx(_options, processes, name, address, servers, _checks, bulk):
    # nginx has no active checks; the others ask three servers every 2 s, which costs them next to nothing.
    program = shutil.which("nginx")
    module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if program is None or not module.exists():
        return None
    lines = " ".join(f"server {server};" for server in servers)
    config = processes.file(
        f"{name}.conf",
        f"""load_module {module};
{nginx_process(processes, name)}
stream {{
  access_log off;
  upstream bench {{ {lines} }}
  server {{
    listen {address} reuseport backlog={BACKLOG};
    proxy_connect_timeout 5s; proxy_timeout 300s; proxy_buffer_size {"256k" if bulk else "16k"};
    proxy_pass bench;
  }}
}}
""",
    )
    return [program, "-c", config, "-e", "stderr"]


def nginx_process(processes, name):
    user = "user root; " if os.geteuid() == 0 else ""
    return f"""{user}daemon off; worker_processes 1;
pid {processes.dir}/{name}.pid; error_log stderr warn;
events {{ worker_connections 9000; multi_accept on; }}"""


def nginx_servers(processes, addresses):
    """One nginx process that answers every request on every address with a small static reply."""
    listens = " ".join(f"listen {address} backlog={BACKLOG};" for address in addresses)
    temporary = " ".join(
        f"{kind}_temp_path {processes.dir};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = processes.file(
        "servers.conf",
        f"""{nginx_process(processes, "servers")}
http {{
  access_log off; {temporary}
  keepalive_timeout 300s; keepalive_requests 1000000000;
  server {{ {listens} location / {{ return 200 "{"ringgate" * 12}\\n"; }} }}
}}
""",
    )
    processes.start("servers", [shutil.which("nginx"), "-c", config, "-e", "stderr"], LOAD_CORE, addresses[0])
