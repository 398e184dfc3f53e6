"""The AWS command-line interface, as people use it: `aws s3`, and `aws s3api` where that has no word for it."""

import json
import os

from common import BIG, ENDPOINT, MANY, ODD_KEY, SMALL, check, http, lines, run, same, step, work, write, read

BUCKET = "aws-cli"


def aws(*arguments):
    return run("aws", "--endpoint-url", ENDPOINT, *arguments)


aws("s3", "mb", f"s3://{BUCKET}")
check(BUCKET in aws("s3", "ls").decode().split(), "the bucket is listed")
step("create bucket")

small = write("small", SMALL)
aws("s3", "cp", small, f"s3://{BUCKET}/{ODD_KEY}", "--metadata", "colour=blue", "--no-progress")
aws("s3", "cp", f"s3://{BUCKET}/{ODD_KEY}", work("back"), "--no-progress")
check(read(work("back")) == SMALL, "what was put is what is got")
step("put, get")

aws("s3api", "get-object", "--bucket", BUCKET, "--key", ODD_KEY, "--range", "bytes=100-299", work("range"))
check(read(work("range")) == SMALL[100:300], "a range")
step("range")

listed = aws("s3", "ls", "--recursive", f"s3://{MANY}").decode().splitlines()
check(len(listed) == 5000, f"{len(listed)} keys")
prefixes = [line.split()[1] for line in aws("s3", "ls", f"s3://{MANY}").decode().splitlines()]
check(prefixes == [f"dir-{n:02}/" for n in range(50)], f"common prefixes: {prefixes}")
step("list")

aws("s3", "cp", BIG, f"s3://{BUCKET}/big", "--no-progress")
aws("s3", "cp", f"s3://{BUCKET}/big", work("big"), "--no-progress")
check(same(work("big")), "100 MiB come back")
os.remove(work("big"))
step("multipart 100 MiB")

aws("s3", "cp", f"s3://{BUCKET}/big", f"s3://{BUCKET}/copy", "--no-progress")
head = json.loads(aws("s3api", "head-object", "--bucket", BUCKET, "--key", "copy"))
check(head["ContentLength"] == os.path.getsize(BIG), f"the copy: {head}")
aws("s3", "mv", f"s3://{BUCKET}/{ODD_KEY}", f"s3://{BUCKET}/moved", "--no-progress")
check(aws("s3", "cp", f"s3://{BUCKET}/moved", "-") == SMALL, "what was moved")
step("copy")

url = aws("s3", "presign", f"s3://{BUCKET}/moved").decode().strip()
check(http("GET", url) == SMALL, "a presigned GET")
step("presigned GET")

aws("s3", "website", f"s3://{BUCKET}", "--index-document", "index.html", "--error-document", "404.html")
site = json.loads(aws("s3api", "get-bucket-website", "--bucket", BUCKET))
check(site == {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "404.html"}}, f"the website: {site}")
aws("s3api", "delete-bucket-website", "--bucket", BUCKET)
step("website")

os.makedirs(work("tree/deep"), exist_ok=True)
for number in range(30):
    write(f"tree/deep/{number}", b"x" * number)
aws("s3", "sync", work("tree"), f"s3://{BUCKET}/tree", "--no-progress")
check(len(aws("s3", "ls", "--recursive", f"s3://{BUCKET}/tree/").decode().splitlines()) == 30, "a synced tree")
check(aws("s3", "sync", work("tree"), f"s3://{BUCKET}/tree", "--no-progress") == b"", "a second sync has nothing to do")
keys = [{"Key": f"tree/deep/{number}"} for number in range(30)]
request = write("delete.json", json.dumps({"Objects": keys}).encode())
deleted = json.loads(aws("s3api", "delete-objects", "--bucket", BUCKET, "--delete", f"file://{request}"))
check(len(deleted["Deleted"]) == 30, f"deleted: {deleted}")
aws("s3", "rb", "--force", f"s3://{BUCKET}")
step("delete many")
