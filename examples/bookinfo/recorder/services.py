"""Bookinfo's services, simulated: the shapes are those of Istio's Bookinfo, the texts are our own."""

import html
import http.client
import http.server
import json
import threading
import urllib.parse

PRODUCTS = [
    {"id": 0, "title": "The Keeper of the Lock", "descriptionHtml": "A <b>lock keeper</b> learns which boats may pass."},
    {"id": 1, "title": "Upstream", "descriptionHtml": "Two engineers walk a river from its mouth to its source."},
    {"id": 2, "title": "A Short History of Weirs", "descriptionHtml": "Twelve dams, and what they were for."},
]
DETAILS = [
    {"id": 0, "author": "Marit Solheim", "year": 1962, "type": "paperback", "pages": 212, "publisher": "Tidewater Press",
     "language": "English", "ISBN-10": "0000000019", "ISBN-13": "978-0000000019"},
    {"id": 1, "author": "Ola and Ida Strand", "year": 1998, "type": "hardcover", "pages": 348, "publisher": "Tidewater Press",
     "language": "English", "ISBN-10": "0000000027", "ISBN-13": "978-0000000026"},
    {"id": 2, "author": "R. Damm", "year": 2011, "type": "paperback", "pages": 96, "publisher": "Small Rivers",
     "language": "German", "ISBN-10": "0000000035", "ISBN-13": "978-0000000033"},
]
REVIEWS = [
    [("Reviewer1", "Slow at first, like the water it is about; I did not want it to end."),
     ("Reviewer2", "The chapter on the flood alone is worth the price.")],
    [("Reviewer1", "More walking than engineering, and the better for it."),
     ("Reviewer2", "I would have liked a map.")],
    [("Reviewer1", "Does what it says. The drawings are excellent."),
     ("Reviewer2", "Too short: the last three dams get a page each.")],
]
STARS = [{"Reviewer1": 5, "Reviewer2": 4}, {"Reviewer1": 4, "Reviewer2": 3}, None]
COLOURS = {"v2": "black", "v3": "red"}
# What Bookinfo's services hand on from the request they serve.
PROPAGATED = ["x-request-id", "traceparent", "tracestate", "end-user", "user-agent", "cookie", "authorization"]
STATIC = {
    "/static/site.css": ("text/css", "body { font-family: serif; margin: 2em; }\n.stars { color: #333; }\n.red { color: #a00; }\n"),
    "/static/stars.js": ("text/javascript", "for (const it of document.querySelectorAll('.stars')) it.title = it.textContent.length;\n"),
}


class Service(http.server.BaseHTTPRequestHandler):
    """One service; `route` answers (status, content type, text[, headers])."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # one write an answer
    version = "v1"
    bookinfo = None

    def log_message(self, *_):
        pass

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.form = urllib.parse.parse_qs(self.rfile.read(length).decode())
        parts = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(parts.query)
        status, kind, text, *headers = self.route(parts.path)
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = handle_any

    def json(self, value, status=200):
        return (status, "application/json", json.dumps(value))

    def call(self, service, path):
        """Calls another service through Envoy and hands on what Bookinfo hands on; (status, parsed body)."""
        headers = {name: value for name in PROPAGATED if (value := self.headers.get(name))}
        if user := self.user():
            headers["end-user"] = user
        connection = http.client.HTTPConnection("127.0.0.1", self.bookinfo.proxy_port, timeout=10)
        connection.request("GET", path, headers={"Host": f"{service}:9080", **headers})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body)

    def user(self):
        return None

    def product(self, text):
        return int(text) if text.isdigit() and int(text) < len(PRODUCTS) else None


class ProductPage(Service):
    def user(self):
        for pair in (self.headers.get("cookie") or "").split("; "):
            name, _, value = pair.partition("=")
            if name == "session":
                return value.rpartition(".")[0]
        return None

    def route(self, path):
        if path in STATIC:
            return (200, *STATIC[path], ("cache-control", "max-age=3600"))
        if path == "/":
            return (200, "text/html; charset=utf-8", "<title>Bookinfo</title><a href='/productpage?u=normal'>Normal user</a>\n")
        if path == "/login" and self.command == "POST":
            user = urllib.parse.quote(self.form.get("username", [""])[0])
            session = ("set-cookie", f"session={user}.{sum(user.encode()):04x}; HttpOnly; Path=/")
            return (302, "text/html; charset=utf-8", "", ("location", "/productpage"), session)
        if path == "/logout":
            return (302, "text/html; charset=utf-8", "", ("location", "/productpage"), ("set-cookie", "session=; Max-Age=0; Path=/"))
        if path == "/productpage":
            return self.page(self.product(self.query.get("id", ["0"])[0]) or 0)
        if path == "/api/v1/products":
            return self.json(PRODUCTS)
        match path.removeprefix("/api/v1/products/").split("/"):
            case [number] if path.startswith("/api/") and self.product(number) is not None:
                return self.json(self.call("details", f"/details/{number}")[1])
            case [number, ("reviews" | "ratings") as service] if self.product(number) is not None:
                status, value = self.call(service, f"/{service}/{number}")
                return self.json(value, status)
        return (404, "text/html; charset=utf-8", "<title>404 Not Found</title><h1>Not Found</h1>\n")

    def page(self, number):
        product = PRODUCTS[number]
        details = self.call("details", f"/details/{number}")[1]
        reviews = self.call("reviews", f"/reviews/{number}")[1]
        lines = [
            "<title>Simple Bookstore App</title><link rel='stylesheet' href='/static/site.css'>",
            f"<p>{'Hello, ' + html.escape(urllib.parse.unquote(self.user())) if self.user() else 'Sign in'}</p>",
            f"<h1>{product['title']}</h1><p>{product['descriptionHtml']}</p>",
            f"<p>{details['author']}, {details['publisher']} {details['year']}, {details['pages']} pages</p>",
        ]
        for review in reviews["reviews"]:
            rating = review.get("rating", {})
            stars = f"<span class='stars {rating['color']}'>{'*' * rating['stars']}</span>" if "stars" in rating else ""
            lines.append(f"<blockquote>{review['text']} <i>{review['reviewer']}</i> {stars}{rating.get('error', '')}</blockquote>")
        return (200, "text/html; charset=utf-8", "\n".join(lines) + "\n")


class Details(Service):
    def route(self, path):
        number = self.product(path.removeprefix("/details/"))
        return self.json(DETAILS[number]) if number is not None else self.json({"error": "please provide a product id"}, 400)


class Ratings(Service):
    def route(self, path):
        number = self.product(path.removeprefix("/ratings/"))
        if number is None or STARS[number] is None:
            return self.json({"error": "no ratings for this product"}, 404)
        return self.json({"id": number, "ratings": STARS[number]})


class Reviews(Service):
    def route(self, path):
        number = self.product(path.removeprefix("/reviews/"))
        if number is None:
            return self.json({"error": "please provide a product id"}, 400)
        reviews = [{"reviewer": reviewer, "text": text} for reviewer, text in REVIEWS[number]]
        if colour := COLOURS.get(self.version):
            status, answer = self.call("ratings", f"/ratings/{number}")
            for review in reviews:
                if status == 200:
                    review["rating"] = {"stars": answer["ratings"][review["reviewer"]], "color": colour}
                else:
                    review["rating"] = {"error": "Ratings service is currently unavailable"}
        pod = f"reviews-{self.version}-5d4f7b9c8-x7k2q"
        return self.json({"id": str(number), "podname": pod, "clustername": "null", "reviews": reviews})


class Bookinfo:
    """All services, each on a port of its own; stopped when left. `proxy_port` is where they call each other."""

    proxy_port = None

    def __enter__(self):
        self.servers, self.ports = [], {}
        kinds = [("productpage", ProductPage, "v1"), ("details", Details, "v1"), ("ratings", Ratings, "v1"),
                 ("reviews", Reviews, "v1"), ("reviews", Reviews, "v2"), ("reviews", Reviews, "v3")]
        for name, kind, version in kinds:
            handler = type(kind.__name__, (kind,), {"version": version, "bookinfo": self})
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.servers.append(server)
            self.ports.setdefault(name, []).append(server.server_port)
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()
