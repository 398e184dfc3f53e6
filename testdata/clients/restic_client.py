"""restic: a repository, a backup of this project's sources, a check of every byte, a restore, and no difference."""

import os

from common import ENDPOINT, check, run, step, work

TREE = os.environ["TREE"]
os.environ["RESTIC_REPOSITORY"] = f"s3:{ENDPOINT}/restic"
os.environ["RESTIC_PASSWORD"] = "only a test"
os.environ["RESTIC_CACHE_DIR"] = work("restic-cache")


def restic(*arguments):
    return run("restic", *arguments)


restic("init")
step("init")
restic("backup", TREE)
step("backup")
restic("backup", TREE)
check(len(restic("snapshots", "--compact").splitlines()) > 3, "two snapshots")
step("second backup")
restic("check", "--read-data")
step("check")
restic("restore", "latest", "--target", work("restored"))
run("diff", "-r", TREE, work("restored") + os.path.abspath(TREE))
step("restore, no difference")
restic("forget", "--keep-last", "1", "--prune")
restic("check")
step("forget, prune")
