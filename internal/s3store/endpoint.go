package s3store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithy "github.com/aws/smithy-go"
	smithyauth "github.com/aws/smithy-go/auth"
	"github.com/aws/smithy-go/encoding/httpbinding"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// An endpoint is where one bucket is and how it is addressed.
type endpoint struct {
	scheme  string
	server  string // host and port, without the bucket
	bucket  string
	region  string // that requests are signed for
	virtual bool   // the bucket stands in front of the host, not in the path
	links   bool   // the store understands presigned URLs
}

// A provider is a host pattern with what is known of the stores behind it. The
// groups are bucket, server and region; a host without a region gets the
// provider's.
type provider struct {
	host    pattern
	region  string
	noLinks bool
}

var providers = []provider{
	{host: compile(`^((?P<bucket>.+)\.)?(?P<server>s3(-accelerate)?(\.dualstack)?([.-](?P<region>[a-z]{2}(-[a-z]+)+-\d+))?\.amazonaws\.com(\.cn)?)$`), region: "us-east-1"},
	{host: compile(`^(?P<server>s3api-(?P<region>[a-z0-9-]+)\.runpod\.io)$`), noLinks: true},
	{host: compile(`^((?P<bucket>.+)\.)?(?P<server>[0-9a-f]{32}(\.[a-z]+)?\.r2\.cloudflarestorage\.com)$`), region: "auto"},
	{host: compile(`^(?P<server>.+\.r2\.cloudflarestorage\.com)$`), region: "auto"},
	{host: compile(`^((?P<bucket>.+)\.)?(?P<server>s3(\.(?P<region>[a-z0-9-]+))?\.(backblazeb2\.com|wasabisys\.com|scw\.cloud|io\.cloud\.ovh\.net))$`), region: "us-east-1"},
	{host: compile(`^((?P<bucket>[^.]+)\.)?(?P<server>(?P<region>[a-z0-9-]+)\.(digitaloceanspaces|linodeobjects|vultrobjects)\.com)$`)},
	{host: compile(`^((?P<bucket>.+)\.)?(?P<server>storage\.googleapis\.com)$`), region: "auto"},
}

// recognise reads a host's name. A host that no pattern fits is a server whose
// bucket is named elsewhere.
func recognise(host string) endpoint {
	for _, p := range providers {
		m := p.host().FindStringSubmatch(host)
		if m == nil {
			continue
		}
		group := func(name string) string {
			if i := p.host().SubexpIndex(name); i >= 0 {
				return m[i]
			}
			return ""
		}
		return endpoint{
			server: group("server"),
			bucket: group("bucket"),
			region: cmp.Or(group("region"), p.region),
			links:  !p.noLinks,
		}
	}
	return endpoint{server: host, region: "us-east-1", links: true}
}

const (
	styleAuto    = "auto"
	stylePath    = "path"
	styleVirtual = "virtual"
)

// bucketForm is looser than AWS's rules, since other stores have their own: it
// keeps out what would change the meaning of a URL.
var bucketForm = compile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)

// parseEndpoint reads what BUCKET_ENDPOINT_URL, BUCKET_NAME, AWS_DEFAULT_REGION
// and BUCKET_ADDRESSING_STYLE say together; all but the first may be empty.
func parseEndpoint(raw, bucketName, region, style string) (endpoint, error) {
	u, err := endpointURL(raw)
	if err != nil {
		return endpoint{}, err
	}
	host := strings.ToLower(u.Hostname())
	at := recognise(host)
	at.scheme = u.Scheme
	at.region = cmp.Or(region, at.region)
	at.virtual = at.bucket != ""
	if at.bucket, err = oneBucket(u, at.bucket, bucketName); err != nil {
		return endpoint{}, err
	}
	switch style {
	case "", styleAuto:
	case stylePath:
		at.virtual = false
	case styleVirtual:
		if _, err := netip.ParseAddr(host); err == nil {
			return endpoint{}, fmt.Errorf("BUCKET_ADDRESSING_STYLE=virtual needs a host name in BUCKET_ENDPOINT_URL, and %s is an address: set BUCKET_ADDRESSING_STYLE=path", host)
		}
		at.virtual = true
		at.server = strings.TrimPrefix(at.server, at.bucket+".")
	default:
		return endpoint{}, fmt.Errorf("BUCKET_ADDRESSING_STYLE is %q: write auto, path or virtual", style)
	}
	if strings.Contains(at.server, ":") { // an IPv6 address lost its brackets in Hostname
		at.server = "[" + at.server + "]"
	}
	if port := u.Port(); port != "" {
		at.server += ":" + port
	}
	return at, nil
}

// endpointURL checks everything of the URL but the bucket. Its errors do not
// repeat a URL that may hold a password.
func endpointURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return nil, errors.New("BUCKET_ENDPOINT_URL is not a web address: write it like https://s3api-eu-ro-1.runpod.io/my-bucket or https://my-bucket.s3.eu-west-1.amazonaws.com")
	case u.User != nil:
		return nil, errors.New("BUCKET_ENDPOINT_URL holds a user name or a password: move them to BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("BUCKET_ENDPOINT_URL goes on after the bucket: write only %s://%s%s", u.Scheme, u.Host, u.Path)
	}
	return u, nil
}

// oneBucket returns the bucket that the host, the path and BUCKET_NAME agree on.
func oneBucket(u *url.URL, inHost, name string) (string, error) {
	inPath := strings.Trim(u.Path, "/")
	if strings.Contains(inPath, "/") {
		return "", fmt.Errorf("BUCKET_ENDPOINT_URL names a folder, %q, where only a bucket may stand: write the folder into BUCKET_KEY_TEMPLATE, like folder/{date}/{job_id}/{filename}", inPath)
	}
	named := slices.DeleteFunc([]string{inHost, inPath, name}, func(s string) bool { return s == "" })
	switch named = slices.Compact(named); {
	case len(named) == 0:
		return "", fmt.Errorf("BUCKET_ENDPOINT_URL names no bucket: append it, like %s://%s/my-bucket, or set BUCKET_NAME", u.Scheme, u.Host)
	case len(named) > 1:
		return "", fmt.Errorf("BUCKET_ENDPOINT_URL and BUCKET_NAME name different buckets, %s: keep one of them", strings.Join(named, " and "))
	case !bucketForm().MatchString(named[0]):
		return "", fmt.Errorf("bucket name %q in BUCKET_ENDPOINT_URL or BUCKET_NAME: only letters, digits, dots and dashes may stand in it", named[0])
	}
	return named[0], nil
}

// inRegion returns the endpoint of the same bucket in another region. Only the
// hosts of AWS change with the region.
func (e endpoint) inRegion(region string) endpoint {
	e.region = region
	if strings.HasSuffix(e.server, ".amazonaws.com") {
		e.server = "s3." + region + ".amazonaws.com"
	}
	return e
}

// base is the URL of the bucket, without a slash at its end.
func (e endpoint) base() url.URL {
	if e.virtual {
		return url.URL{Scheme: e.scheme, Host: e.bucket + "." + e.server}
	}
	return url.URL{Scheme: e.scheme, Host: e.server, Path: "/" + e.bucket}
}

// objectURL is the plain URL of the object called key.
func (e endpoint) objectURL(key string) string {
	base := e.base()
	return base.String() + "/" + escapeKey(key)
}

// escapeKey writes a key as the path of a URL. S3 takes more for special than
// net/url does, such as a plus sign.
func escapeKey(key string) string { return httpbinding.EscapePath(key, false) }

// resolve answers the SDK's question where to send a request and for which
// region to sign it. The SDK's own rules guess at more than we want: they know
// ARNs, S3 Express and accelerated buckets by their names.
func (e endpoint) resolve() smithyendpoints.Endpoint {
	var sign smithy.Properties
	smithyhttp.SetSigV4SigningName(&sign, "s3")
	smithyhttp.SetSigV4SigningRegion(&sign, e.region)
	smithyhttp.SetDisableDoubleEncoding(&sign, true)

	at := smithyendpoints.Endpoint{URI: e.base()}
	smithyauth.SetAuthOptions(&at.Properties, []*smithyauth.Option{
		{SchemeID: smithyauth.SchemeIDSigV4, SignerProperties: sign},
	})
	return at
}

// resolver gives the SDK the endpoint that is in force.
type resolver struct{ at *atomic.Pointer[endpoint] }

func (r resolver) ResolveEndpoint(context.Context, s3.EndpointParameters) (smithyendpoints.Endpoint, error) {
	return r.at.Load().resolve(), nil
}
