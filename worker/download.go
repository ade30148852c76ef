package worker

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// download gets the files that the job names by URL, once for all attempts. They
// are kept until the job has ended.
func (l *life) download(files []inputFile) error {
	var urls []*url.URL
	var remote []*inputFile
	for i := range files {
		if files[i].url != nil {
			urls = append(urls, files[i].url)
			remote = append(remote, &files[i])
		}
	}
	if len(urls) == 0 {
		return nil
	}
	start := time.Now()
	l.enter(PhasePrepare, l.attempt+1)
	stored, err := l.w.cfg.Fetch.All(l.ctx, urls)
	var failed *fetch.Error
	if errors.As(err, &failed) {
		// The caller is not told what lies behind an address that is refused.
		l.log.Warn("download failed", zap.String("url", failed.URL), zap.NamedError("reason", failed.Cause))
	}
	if err != nil {
		return err
	}
	l.atEnd(func() { fetch.CloseAll(stored) })
	var faults []string
	for i, f := range remote {
		f.content = job.Content{Size: stored[i].Size, Open: stored[i].Open}
		if err := f.checkDownload(); err != nil {
			faults = append(faults, fmt.Sprintf("%s.url: %v", f.where, err))
		}
	}
	l.timings.Prepare += time.Since(start)
	if len(faults) > 0 {
		return badInput(strings.Join(faults, "; "))
	}
	return nil
}

// checkDownload refuses what a URL answers with when it is not the file: many
// links to files lead to a page around them.
func (f *inputFile) checkDownload() error {
	r, err := f.content.Open()
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer r.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(r, head) // a shorter file is as much as there is
	page := strings.HasPrefix(http.DetectContentType(head[:n]), "text/html")
	if ext := strings.ToLower(path.Ext(f.name)); page && ext != ".html" && ext != ".htm" {
		return fmt.Errorf("the URL answers with a web page, not with the file %q: use the link that downloads the file itself", f.name)
	}
	return checkPicture(f.content)
}
