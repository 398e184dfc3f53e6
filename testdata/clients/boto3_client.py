"""boto3, the AWS SDK for Python."""

import os

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

from common import BIG, ENDPOINT, MANY, ODD_KEY, SMALL, check, http, same, step, work

BUCKET = "boto3"
s3 = boto3.client("s3", endpoint_url=ENDPOINT, config=Config(signature_version="s3v4", retries={"max_attempts": 1}))


def unset(code, get):
    """The bucket has no such settings, and is said to have none by this code."""
    try:
        check(False, f"there is still one: {get(Bucket=BUCKET)}")
    except ClientError as error:
        check(error.response["Error"]["Code"] == code, f"{code}: {error}")


s3.create_bucket(Bucket=BUCKET)
check(BUCKET in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]], "the bucket is listed")
step("create bucket")

s3.put_object(Bucket=BUCKET, Key=ODD_KEY, Body=SMALL, ContentType="text/odd", Metadata={"colour": "blue"})
got = s3.get_object(Bucket=BUCKET, Key=ODD_KEY, ChecksumMode="ENABLED")
check(got["Body"].read() == SMALL, "what was put is what is got")
check(got["ContentType"] == "text/odd" and got["Metadata"] == {"colour": "blue"}, f"metadata: {got['Metadata']}")
check([o["Key"] for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [ODD_KEY], "the odd key is listed")
step("put, get")

got = s3.get_object(Bucket=BUCKET, Key=ODD_KEY, Range="bytes=100-299")
check(got["Body"].read() == SMALL[100:300] and got["ContentRange"] == f"bytes 100-299/{len(SMALL)}", "a range")
step("range")

# CRC32C and CRC64NVME need a package of AWS's own.
for algorithm in ("CRC32", "SHA1", "SHA256"):
    s3.put_object(Bucket=BUCKET, Key=algorithm, Body=SMALL, ChecksumAlgorithm=algorithm)
    check(f"Checksum{algorithm}" in s3.get_object(Bucket=BUCKET, Key=algorithm, ChecksumMode="ENABLED"), algorithm)
step("checksums")

pages = s3.get_paginator("list_objects_v2").paginate(Bucket=MANY)
keys = [o["Key"] for page in pages for o in page["Contents"]]
check(len(keys) == 5000 and keys == sorted(keys), f"{len(keys)} keys in order")
pages = s3.get_paginator("list_objects").paginate(Bucket=MANY, Delimiter="/", PaginationConfig={"PageSize": 7})
prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
check(prefixes == [f"dir-{n:02}/" for n in range(50)], f"common prefixes: {prefixes}")
step("list")

s3.upload_file(BIG, BUCKET, "big", Config=TransferConfig(multipart_chunksize=32 << 20))
s3.download_file(BUCKET, "big", work("big"))
check(same(work("big")), "100 MiB come back")
os.remove(work("big"))
head = s3.head_object(Bucket=BUCKET, Key="big", PartNumber=2, ChecksumMode="ENABLED")
check(head["PartsCount"] == 4 and head["ContentLength"] == 32 << 20, f"part 2: {head}")
parts = s3.get_object_attributes(Bucket=BUCKET, Key="big", ObjectAttributes=["ObjectParts", "Checksum", "ETag"])
check(parts["ObjectParts"]["TotalPartsCount"] == 4, f"attributes: {parts}")
step("multipart 100 MiB")

upload = s3.create_multipart_upload(Bucket=BUCKET, Key="pieces")["UploadId"]
sources = [{"CopySourceRange": "bytes=1-6000000"}, {"CopySourceRange": "bytes=6000001-6000010"}]
numbered = []
for number, source in enumerate(sources, 1):
    part = s3.upload_part_copy(
        Bucket=BUCKET, Key="pieces", UploadId=upload, PartNumber=number, CopySource=f"{BUCKET}/big", **source)
    numbered.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
check(len(s3.list_parts(Bucket=BUCKET, Key="pieces", UploadId=upload)["Parts"]) == 2, "two parts are listed")
check(s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"][0]["UploadId"] == upload, "the upload is listed")
s3.complete_multipart_upload(Bucket=BUCKET, Key="pieces", UploadId=upload, MultipartUpload={"Parts": numbered})
with open(BIG, "rb") as file:
    file.seek(1)
    check(s3.get_object(Bucket=BUCKET, Key="pieces")["Body"].read() == file.read(6000010), "pieces of the big one")
upload = s3.create_multipart_upload(Bucket=BUCKET, Key="given up")["UploadId"]
s3.abort_multipart_upload(Bucket=BUCKET, Key="given up", UploadId=upload)
check("Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET), "no upload is left")
step("multipart from copies")

s3.copy_object(Bucket=BUCKET, Key="copy of odd", CopySource={"Bucket": BUCKET, "Key": ODD_KEY})
copy = s3.get_object(Bucket=BUCKET, Key="copy of odd")
check(copy["Body"].read() == SMALL and copy["Metadata"] == {"colour": "blue"}, "a copy")
s3.copy_object(Bucket=BUCKET, Key="copy of big", CopySource=f"{BUCKET}/big", MetadataDirective="REPLACE", ContentType="x/y")
s3.download_file(BUCKET, "copy of big", work("copy"))
check(same(work("copy")), "the copy of 100 MiB comes back")
os.remove(work("copy"))
step("copy")

url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "by url"})
http("PUT", url, SMALL)
url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "by url", "ResponseContentType": "a/b"})
check(http("GET", url) == SMALL, "a presigned GET gives what a presigned PUT put")
step("presigned PUT, GET")

port = ENDPOINT.rsplit(":", 1)[1]
virtual = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
virtual = boto3.client("s3", endpoint_url=f"http://localhost:{port}", config=virtual)
url = virtual.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "by url"})
host = f"{BUCKET}.localhost:{port}"
check(url.startswith(f"http://{host}/by"), f"the bucket is in the host's name: {url}")
# Not every resolver knows that all names under localhost are this machine.
check(http("GET", url.replace(f"http://{host}", ENDPOINT), headers={"Host": host}) == SMALL, "a virtual host")
step("virtual host")

site = {
    "IndexDocument": {"Suffix": "index.html"},
    "ErrorDocument": {"Key": "404.html"},
    "RoutingRules": [
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "new/"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "lost/"},
            "Redirect": {"HostName": "www.example.org", "Protocol": "https", "HttpRedirectCode": "302"},
        },
    ],
}
s3.put_bucket_website(Bucket=BUCKET, WebsiteConfiguration=site)
got = s3.get_bucket_website(Bucket=BUCKET)
check({part: got.get(part) for part in site} == site, f"the website: {got}")
everything = {"RedirectAllRequestsTo": {"HostName": "www.example.org", "Protocol": "https"}}
s3.put_bucket_website(Bucket=BUCKET, WebsiteConfiguration=everything)
got = s3.get_bucket_website(Bucket=BUCKET)
check(got["RedirectAllRequestsTo"] == everything["RedirectAllRequestsTo"], f"everything is redirected: {got}")
s3.delete_bucket_website(Bucket=BUCKET)
unset("NoSuchWebsiteConfiguration", s3.get_bucket_website)
step("website")

PAGE = "https://app.example"
rules = [{
    "ID": "app", "AllowedOrigins": [PAGE], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["content-*"],
    "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 600,
}]
s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": rules})
check(s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"] == rules, "the rules for other websites' pages")
put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "page"})
http("OPTIONS", put, headers={"Origin": PAGE, "Access-Control-Request-Method": "PUT"})
http("PUT", put, data=b"from a page", headers={"Origin": PAGE})
s3.delete_bucket_cors(Bucket=BUCKET)
unset("NoSuchCORSConfiguration", s3.get_bucket_cors)
step("cors")

for number in range(30):
    s3.put_object(Bucket=BUCKET, Key=f"gone/{number}", Body=b"")
keys = [{"Key": o["Key"]} for o in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
check(len(deleted["Deleted"]) == len(keys) and "Errors" not in deleted, f"deleted: {deleted}")
s3.delete_bucket(Bucket=BUCKET)
step("delete many")
