# test/sys/layer_registry.py: a registry on loopback that serves an image layout, and can want tokens, redirect, fail and lie.
import base64
import http.server
import json
import os
import threading
import urllib.parse

USER = "me:secret"


class Registry(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, layout, **how):
        super().__init__(("127.0.0.1", 0), Handler)
        self.layout, self.how, self.seen, self.failed = layout, how, [], set()
        self.hung, self.go_on = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self):
        return f"localhost:{self.server_address[1]}"

    def handle_error(self, *_):
        pass  # whoever asked has had enough

    def close(self):
        self.go_on.set()
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        how, got = self.server.how.get("auth"), self.headers.get("Authorization", "")
        if how == "basic" and got != "Basic " + base64.b64encode(USER.encode()).decode():
            self.answer(401, WWW_Authenticate='Basic realm="x"')
        elif how == "bearer" and got != "Bearer good":
            self.answer(401, json.dumps({"errors": [{"message": "token wanted"}]}).encode(),
                        WWW_Authenticate=f'Bearer realm="http://{self.server.host}/token",service="the registry",scope="x"')
        else:
            return True
        return False

    def token(self, query):
        want = self.server.how.get("user")
        if want and self.headers.get("Authorization") != "Basic " + base64.b64encode(want.encode()).decode():
            return self.answer(401)
        ask = urllib.parse.parse_qs(query)
        assert ask["service"] == ["the registry"] and ask["scope"] == ["repository:some/image:pull"], ask
        return self.answer(200, b'{"token": "good", "expires_in": 60}')

    def blob(self, digest):
        path = f"{self.server.layout.path}/blobs/sha256/{digest[7:]}"
        if not os.path.exists(path):
            return self.answer(404, b'{"errors":[{"message":"blob unknown"}]}')
        with open(path, "rb") as f:
            return self.answer(200, self.server.how.get("change", lambda d: d)(f.read()))

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        self.server.seen.append((url.path, self.headers.get("Authorization")))
        if url.path == "/token":
            return self.token(url.query)
        if url.path.startswith("/elsewhere/"):
            return self.blob(url.path.rpartition("/")[2])
        if not self.allowed():
            return None
        if self.server.how.get("flaky") and url.path not in self.server.failed:
            self.server.failed.add(url.path)
            return self.answer(503)
        kind, _, what = url.path.removeprefix("/v2/some/image/").partition("/")
        if kind == "manifests":
            assert "vnd.oci.image.index" in self.headers["Accept"] and "docker.distribution.manifest.v2" in self.headers["Accept"]
            for desc in self.server.layout.manifests:
                if what in (desc["digest"], desc.get("annotations", {}).get("org.opencontainers.image.ref.name")):
                    return self.blob(desc["digest"])
            return self.answer(404, b'{"errors":[{"message":"manifest unknown"}]}')
        if kind == "blobs" and what == self.server.how.get("hang"):
            self.server.hung.set()
            self.server.go_on.wait(60)
            return self.answer(500)
        if kind == "blobs" and "redirect" in self.server.how:
            return self.answer(307, Location=self.server.how["redirect"] + what)
        return self.blob(what)
