package main

import (
	"net/url"
	"strings"
)

// The variables that make a bucket.
const (
	endpointName  = "BUCKET_ENDPOINT_URL"
	accessKeyName = "BUCKET_ACCESS_KEY_ID"
	secretKeyName = "BUCKET_SECRET_ACCESS_KEY"
	bucketName    = "BUCKET_NAME"
)

// adopt decides which variables that are not set have the value of another
// program's name for them (the tag also), and returns those with that name.
//
// Such names may be meant for custom nodes, which read S3_* and AWS_* too. So
// they count only where they make a whole: an endpoint, both keys and a bucket.
// With BUCKET_ENDPOINT_URL the bucket is ours, and of the others' names only the
// keys count, if it has none. Keys are taken as a pair: the id of one account and
// the secret of another would only be refused.
func adopt(given map[string]string) map[string]string {
	from := make(map[string]string)
	for _, v := range variables() {
		if given[v.Name] != "" {
			continue
		}
		for _, name := range v.Also {
			if given[name] != "" {
				from[v.Name] = name
				break
			}
		}
	}
	keys := adoptKeys(given)
	delete(from, accessKeyName)
	delete(from, secretKeyName)
	if given[endpointName] != "" {
		return keys
	}
	for name, other := range keys {
		from[name] = other
	}
	has := func(name string) bool { return given[name] != "" || from[name] != "" }
	if !has(endpointName) || !has(accessKeyName) || !has(secretKeyName) || !has(bucketName) && !namesBucket(given[from[endpointName]]) {
		return nil
	}
	return from
}

// adoptKeys returns the first whole pair of keys that other programs' names
// hold, nothing if there is none or if a key of ours is set.
func adoptKeys(given map[string]string) map[string]string {
	if given[accessKeyName] != "" || given[secretKeyName] != "" {
		return nil
	}
	for _, prefix := range []string{"S3_", "AWS_"} {
		pair := make(map[string]string)
		for _, v := range variables() {
			if v.Name != accessKeyName && v.Name != secretKeyName {
				continue
			}
			for _, name := range v.Also {
				if strings.HasPrefix(name, prefix) && given[name] != "" && pair[v.Name] == "" {
					pair[v.Name] = name
				}
			}
		}
		if len(pair) == 2 {
			return pair
		}
	}
	return nil
}

// namesBucket tells whether an endpoint has a bucket in its path.
func namesBucket(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && strings.Trim(u.Path, "/") != ""
}
