"""rclone."""

import os

from common import BIG, ENDPOINT, KEY, MANY, ODD_KEY, REGION, SECRET, SMALL, check, http, run, same, step, work, write

BUCKET = "rclone"
CONFIG = write("rclone.conf", f"""[mews]
type = s3
provider = Other
access_key_id = {KEY}
secret_access_key = {SECRET}
endpoint = {ENDPOINT}
region = {REGION}
chunk_size = 20M
""".encode())


def rclone(*arguments, input=None):
    return run("rclone", "--config", CONFIG, "--retries", "1", "--low-level-retries", "1", *arguments, input=input)


rclone("mkdir", f"mews:{BUCKET}")
check(f"{BUCKET}/" in rclone("lsf", "mews:").decode().split(), "the bucket is listed")
step("create bucket")

rclone("rcat", f"mews:{BUCKET}/{ODD_KEY}", input=SMALL)
check(rclone("cat", f"mews:{BUCKET}/{ODD_KEY}") == SMALL, "what was put is what is got")
step("put, get")

check(rclone("cat", "--offset", "100", "--count", "200", f"mews:{BUCKET}/{ODD_KEY}") == SMALL[100:300], "a range")
step("range")

check(len(rclone("lsf", "-R", "--files-only", "--fast-list", f"mews:{MANY}").splitlines()) == 5000, "5,000 keys")
prefixes = rclone("lsf", f"mews:{MANY}").decode().split()
check(prefixes == [f"dir-{n:02}/" for n in range(50)], f"common prefixes: {prefixes}")
step("list")

rclone("copyto", "--s3-upload-cutoff", "20M", BIG, f"mews:{BUCKET}/big")
rclone("copyto", f"mews:{BUCKET}/big", work("big"))
check(same(work("big")), "100 MiB come back")
# rclone keeps the time of a file in its metadata, and compares it.
rclone("check", "--one-way", os.path.dirname(BIG), f"mews:{BUCKET}", "--include", "/big")
os.remove(work("big"))
step("multipart 100 MiB")

rclone("copyto", f"mews:{BUCKET}/big", f"mews:{BUCKET}/copy of big")
rclone("copyto", f"mews:{BUCKET}/{ODD_KEY}", f"mews:{BUCKET}/copy")
rclone("touch", f"mews:{BUCKET}/copy")
check(rclone("cat", f"mews:{BUCKET}/copy") == SMALL, "a copy")
rclone("copyto", "--s3-copy-cutoff", "30M", f"mews:{BUCKET}/big", f"mews:{BUCKET}/copy in parts")
sizes = rclone("lsf", "--format", "sp", f"mews:{BUCKET}", "--include", "/copy*").decode().splitlines()
expected = [f"{len(SMALL)};copy", f"{100 << 20};copy in parts", f"{100 << 20};copy of big"]
check(sorted(sizes) == sorted(expected), f"sizes: {sizes}")
step("copy")

url = rclone("link", "--expire", "1h", f"mews:{BUCKET}/copy").decode().strip()
check(http("GET", url) == SMALL, "a presigned GET")
step("presigned GET")

os.makedirs(work("tree"), exist_ok=True)
for number in range(30):
    write(f"tree/{number}", b"x" * number)
rclone("sync", work("tree"), f"mews:{BUCKET}/tree")
rclone("check", work("tree"), f"mews:{BUCKET}/tree")
rclone("purge", f"mews:{BUCKET}")
check(f"{BUCKET}/" not in rclone("lsf", "mews:").decode().split(), "the bucket is gone")
step("delete many")
