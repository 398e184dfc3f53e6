"""A client that is made from the OpenAPI document of a running daemon keeps keys, buckets and tokens with it."""

import importlib
import os
import subprocess
import sys
import urllib.request

ENDPOINT = os.environ["ADMIN"]
TOKEN = os.environ["TOKEN"]
WORK = os.environ["WORK"]


def check(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def generate():
    """Makes the client; a warning means that a part of the document is not understood."""
    path = os.path.join(WORK, "openapi.json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{ENDPOINT}/v2/openapi.json", timeout=60) as response, open(path, "wb") as file:
        file.write(response.read())
    program = os.path.join(os.path.dirname(sys.executable), "openapi-python-client")
    package = os.path.join(WORK, "mews_admin")
    command = [program, "generate", "--path", path, "--output-path", package, "--meta", "none"]
    done = subprocess.run(
        [*command, "--fail-on-warning", "--config", config()], capture_output=True, text=True
    )
    check(done.returncode == 0, f"{done.stdout}{done.stderr}")
    sys.path.insert(0, WORK)


def config():
    """Without what would only make the client's code prettier."""
    path = os.path.join(WORK, "config.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("post_hooks: []\n")
    return path


generate()
models = importlib.import_module("mews_admin.models")
client = importlib.import_module("mews_admin.client").AuthenticatedClient(
    base_url=ENDPOINT, token=TOKEN, raise_on_unexpected_status=True, timeout=60
)


def call(group, name, status=200, **arguments):
    """Makes a call; gives what it is answered, as the client has understood it."""
    module = importlib.import_module(f"mews_admin.api.{group}.{name}")
    answer = module.sync_detailed(client=arguments.pop("client", client), **arguments)
    check(answer.status_code == status, f"{name}: {answer.status_code} {answer.content}")
    return answer.parsed


def keys():
    made = call("access_key", "create_key", body=models.UpdateKeyRequestBody(name="camera"))
    check(made.name == "camera" and made.secret_access_key, f"made: {made}")
    key = made.access_key_id
    check(key in [each.id for each in call("access_key", "list_keys")], "a new key is listed")
    found = call("access_key", "get_key_info", search="camera", show_secret_key=True)
    check(found.secret_access_key == made.secret_access_key, "its secret is told when asked for")
    change = models.UpdateKeyRequestBody(name="film", allow=models.KeyPerm(create_bucket=True))
    changed = call("access_key", "update_key", id=key, body=change)
    check(changed.name == "film" and changed.permissions.create_bucket, f"changed: {changed}")
    body = models.ImportKeyRequest(
        access_key_id="OTHERSTORE1", secret_access_key="a-secret-of-old", name="old"
    )
    call("access_key", "import_key", body=body)
    infos = call("access_key", "list_keys_info")
    check({"film", "old"} <= {each.name for each in infos}, f"all of them: {infos}")
    return key


def buckets(key):
    made = call("bucket", "create_bucket", body=models.CreateBucketRequest(global_alias="holiday"))
    bucket = made.id
    check(made.global_aliases == ["holiday"] and made.objects == 0, f"made: {made}")
    body = models.UpdateBucketRequestBody(
        quotas=models.ApiBucketQuotas(max_objects=5),
        website_access=models.UpdateBucketWebsiteAccess(enabled=True, index_document="index.html"),
    )
    changed = call("bucket", "update_bucket", id=bucket, body=body)
    check(changed.quotas.max_objects == 5 and changed.website_access, f"changed: {changed}")
    alias = models.BucketAliasRequest(bucket_id=bucket, local_alias="mine", access_key_id=key)
    named = call("bucket_alias", "add_bucket_alias", body=alias)
    check(named.keys[0].bucket_local_aliases == ["mine"], f"named: {named}")
    may = models.ApiBucketKeyPerm(read=True, write=True)
    body = models.BucketKeyPermChangeRequest(
        bucket_id=bucket, access_key_id=key, permissions=may
    )
    allowed = call("permission", "allow_bucket_key", body=body).keys[0].permissions
    check(allowed.read and allowed.write and not allowed.owner, f"allowed: {allowed}")
    body = models.BucketKeyPermChangeRequest(
        bucket_id=bucket, access_key_id=key, permissions=models.ApiBucketKeyPerm(write=True)
    )
    denied = call("permission", "deny_bucket_key", body=body).keys[0].permissions
    check(denied.read and not denied.write, f"denied: {denied}")
    call("bucket_alias", "remove_bucket_alias", body=alias)
    listed = {each.id: each for each in call("bucket", "list_buckets")}
    check(listed[bucket].global_aliases == ["holiday"], f"listed: {listed}")
    infos = {each.id: each for each in call("bucket", "list_buckets_info")}
    found = call("bucket", "get_bucket_info", global_alias="holiday")
    check(infos[bucket].to_dict() == found.to_dict(), "a list says the same as the bucket alone")
    uploads = call(
        "bucket",
        "cleanup_incomplete_uploads",
        body=models.CleanupIncompleteUploadsRequest(bucket_id=bucket, older_than_secs=0),
    )
    check(uploads.uploads_deleted == 0, f"cleaned up: {uploads}")
    call("bucket", "delete_bucket", id=bucket)
    gone = call("bucket", "get_bucket_info", 404, id=bucket)
    check(gone.code == "NoSuchBucket", f"gone: {gone}")


def tokens():
    body = models.UpdateAdminTokenRequestBody(name="dashboard", scope=["ListKeys"])
    made = call("admin_api_token", "create_admin_token", body=body)
    narrow = client.__class__(base_url=ENDPOINT, token=made.secret_token, timeout=60)
    call("access_key", "list_keys", client=narrow)
    call("bucket", "list_buckets", 403, client=narrow)
    body = models.UpdateAdminTokenRequestBody(scope=["ListKeys", "GetCurrentAdminTokenInfo"])
    call("admin_api_token", "update_admin_token", id=made.id, body=body)
    current = call("admin_api_token", "get_current_admin_token_info", client=narrow)
    check(current.id == made.id and not current.expired, f"current: {current}")
    found = call("admin_api_token", "get_admin_token_info", search="dashboard")
    check(found.to_dict() == current.to_dict(), f"found: {found}")
    call("admin_api_token", "delete_admin_token", id=made.id)
    ids = [each.id for each in call("admin_api_token", "list_admin_tokens")]
    check(made.id not in ids, "a deleted token is not listed")
    call("access_key", "list_keys", 403, client=narrow)


def cluster():
    status = call("cluster", "get_cluster_status")
    health = call("cluster", "get_cluster_health")
    check(health.status == "healthy" and status.nodes[0].is_up, f"{status} {health}")
    check(call("cluster_layout", "get_cluster_layout").roles[0].id == status.node, "the layout")
    info = call("node", "get_node_info", node="*")
    check(info.success[status.node].program == "mews", f"info: {info}")
    workers = call("worker", "list_workers", body=models.LocalListWorkersRequest())
    check(workers.success[status.node][0].name, f"workers: {workers}")


cluster()
key = keys()
buckets(key)
call("access_key", "delete_key", id=key)
call("access_key", "get_key_info", 404, id=key)
tokens()
