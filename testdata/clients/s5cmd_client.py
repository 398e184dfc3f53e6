"""s5cmd."""

import os

from common import BIG, ENDPOINT, MANY, ODD_KEY, SMALL, check, http, run, same, step, work, write, read

BUCKET = "s5cmd"


def s5cmd(*arguments, input=None):
    return run("s5cmd", "--endpoint-url", ENDPOINT, "--retry-count", "1", *arguments, input=input)


s5cmd("mb", f"s3://{BUCKET}")
check(f"s3://{BUCKET}" in s5cmd("ls").decode().split(), "the bucket is listed")
step("create bucket")

s5cmd("cp", write("small", SMALL), f"s3://{BUCKET}/{ODD_KEY}")
s5cmd("cp", "--raw", f"s3://{BUCKET}/{ODD_KEY}", work("back"))
check(read(work("back")) == SMALL, "what was put is what is got")
step("put, get")

check(len(s5cmd("ls", f"s3://{MANY}/*").splitlines()) == 5000, "5,000 keys")
prefixes = [line.split()[-1] for line in s5cmd("ls", f"s3://{MANY}/").decode().splitlines()]
check(prefixes == [f"dir-{n:02}/" for n in range(50)], f"common prefixes: {prefixes}")
step("list")

# Parts up, ranges down.
s5cmd("cp", "--part-size", "20", BIG, f"s3://{BUCKET}/big")
s5cmd("cp", "--part-size", "20", f"s3://{BUCKET}/big", work("big"))
check(same(work("big")), "100 MiB come back")
os.remove(work("big"))
step("multipart 100 MiB, ranges")

s5cmd("cp", "--raw", f"s3://{BUCKET}/{ODD_KEY}", f"s3://{BUCKET}/copy")
check(s5cmd("cat", f"s3://{BUCKET}/copy") == SMALL, "a copy")
step("copy")

url = s5cmd("presign", f"s3://{BUCKET}/copy").decode().strip()
check(http("GET", url) == SMALL, "a presigned GET")
step("presigned GET")

commands = "\n".join(f"cp {work('small')} s3://{BUCKET}/gone/{number}" for number in range(30))
s5cmd("run", input=commands.encode())
check(len(s5cmd("ls", f"s3://{BUCKET}/gone/*").splitlines()) == 30, "30 objects")
s5cmd("rm", f"s3://{BUCKET}/*")
s5cmd("rb", f"s3://{BUCKET}")
step("delete many")
