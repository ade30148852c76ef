package doctor

import "github.com/comfyvisor/comfyvisor/internal/s3store"

// Bucket judges the trial of a bucket.
func Bucket(t s3store.Trial) Finding {
	switch {
	case t.Stored != nil:
		return Finding{Verdict: Fail, Text: "a file could not be stored", Details: []string{t.Stored.Error()}}
	case t.Read != nil:
		return Finding{Verdict: Fail, Text: "a file was stored, but the link to it does not work", Details: []string{t.Read.Error()},
			Advice: "where links are not to be signed set BUCKET_PUBLIC_URL to where the bucket can be read; else look at the bucket's policy"}
	case t.Removed != nil:
		return Finding{Verdict: Warn, Text: "a file was stored and read, but not removed", Details: []string{t.Removed.Error()},
			Advice: "jobs need no right to remove; remove " + t.Key + " yourself"}
	}
	return Finding{Verdict: OK, Text: "a file was stored, read by its link, and removed"}
}
