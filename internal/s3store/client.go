package s3store

import (
	"context"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// newClient returns a client that sends each request once, as it is, to where
// the endpoint in force says.
func newClient(cfg Config, at resolver) *s3.Client {
	return s3.New(s3.Options{
		Region:             at.at.Load().region, // asked for, but the endpoint's counts
		Credentials:        credentials.NewStaticCredentialsProvider(cfg.AccessKeyID, cfg.SecretAccessKey, ""),
		EndpointResolverV2: at,
		HTTPClient:         smithyhttp.ClientDoFunc(bounded(cfg.Transport)), // follows no redirect
		HTTPSignerV4:       plainSigner{v4.NewSigner()},
		Retryer:            aws.NopRetryer{}, // see Store.try
		// The SDK's default checksums come as trailers that several stores refuse.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// maxAnswer is more than any answer that is not a file. The SDK reads answers
// into memory as long as they go on.
const maxAnswer = 1 << 20

// bounded returns how transport sends requests, with answers cut at maxAnswer
// unless they are files.
func bounded(transport http.RoundTripper) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		answer, err := transport.RoundTrip(r)
		if err == nil && (r.Method != http.MethodGet || answer.StatusCode >= http.StatusBadRequest) {
			answer.Body = http.MaxBytesReader(nil, answer.Body, maxAnswer)
		}
		return answer, err
	}
}

// A plainSigner signs nothing but what S3 asks for. The headers that it drops
// are the SDK's own: some stores do not know them, and proxies rewrite
// Accept-Encoding, after which the signature is wrong.
type plainSigner struct{ *v4.Signer }

func (s plainSigner) SignHTTP(ctx context.Context, keys aws.Credentials, r *http.Request, payloadHash, service, region string, at time.Time, opts ...func(*v4.SignerOptions)) error {
	r.Header.Del("Accept-Encoding")
	r.Header.Del("Amz-Sdk-Invocation-Id")
	r.Header.Del("Amz-Sdk-Request")
	query := r.URL.Query()
	query.Del("x-id")
	r.URL.RawQuery = query.Encode()
	return s.Signer.SignHTTP(ctx, keys, r, payloadHash, service, region, at, opts...)
}

// signedAs signs a body by its hash. The SDK would leave bodies unsigned over
// https, and then the store could not tell a damaged one.
func signedAs(sum digests) func(*s3.Options) {
	set := middleware.InitializeMiddlewareFunc("PayloadHash", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(v4.SetPayloadHash(ctx, sum.sha256), in)
	})
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(set, middleware.After)
	})
}
