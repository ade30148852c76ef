// Package s3test runs a real S3 server for tests: versitygw, a separate
// process that keeps its objects as files in the test's temporary directory.
//
//	gw := s3test.Start(t)
//	// BUCKET_ENDPOINT_URL = gw.Endpoint(), keys and region from gw
//	os.ReadFile(gw.Path(key))
//
// The server is built from the Go module proxy by the first test that needs it
// and kept in the user's cache directory; that takes a minute or two. Packages
// that are tested at the same time wait for one build. Without a network and
// without a built server the test fails and says so.
package s3test
