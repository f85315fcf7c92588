"""A Ringfence server in a temporary folder, on free loopback ports, for the scripts in this folder."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time

import psutil


class Plane:
    """A client with one persistent connection to a plane."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port)

    def text(self, method, path, token, body=None):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.http.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text[:300]!r}")
        return text

    def call(self, method, path, token, body=None):
        return json.loads(self.text(method, path, token, body))


class Server:
    """The running server as scripts use it."""

    def __init__(self, process, version, token, ports):
        self.pid, self.version, self.token = process.pid, version, token
        self.data, self.control = map(Plane, ports)

    def spent(self):
        """CPU seconds of the server."""
        return sum(psutil.Process(self.pid).cpu_times()[:2])

    def key(self, tenant):
        """Creates a tenant and returns its API key."""
        self.control.call("POST", "/admin/v1/tenants", self.token, {"id": tenant})
        return self.control.call("POST", f"/admin/v1/tenants/{tenant}/api-keys", self.token, {"name": "peer"})["secret"]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextlib.contextmanager
def serving(folder):
    """Runs the server that RINGFENCE_BINARY names until the block ends."""
    ports = free_ports(2)
    environment = dict(
        os.environ,
        RINGFENCE_ROOT_KEY="07" * 32,
        RINGFENCE__DATA_PLANE__LISTEN=f"127.0.0.1:{ports[0]}",
        RINGFENCE__CONTROL_PLANE__LISTEN=f"127.0.0.1:{ports[1]}",
    )
    binary = os.environ["RINGFENCE_BINARY"]
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    # A pipe without a reader would fill and stop the server.
    log = f"{folder}/log"
    with open(log, "w") as out:
        process = subprocess.Popen(
            [binary, "serve", "--data", f"{folder}/data"], env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        output = ""
        while not ("listening" in output and "rfop_" in output):
            if process.poll() is not None:
                sys.exit(f"the server ended before it listened: {output}")
            time.sleep(0.05)
            with open(log) as lines:
                output = lines.read()
        yield Server(process, version, re.search(r"rfop_\w+", output).group(), ports)
    finally:
        process.terminate()
        process.wait()
