"""s3cmd."""

import os
from urllib.parse import urlparse

from common import BIG, ENDPOINT, KEY, MANY, ODD_KEY, REGION, SECRET, SMALL, check, http, run, same, step, work, write, read

BUCKET = "s3cmd"
HOST = urlparse(ENDPOINT).netloc
CONFIG = write("s3cfg", f"""[default]
access_key = {KEY}
secret_key = {SECRET}
host_base = {HOST}
host_bucket = {HOST}
bucket_location = {REGION}
use_https = False
signature_v2 = False
""".encode())


def s3cmd(*arguments):
    return run("s3cmd", "--config", CONFIG, "--no-progress", *arguments)


s3cmd("mb", f"s3://{BUCKET}")
check(f"s3://{BUCKET}" in s3cmd("ls").decode().split(), "the bucket is listed")
step("create bucket")

s3cmd("put", write("small", SMALL), f"s3://{BUCKET}/{ODD_KEY}", "--add-header=x-amz-meta-colour:blue")
s3cmd("get", f"s3://{BUCKET}/{ODD_KEY}", work("back"))
check(read(work("back")) == SMALL, "what was put is what is got")
check("blue" in s3cmd("info", f"s3://{BUCKET}/{ODD_KEY}").decode(), "metadata")
step("put, get")

write("begun", SMALL[:1000])
s3cmd("get", "--continue", f"s3://{BUCKET}/{ODD_KEY}", work("begun"))
check(read(work("begun")) == SMALL, "a download that goes on where it stopped")
step("range")

check(len(s3cmd("ls", "--recursive", f"s3://{MANY}").splitlines()) == 5000, "5,000 keys")
prefixes = [line.split()[-1] for line in s3cmd("ls", f"s3://{MANY}").decode().splitlines()]
check(prefixes == [f"s3://{MANY}/dir-{n:02}/" for n in range(50)], f"common prefixes: {prefixes}")
step("list")

s3cmd("put", "--multipart-chunk-size-mb=20", BIG, f"s3://{BUCKET}/big")
s3cmd("get", f"s3://{BUCKET}/big", work("big"))
check(same(work("big")), "100 MiB come back")
os.remove(work("big"))
step("multipart 100 MiB")

s3cmd("cp", f"s3://{BUCKET}/{ODD_KEY}", f"s3://{BUCKET}/copy")
s3cmd("modify", "--add-header=x-amz-meta-colour:red", f"s3://{BUCKET}/copy")
check("red" in s3cmd("info", f"s3://{BUCKET}/copy").decode(), "metadata changed in place")
s3cmd("get", "--force", f"s3://{BUCKET}/copy", work("back"))
check(read(work("back")) == SMALL, "a copy")
step("copy")

s3cmd("ws-create", "--ws-index=index.html", "--ws-error=404.html", f"s3://{BUCKET}")
site = s3cmd("ws-info", f"s3://{BUCKET}").decode()
check("index.html" in site and "404.html" in site, f"the website: {site}")
s3cmd("ws-delete", f"s3://{BUCKET}")
step("website")

s3cmd("put", work("small"), work("back"), f"s3://{BUCKET}/gone/")
s3cmd("del", "--recursive", "--force", f"s3://{BUCKET}/")
check(s3cmd("ls", "--recursive", f"s3://{BUCKET}") == b"", "nothing is left")
s3cmd("rb", f"s3://{BUCKET}")
step("delete many")
