"""minio-py."""

import io
from urllib.parse import urlparse

from minio import Minio
from minio.commonconfig import CopySource
from minio.deleteobjects import DeleteObject

from common import BIG, ENDPOINT, KEY, MANY, ODD_KEY, REGION, SECRET, SMALL, check, http, same, step, work

BUCKET = "minio-py"
client = Minio(urlparse(ENDPOINT).netloc, KEY, SECRET, secure=False, region=REGION)

client.make_bucket(BUCKET)
check(client.bucket_exists(BUCKET) and not client.bucket_exists("nobody-made-this"), "the bucket exists")
step("create bucket")

client.put_object(BUCKET, ODD_KEY, io.BytesIO(SMALL), len(SMALL), metadata={"colour": "blue"})
check(client.get_object(BUCKET, ODD_KEY).data == SMALL, "what was put is what is got")
check(client.stat_object(BUCKET, ODD_KEY).metadata["x-amz-meta-colour"] == "blue", "metadata")
step("put, get")

check(client.get_object(BUCKET, ODD_KEY, offset=100, length=200).data == SMALL[100:300], "a range")
step("range")

keys = [o.object_name for o in client.list_objects(MANY, recursive=True)]
check(len(keys) == 5000 and keys == sorted(keys), f"{len(keys)} keys in order")
prefixes = [o.object_name for o in client.list_objects(MANY)]
check(prefixes == [f"dir-{n:02}/" for n in range(50)], f"common prefixes: {prefixes}")
step("list")

client.fput_object(BUCKET, "big", BIG, part_size=20 << 20)
client.fget_object(BUCKET, "big", work("big"))
check(same(work("big")), "100 MiB come back")
step("multipart 100 MiB")

client.copy_object(BUCKET, "copy", CopySource(BUCKET, ODD_KEY))
check(client.get_object(BUCKET, "copy").data == SMALL, "a copy")
step("copy")

http("PUT", client.presigned_put_object(BUCKET, "by url"), SMALL)
check(http("GET", client.presigned_get_object(BUCKET, "by url")) == SMALL, "presigned")
step("presigned PUT, GET")

for number in range(30):
    client.put_object(BUCKET, f"gone/{number}", io.BytesIO(b"x"), 1)
names = [o.object_name for o in client.list_objects(BUCKET, recursive=True)]
errors = list(client.remove_objects(BUCKET, [DeleteObject(name) for name in names]))
check(len(names) == 34 and errors == [], f"{len(names)} objects, errors: {errors}")
client.remove_bucket(BUCKET)
step("delete many")
