// Package s3store keeps the files of results in an S3 bucket. It is the only
// package that knows AWS: [Store.Put] takes a file and returns it with a URL.
//
//	job.File -> key -> upload, whole or in parts -> URL
//
// # Where the bucket is
//
// BUCKET_ENDPOINT_URL says where the bucket is, in any form that a provider's
// console shows: the bucket in the path, or in front of the host, or, with
// BUCKET_NAME, in neither. Region, addressing style and whether links can be
// signed are read from the host of the providers that are known (AWS, RunPod,
// Cloudflare R2, Backblaze B2, DigitalOcean Spaces and others); any other host
// is taken for a server such as MinIO. AWS_DEFAULT_REGION wins over the host.
// An endpoint that names no bucket is refused: worker-comfyui went on without
// one and wrote to a bucket, or a folder, called after the month ("11-26").
//
// # Names
//
// A file's key is made from a template, by default <date>/<job id>/<filename>
// with the date in UTC, and with the file's subfolder kept before its name, so
// that two files of one job never share a key. Whatever of a foreign name would
// be harmful in a key is replaced, and a name that was changed gets eight digits
// of its hash, so that no two become one.
//
// # What goes over the wire
//
// Plain SigV4 and nothing more, because that is what every store accepts: the
// payload's SHA-256 and the exact length in the headers, no trailing checksum,
// no aws-chunked coding, no header that a proxy may rewrite among the signed
// ones. A file is read once for its hashes and once to be sent, and again for
// each further attempt; nothing of it is kept in memory. Large files go in
// parts, which are removed from the store if the upload does not end well.
//
// # When it does not work
//
// Outages (5xx, 429, connections that break or stall) are waited out with
// growing, random pauses. An upload may take as long as it likes while bytes
// move; a connection on which none moves for a while is cut. What waiting does
// not mend (wrong keys, no such bucket) is reported after one request, as an
// [Error] that says what to do. Two things are corrected on the way, once and at
// once: the bucket's region, and a wrong clock.
//
// A stored object is compared with what was sent. Stores whose ETag is no MD5
// are recognised by reading one object back.
//
// # Buckets that jobs bring
//
// A store whose Config has a Field is a stranger's: its errors speak of the
// fields of his job, its Guard judges each address that it connects to, and no
// answer is read further than an honest store's would be.
package s3store
