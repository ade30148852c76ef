package s3store

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// An Error says why an object could not be stored, and what to do about it. Its
// text holds no secret.
type Error struct {
	Op        string // S3's name of the request
	Bucket    string
	Key       string // "" if the request was about the bucket
	Status    int    // of the HTTP answer, 0 if there was none
	Code      string // S3's word for the error, if it said one
	RequestID string // what the store's support asks for
	Attempts  int    // requests sent, 0 if the file could not be read
	Err       error  // what the store or the network said

	retryable bool
	field     string // Config.Field
}

// Retryable tells that the same file may well be stored later.
func (e *Error) Retryable() bool { return e.retryable }

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	at := endpoint{bucket: e.Bucket}
	what, advice := e.diagnosis()
	text := e.Op + " " + at.name(e.Key) + ": " + what
	if facts := e.facts(); facts != "" {
		text += " (" + facts + ")"
	}
	if cause := strings.TrimRight(e.Err.Error(), ". "); cause != "" {
		text += ": " + cause
	}
	if advice != "" {
		text += "; " + advice
	}
	return inWordsOf(e.field, text)
}

// name is how S3's tools write an object's place.
func (e endpoint) name(key string) string { return strings.TrimRight("s3://"+e.bucket+"/"+key, "/") }

func (e *Error) facts() string {
	var facts []string
	if e.Status != 0 {
		facts = append(facts, strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Code)))
	}
	if e.RequestID != "" {
		facts = append(facts, "request "+e.RequestID)
	}
	if e.Attempts > 1 {
		facts = append(facts, fmt.Sprintf("%d attempts", e.Attempts))
	}
	return strings.Join(facts, ", ")
}

// diagnosis says in our words what went wrong and what can be done.
func (e *Error) diagnosis() (what, advice string) {
	var (
		source   *sourceError
		mismatch *mismatchError
	)
	switch {
	case errors.As(e.Err, &source):
		return "nothing was stored", ""
	case errors.As(e.Err, &mismatch):
		return "the upload was damaged", "something between here and the store changes what passes, or the store is faulty"
	case e.Status == 0:
		return "S3 did not answer", "check BUCKET_ENDPOINT_URL and this machine's network"
	}
	switch e.Code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "Unauthorized", "XAdminUserNotFound":
		return "S3 refused the keys", "check BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY"
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		return "the bucket is in another region", "set AWS_DEFAULT_REGION to the region of the bucket"
	case "RequestTimeTooSkewed":
		return "the store's clock and ours differ too much", "set the clock of this machine"
	case "NoSuchUpload":
		return "the store lost the parts of the upload", "run the job again"
	case "EntityTooLarge":
		return "the file is too large for this store", "use a store without that limit or smaller outputs"
	case "QuotaExceeded", "XMinioStorageFull":
		return "the store is full", "make room in the bucket"
	}
	switch {
	case e.Status == http.StatusUnauthorized:
		return "S3 refused the keys", "check BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY"
	case e.Status == http.StatusForbidden && e.Op == opHeadBucket:
		return "S3 does not let these keys look at the bucket", "that matters only if uploads fail as well: then check the keys and their policy"
	case e.Status == http.StatusForbidden:
		return "S3 does not let these keys store the file", "allow them s3:PutObject on this bucket and check its policy"
	case e.Code == "NoSuchBucket", e.Status == http.StatusNotFound && e.Op == opHeadBucket:
		return "there is no such bucket", "check the bucket in BUCKET_ENDPOINT_URL or BUCKET_NAME"
	case e.Status == http.StatusMovedPermanently, e.Status == http.StatusTemporaryRedirect:
		return "the bucket is somewhere else", "set BUCKET_ENDPOINT_URL to its own address and AWS_DEFAULT_REGION to its region"
	case e.Status == http.StatusInsufficientStorage:
		return "the store is full", "make room in the bucket"
	case e.Status >= 500, e.Status == http.StatusTooManyRequests:
		return "S3 is overloaded or down", "run the job again later"
	}
	return "S3 refused the request", "check that BUCKET_ENDPOINT_URL is the address of an S3 store"
}

// fault turns what the SDK returned into an Error.
func (s *Store) fault(op, key string, attempts int, err error) *Error {
	status, answer := responseOf(err)
	e := &Error{
		Op: op, Bucket: s.at.Load().bucket, Key: key, Attempts: attempts,
		Status: status, Code: codeOf(err),
		RequestID: answer.Get("X-Amz-Request-Id"),
		Err:       err,
		retryable: worthRepeating(err), field: s.cfg.Field,
	}
	var (
		operation   *smithy.OperationError
		sent        *smithyhttp.RequestSendError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case status != 0:
		e.Err = errors.New(s.scrub(cmp.Or(messageOf(err), http.StatusText(status))))
	case errors.As(err, &sent):
		e.Err = sent.Err
	case errors.As(err, &operation):
		e.Err = operation.Err
	}
	if errors.As(err, &certificate) { // whose own words need not name the host
		at := s.at.Load().base()
		e.Err = fmt.Errorf("%s://%s: %w", at.Scheme, at.Host, e.Err)
	}
	return e
}

// scrub makes foreign text fit for a log: without our keys, on one line, and
// not too long.
func (s *Store) scrub(text string) string {
	text = strings.NewReplacer(s.cfg.AccessKeyID, "***", s.cfg.SecretAccessKey, "***").Replace(text)
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), 300)], "")
}
