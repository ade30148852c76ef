package runpod

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// placeholders of a template, as RunPod writes them.
const (
	workerPlace = "$RUNPOD_POD_ID"
	idPlace     = "$ID"
)

// location is a template with the worker's id filled in. It is split where the
// query begins, because the two sides are escaped differently.
type location struct {
	path  string // scheme, host and path
	query string // without "?"
}

// locate checks a template and fills in the worker's id. Its errors name the
// variable and never the value.
func locate(t Template, worker string) (location, error) {
	text, _, _ := strings.Cut(strings.TrimSpace(t.URL), "#") // a fragment is never sent
	if text == "" {
		return location{}, fmt.Errorf("%s is empty: set it to the URL that the queue gives its workers", t.Name)
	}
	path, query, _ := strings.Cut(text, "?")
	l := location{path: escaped(path), query: strings.Trim(query, "&")}.fill(workerPlace, worker)

	u, err := url.Parse(l.fill(idPlace, "id").with())
	switch {
	case err != nil:
		return location{}, fmt.Errorf("%s is not a URL: %s", t.Name, parseReason(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return location{}, fmt.Errorf("%s is not a URL that begins with http:// or https://", t.Name)
	case u.Hostname() == "":
		return location{}, fmt.Errorf("%s names no host", t.Name)
	case strings.ContainsAny(l.query, " \t\r\n"):
		return location{}, fmt.Errorf("%s has white space in its query", t.Name)
	}
	return l, nil
}

// escaped escapes what may not stand in the path of a URL. Left as it is it would
// make net/url escape the whole path anew, in which a slash of an id is then one
// of the path.
func escaped(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	host, path, found := strings.Cut(rest, "/")
	if !found {
		return text
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if c >= 0x80 || strings.IndexByte(" \"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return scheme + "://" + host + "/" + b.String()
}

// parseReason is what url.Parse objects to, without the URL or parts of it.
func parseReason(err error) string {
	var escape url.EscapeError
	var host url.InvalidHostError
	switch {
	case errors.As(err, &escape):
		return "it has a % that begins no escape"
	case errors.As(err, &host):
		return "its host has a character that no host may have"
	}
	return "scheme, host, port or a control character in it is wrong"
}

// fill replaces a placeholder by value, escaped as its place demands.
func (l location) fill(place, value string) location {
	return location{
		path:  strings.ReplaceAll(l.path, place, url.PathEscape(value)),
		query: strings.ReplaceAll(l.query, place, url.QueryEscape(value)),
	}
}

// instead returns the location of a sibling call: that of /job-take/ leads to
// /job-take-batch/ and /job-stop/. It reports whether there is such a place.
func (l location) instead(old, call string) (location, bool) {
	before, after, found := strings.Cut(l.path, "/"+old+"/")
	return location{path: before + "/" + call + "/" + after, query: l.query}, found
}

// with returns the URL with further parameters, given as name and value in
// turn, behind those that the template has.
func (l location) with(params ...string) string {
	query := l.query
	for i := 0; i+1 < len(params); i += 2 {
		if query != "" {
			query += "&"
		}
		query += params[i] + "=" + url.QueryEscape(params[i+1])
	}
	if query == "" {
		return l.path
	}
	return l.path + "?" + query
}
