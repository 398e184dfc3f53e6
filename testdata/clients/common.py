"""What the client scripts share: where the store is, what to send, how to say that a step is done."""

import hashlib
import os
import subprocess
import sys
import urllib.request

ENDPOINT = os.environ["ENDPOINT"]
KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET = os.environ["AWS_SECRET_ACCESS_KEY"]
REGION = os.environ["AWS_DEFAULT_REGION"]
# A bucket with 5,000 keys, `dir-00/key-00` to `dir-49/key-99`, to be listed and left alone.
MANY = os.environ["MANY"]
# A file of 100 MiB to be uploaded in parts, and a folder for what comes back.
BIG = os.environ["BIG"]
WORK = os.environ["WORK"]

SMALL = bytes(range(256)) * 40
# Each client has its own way of getting these wrong.
ODD_KEY = "odd/a b+c&d=e%20/é~(1)'!.txt"


def step(name):
    """Says that a step is done."""
    print(f"ok {name}", flush=True)


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def work(name):
    return os.path.join(WORK, name)


def write(name, data):
    path = work(name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


def same(path, other=BIG):
    """Whether two files have the same bytes."""
    digests = []
    for each in (path, other):
        with open(each, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] == digests[1]


def http(method, url, data=None, headers=None):
    """A request without any credentials beside those in the URL."""
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return response.read()


def run(*command, input=None):
    """Runs a command-line client; gives what it wrote to stdout."""
    done = subprocess.run(command, input=input, capture_output=True, cwd=WORK)
    text = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    check(done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}\n{text}")
    return done.stdout


def lines(*command):
    return run(*command).decode().splitlines()
