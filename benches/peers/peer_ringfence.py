#!/usr/bin/env python3
"""Ringfence over HTTP, in the form of the other engines' scripts: each tenant with a key and a namespace of its own.

usage: PYTHONPATH=DIR peer_ringfence.py --data DATA --out FILE.json, where DIR holds their `common.py`. Starts the server
that RINGFENCE_BINARY names in a temporary folder on free ports of the loopback, and stops it. Every query is
authenticated and audited, and its answer carries id and text. Their figures count client and server; the server's own
share stands beside them as `server_*`. Needs numpy and psutil.
"""
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time

import psutil
from common import args, run, tmp
from common import Data

BATCH = 500


def free_ports(count):
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Plane:
    """One connection, kept."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port)

    def call(self, method, path, token, body=None):
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        self.http.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)


def main():
    options = args()
    data, folder = Data(options.data, options.queries), tmp()
    data_port, control_port = free_ports(2)
    environment = dict(
        os.environ,
        RINGFENCE_ROOT_KEY="07" * 32,
        RINGFENCE__DATA_PLANE__LISTEN=f"127.0.0.1:{data_port}",
        RINGFENCE__CONTROL_PLANE__LISTEN=f"127.0.0.1:{control_port}",
    )
    binary = os.environ["RINGFENCE_BINARY"]
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    # A pipe that nobody reads would fill and stop it.
    log = f"{folder}/log"
    with open(log, "w") as out:
        server = subprocess.Popen(
            [binary, "serve", "--data", f"{folder}/data"], env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    run.extra = [server.pid]
    try:
        said = ""
        while not ("listening" in said and "rfop_" in said):
            if server.poll() is not None:
                sys.exit(f"the server ended before it listened: {said}")
            time.sleep(0.05)
            with open(log) as lines:
                said = lines.read()
        token = re.search(r"rfop_\w+", said).group()
        plane, control, keys = Plane(data_port), Plane(control_port), {}
        path = "/v1/namespaces/docs"

        def ingest():
            for tenant in sorted(set(data.names)):
                control.call("POST", "/admin/v1/tenants", token, {"id": tenant})
                made = control.call("POST", f"/admin/v1/tenants/{tenant}/api-keys", token, {"name": "peer"})
                keys[tenant] = made["secret"]
            for tenant, key in keys.items():
                rows = [n for n, name in enumerate(data.names) if name == tenant]
                for at in range(0, len(rows), BATCH):
                    batch = rows[at : at + BATCH]
                    documents = [
                        {"id": str(n), "text": data.texts[n], "vector": [float(x) for x in data.base[n]]} for n in batch
                    ]
                    plane.call("POST", f"{path}/documents", key, {"documents": documents})

        def spent():
            return sum(psutil.Process(server.pid).cpu_times()[:2])

        asked = []

        def query(vector, tenant, _variant):
            asked.append(spent())
            body = {"vector": [float(x) for x in vector], "top_k": 10, "include": ["text"]}
            reply = plane.call("POST", f"{path}/search", keys[tenant], body)
            return [int(hit["document_id"]) for hit in reply["hits"]]

        notes = "HTTP, audit and auth included"
        result = run("ringfence", version, data, ingest, query, options.out, path=folder, notes=notes)
        # Behind the first round, in which every tenant's index is built.
        first = len(asked) // 3
        each = (asked[-1] - asked[first]) / (len(asked) - 1 - first)
        result |= {"server_ingest_cpu_s": round(asked[0], 2), "server_cpu_ms_per_query": round(each * 1e3, 3)}
        with open(options.out, "w") as out:
            json.dump(result, out, indent=1)
        print(f"the server alone: {asked[0]:.2f} s of CPU for ingest, {each * 1e3:.3f} ms for a query")
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
