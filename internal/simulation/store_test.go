package simulation

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A store is an S3 with one bucket that takes whole objects and nothing else.
type store struct {
	mu      sync.Mutex
	objects map[string]string // SHA-256 by key
	faults  []*s3Rule
	calls   rate
}

// An s3Fault is what happens to a request.
type s3Fault struct {
	status int
	code   string
	act    bool // it takes effect all the same
	cut    bool
	hang   bool
	skew   time.Duration // of the clock that the answer tells
}

type s3Rule struct {
	s3Fault
	left  int // 0 if it is a matter of time
	until time.Time
	acted int
}

func newStore() *store { return &store{objects: make(map[string]string)} }

// inject spoils so many requests, or all for a while.
func (s *store) inject(f s3Fault, times int, lasts time.Duration) (acted func() int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rule := &s3Rule{s3Fault: f, left: times, until: time.Now().Add(lasts)}
	s.faults = append(s.faults, rule)
	return func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return rule.acted
	}
}

func (s *store) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault is what goes wrong with a request, nil if nothing does.
func (s *store) fault(r *http.Request) *s3Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		switch {
		case f.left == 0 && time.Now().After(f.until), f.skew != 0 && f.agrees(r):
			continue
		case f.left == 1:
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		case f.left > 1:
			f.left--
		}
		f.acted++
		return &f.s3Fault
	}
	return nil
}

// agrees tells whether a request was signed by the clock that the store goes by.
func (f *s3Fault) agrees(r *http.Request) bool {
	const tolerance = 15 * time.Minute
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	return err == nil && time.Now().Add(f.skew).Sub(signed).Abs() < tolerance
}

// ServeHTTP takes an object, or does what a fault wants.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := s.fault(r)
	if f == nil {
		s.put(w, r)
		return
	}
	s.calls.failed()
	if f.act {
		s.put(new(nobody), r)
	}
	switch {
	case f.hang:
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.cut:
		panic(http.ErrAbortHandler)
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Date", time.Now().Add(f.skew).UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amz-Request-Id", "REQ42")
	w.WriteHeader(f.status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>told to</Message></Error>`, f.code)
}

func (s *store) put(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPut {
		http.Error(w, "only whole objects are taken", http.StatusBadRequest)
		return
	}
	sum, tag := sha256.Sum256(body), md5.Sum(body)
	s.mu.Lock()
	s.objects[strings.TrimPrefix(r.URL.Path, "/outputs/")] = hex.EncodeToString(sum[:])
	s.mu.Unlock()
	w.Header().Set("ETag", `"`+hex.EncodeToString(tag[:])+`"`)
}

// object returns the hash of what a URL leads to, "" if it leads nowhere.
func (s *store) object(url string) string {
	_, key, _ := strings.Cut(url, "/outputs/")
	key, _, _ = strings.Cut(key, "?")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[key]
}

// nobody takes an answer that nobody gets.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header {
	if n.header == nil {
		n.header = make(http.Header)
	}
	return n.header
}
func (n *nobody) WriteHeader(int)             {}
func (n *nobody) Write(b []byte) (int, error) { return len(b), nil }

// A rate counts failing requests in each second.
type rate struct {
	mu     sync.Mutex
	second int64
	n, top int
}

func (r *rate) failed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now().Unix(); now != r.second {
		r.second, r.n = now, 0
	}
	r.n++
	r.top = max(r.top, r.n)
}
