package s3store

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// The fake is as strict as the strictest stores in use: what the SDK sends by
// default, a checksum in a trailer behind an aws-chunked body, it refuses. So the
// other tests show that this store sends nothing of the kind.
func TestFakeRefusesWhatTheSDKSendsByDefault(t *testing.T) {
	var refused []string
	fake, dial := newFake(t)
	fake.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if why := unfit(r, nil); strings.Contains(why, "not implemented") || strings.Contains(why, "trailers") {
			refused = append(refused, why)
		}
		refuse(w, http.StatusNotImplemented, "NotImplemented")
		return true
	}
	transport := newTransport(defaultIdle, dial)
	defer transport.CloseIdleConnections()
	client := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://minio.test:9000"), UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(testAccess, testSecret, ""),
		HTTPClient:  &http.Client{Transport: transport},
	})
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("outputs"), Key: aws.String("a.png"), Body: strings.NewReader("png")})
	if err == nil || len(refused) == 0 {
		t.Errorf("the fake took what the SDK sends by default: %v", err)
	}
}
