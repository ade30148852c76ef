package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// errCorrupt is the error of a journal whose file is damaged.
	errCorrupt = errors.New("the file of jobs is damaged")
	// errLocked is the error of a journal that another process uses.
	errLocked = errors.New("another comfyvisor uses this directory")
)

// loadFile opens a journal's file and reads all of it. A file that is damaged
// may make the library panic, or may end before what it maps of it.
func loadFile(path string) (db *bolt.DB, kept map[string]stored, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			// What it has opened stays open: to close it might panic again, or wait.
			db, kept, err = nil, nil, fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, errLocked
	case isErrno(err):
		return nil, nil, fmt.Errorf("open the file of jobs: %w", err)
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	kept = make(map[string]stored)
	if err = db.View(func(tx *bolt.Tx) error { return readAll(tx, kept) }); errors.Is(err, errEmpty) {
		err = db.Update(begin)
	}
	if err == nil {
		return db, kept, nil
	}
	_ = db.Close()
	if isErrno(err) {
		return nil, nil, fmt.Errorf("write the file of jobs: %w", err)
	}
	return nil, nil, fmt.Errorf("%w: %w", errCorrupt, err)
}

// isErrno tells whether the operating system refused something, which does not
// speak against the file.
func isErrno(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

// errEmpty is the error of a file in which nothing has been written yet.
var errEmpty = errors.New("no jobs were ever kept")

func begin(tx *bolt.Tx) error {
	for _, name := range [][]byte{recordBucket, inputBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// readAll writes nothing: the disk may be full.
func readAll(tx *bolt.Tx, kept map[string]stored) error {
	records, inputs := tx.Bucket(recordBucket), tx.Bucket(inputBucket)
	if records == nil || inputs == nil {
		return errEmpty
	}
	return records.ForEach(func(id, text []byte) error {
		var s stored
		if err := json.Unmarshal(text, &s); err != nil {
			return fmt.Errorf("job %s: %w", id, err)
		}
		s.input = bytes.Clone(inputs.Get(id)) // what the library returns is gone with the transaction
		kept[string(id)] = s
		return nil
	})
}

// setAside renames a file that cannot be read.
func setAside(path string) (string, error) {
	aside := fmt.Sprintf("%s.corrupt-%d", path, time.Now().UnixNano())
	return aside, os.Rename(path, aside)
}
