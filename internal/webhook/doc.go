// Package webhook tells other servers how jobs ended: a POST of a JSON document
// to a URL that came with the job. Whose URL it is nobody knows, so it goes by
// the guarded way of internal/fetch: to public addresses only, unless told
// otherwise, and through no redirect.
//
// With a secret each request is signed, so that its receiver can tell it from
// everybody else's:
//
//	X-Comfyvisor-Timestamp: 1795699812
//	X-Comfyvisor-Signature: sha256=HEX
//
// HEX is the HMAC-SHA256, under the secret, of the timestamp, a dot and the body
// as it was sent. A receiver computes it anew, compares in constant time, and
// refuses timestamps that are minutes old, which are somebody's recording.
//
// When to try again is not decided here.
package webhook
