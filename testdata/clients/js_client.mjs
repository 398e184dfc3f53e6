// The AWS SDK for JavaScript, version 3.
import { createReadStream } from "node:fs";
import { createHash } from "node:crypto";
import {
  CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand, ListObjectsV2Command,
  paginateListObjectsV2, PutObjectCommand, S3Client,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { ENDPOINT, MANY, BIG, AWS_DEFAULT_REGION } = process.env;
const Bucket = "javascript";
const ODD_KEY = "odd/a b+c&d=e%20/é~(1)'!.txt";
const SMALL = Buffer.from(Array.from({ length: 10240 }, (_, n) => n % 256));
const s3 = new S3Client({ endpoint: ENDPOINT, region: AWS_DEFAULT_REGION, forcePathStyle: true, maxAttempts: 1 });

const step = (name) => console.log(`ok ${name}`);
const check = (condition, what) => {
  if (!condition) throw new Error(`FAILED: ${what}`);
};
const bytes = async (output) => Buffer.from(await output.Body.transformToByteArray());
const digest = async (stream) => {
  const hash = createHash("sha256");
  for await (const chunk of stream) hash.update(chunk);
  return hash.digest("hex");
};

await s3.send(new CreateBucketCommand({ Bucket }));
step("create bucket");

await s3.send(new PutObjectCommand({ Bucket, Key: ODD_KEY, Body: SMALL, Metadata: { colour: "blue" } }));
const got = await s3.send(new GetObjectCommand({ Bucket, Key: ODD_KEY }));
check(got.Metadata.colour === "blue", "metadata");
check(SMALL.equals(await bytes(got)), "what was put is what is got");
step("put, get");

const range = await s3.send(new GetObjectCommand({ Bucket, Key: ODD_KEY, Range: "bytes=100-299" }));
check(SMALL.subarray(100, 300).equals(await bytes(range)), "a range");
step("range");

const keys = [];
for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket: MANY })) {
  keys.push(...page.Contents.map((object) => object.Key));
}
check(keys.length === 5000, `${keys.length} keys`);
const listed = await s3.send(new ListObjectsV2Command({ Bucket: MANY, Delimiter: "/" }));
check(listed.CommonPrefixes.length === 50 && !listed.Contents, "common prefixes");
step("list");

// A stream of unknown length per part: aws-chunked with a checksum in the trailer.
const upload = new Upload({
  client: s3, partSize: 20 << 20, queueSize: 2, params: { Bucket, Key: "big", Body: createReadStream(BIG) },
});
await upload.done();
const big = await s3.send(new GetObjectCommand({ Bucket, Key: "big" }));
check((await digest(big.Body)) === (await digest(createReadStream(BIG))), "100 MiB come back");
step("multipart 100 MiB");

const CopySource = `${Bucket}/${encodeURIComponent(ODD_KEY)}`;
await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource }));
check(SMALL.equals(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "copy" })))), "a copy");
step("copy");

const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "by url" }), { expiresIn: 60 });
const sent = await fetch(put, { method: "PUT", body: SMALL });
check(sent.ok, `presigned PUT: ${sent.status} ${await sent.text()}`);
const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "by url" }), { expiresIn: 60 });
check(SMALL.equals(Buffer.from(await (await fetch(get)).arrayBuffer())), "presigned GET");
step("presigned PUT, GET");

const puts = Array.from({ length: 30 }, (_, n) => new PutObjectCommand({ Bucket, Key: `gone/${n}`, Body: "" }));
await Promise.all(puts.map((each) => s3.send(each)));
const all = await s3.send(new ListObjectsV2Command({ Bucket }));
const Objects = all.Contents.map(({ Key }) => ({ Key }));
const deleted = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
check(deleted.Deleted.length === 34 && !deleted.Errors, `deleted ${deleted.Deleted.length}`);
await s3.send(new DeleteBucketCommand({ Bucket }));
step("delete many");
