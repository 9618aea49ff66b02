"""A browser by the W3C WebDriver protocol: what the run needs of it, and nothing to install."""

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the standard gives elements
WAIT = 15  # seconds until something must be there


def call(method, url, body=None, headers=None):
    """Sends JSON, or a form when the body is bytes; returns status and JSON."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


class Browser:
    """Headless Chromium with a window of this size."""

    def __init__(self, width, height):
        # The driver names its port on standard output.
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        port = next(line.split()[-1].rstrip(".") for line in self.driver.stdout if "successfully on port" in line)
        self.url = f"http://127.0.0.1:{port}/session"
        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"],
            "prefs": {"intl.accept_languages": "es-CO,es"},
        }
        capabilities = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self.send("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self.url += "/" + session["sessionId"]
        # Headless windows are not narrower than 500 px; a phone is emulated.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        self.metrics = metrics

    def send(self, method, path, body=None):
        status, answer = call(method, self.url + path, body if method == "GET" else body or {})
        if status != 200:
            raise RuntimeError(f"{method} {path}: {answer['value']['message']}")
        return answer["value"]

    def devtools(self, command, parameters):
        return self.send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.send("POST", "/url", {"url": url})

    def address(self):
        return self.send("GET", "/url")

    def find(self, selector):
        """The first visible element of a CSS selector, waited for."""
        deadline = time.monotonic() + WAIT
        while True:
            for found in self.send("POST", "/elements", {"using": "css selector", "value": selector}):
                if self.send("GET", f"/element/{found[ELEMENT]}/displayed"):
                    return found[ELEMENT]
            if time.monotonic() > deadline:
                raise AssertionError(f"{selector} does not show at {self.address()}: {self.text('body')}")
            time.sleep(0.1)

    def click(self, selector):
        self.send("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector, text):
        self.send("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector):
        found = self.send("POST", "/element", {"using": "css selector", "value": selector})
        return self.send("GET", f"/element/{found[ELEMENT]}/text")

    def into_frame(self, selector):
        self.send("POST", "/frame", {"id": {ELEMENT: self.find(selector)}})

    def to_newest_window(self):
        """Goes on in the window that a click has opened."""
        deadline = time.monotonic() + WAIT
        while len(windows := self.send("GET", "/window/handles")) < 2:
            assert time.monotonic() < deadline, "no window has opened"
            time.sleep(0.1)
        self.send("DELETE", "/window")
        [left] = [w for w in windows if w in self.send("GET", "/window/handles")]
        self.send("POST", "/window", {"handle": left})
        self.devtools("Emulation.setDeviceMetricsOverride", self.metrics)

    def run(self, script):
        return self.send("POST", "/execute/sync", {"script": "return " + script, "args": []})

    def complaints(self):
        """What the console has said since the last time: errors, and what a policy refused."""
        entries = self.send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.send("GET", "/screenshot")))

    def close(self):
        try:
            self.send("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(10)
