package s3store

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
)

// A Guard returns why an address must not be connected to.
type Guard func(ctx context.Context, network, address string, conn syscall.RawConn) error

// jobWords are what texts about a job's own bucket say instead of what those
// about the pod's do. FIELD stands for Config.Field.
var jobWords = []string{
	"set AWS_DEFAULT_REGION to the region of the bucket", "name the region in FIELD.endpointUrl",
	"set BUCKET_ENDPOINT_URL to its own address and AWS_DEFAULT_REGION to its region", "set FIELD.endpointUrl to its own address",
	"write the folder into BUCKET_KEY_TEMPLATE, like folder/{date}/{job_id}/{filename}", "leave it out",
	": with BUCKET_ENDPOINT_URL it must be", "",
	"BUCKET_ENDPOINT_URL", "FIELD.endpointUrl",
	"BUCKET_ACCESS_KEY_ID", "FIELD.accessId",
	"BUCKET_SECRET_ACCESS_KEY", "FIELD.accessSecret",
	"BUCKET_NAME", "FIELD.bucketName",
	"\n", "; ",
}

// inWordsOf makes a text about variables one about the fields of field, unless
// that is "".
func inWordsOf(field, text string) string {
	if field == "" {
		return text
	}
	pairs := slices.Clone(jobWords)
	for i := range pairs {
		pairs[i] = strings.ReplaceAll(pairs[i], "FIELD", field)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// errUnreachable is all that a stranger is told of an address that cannot be
// connected to, or must not be: else errors would tell which ports are open in
// this network.
var errUnreachable = errors.New("nobody answers there, or it is not a public address (ALLOW_PRIVATE_URLS=true takes others too)")

// dialer returns what opens TCP connections that take a body no faster than the
// network, to addresses that guard lets pass.
func dialer(guard Guard) dialFunc {
	if guard == nil {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialGuarded(ctx, network, address, guard)
		if err != nil {
			return nil, errUnreachable
		}
		return conn, nil
	}
}
