package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// A journal keeps the records of jobs on the disk. What changes is collected
// while the disk is busy and written at once, in the order in which it changed.
// When the disk cannot be written to, jobs go on in memory, and what changed
// meanwhile is written as soon as it can be. A nil journal keeps nothing.
type journal struct {
	path string
	db   *bolt.DB
	log  *zap.Logger
	all  func() map[string]change // everything, for a file that is begun anew

	mu      sync.Mutex
	pending map[string]change // what is not on the disk yet, by job
	last    uint64            // the number of the last change
	done    uint64            // all changes up to this one are on the disk
	failing error             // why the last try to write was none
	written chan struct{}     // closed, and replaced, after each try
	wake    chan struct{}
}

// A change is what has become of a job.
type change struct {
	record []byte          // nil if the job is forgotten
	input  json.RawMessage // nil if it is what it was
}

var (
	recordBucket = []byte("jobs")
	inputBucket  = []byte("inputs")
)

// journalFile is its name in the spool directory.
const journalFile = "jobs.db"

// lockWait is how long another process may still hold the journal.
const lockWait = time.Second

// openJournal opens the journal of a directory, or begins one. One that cannot
// be read is renamed, and reported, and another is begun.
func openJournal(dir string, log *zap.Logger) (j *journal, kept map[string]stored, err error) {
	path := filepath.Join(dir, journalFile)
	j, kept, err = readJournal(path, log)
	if !errors.Is(err, errCorrupt) {
		return j, kept, err
	}
	aside, rerr := setAside(path)
	if rerr != nil {
		return nil, nil, fmt.Errorf("%w; and it cannot be renamed: %w", err, rerr)
	}
	log.Error("the jobs of an earlier run are lost: their file was set aside, and a new one is begun; it can be deleted",
		zap.Error(err), zap.String("aside", aside))
	return readJournal(path, log)
}

func readJournal(path string, log *zap.Logger) (*journal, map[string]stored, error) {
	db, kept, err := loadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return &journal{
		path: path, db: db, log: log, pending: make(map[string]change),
		written: make(chan struct{}), wake: make(chan struct{}, 1),
	}, kept, nil
}

// put tells what a job is by now. A nil input is what it was.
func (j *journal) put(id string, record []byte, input json.RawMessage) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.pending[id]
	c.record = record
	if input != nil {
		c.input = input
	}
	j.pending[id] = c
	j.last++
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// forget tells that a job is no more.
func (j *journal) forget(id string) { j.put(id, nil, nil) }

// settleLimit is how long anybody waits for a disk.
const settleLimit = 5 * time.Second

// settle returns when all that has changed so far is on the disk, or cannot be
// written there.
func (j *journal) settle(ctx context.Context) {
	if j == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	j.mu.Lock()
	goal := j.last
	for j.done < goal && j.failing == nil && ctx.Err() == nil {
		written := j.written
		j.mu.Unlock()
		select {
		case <-written:
		case <-ctx.Done():
		}
		j.mu.Lock()
	}
	j.mu.Unlock()
}

// retryEvery is the time between two tries to write to a disk that is full.
const retryEvery = time.Second

// run writes what changes until ctx ends, and then once more.
func (j *journal) run(ctx context.Context) {
	for ctx.Err() == nil {
		var retry <-chan time.Time
		if j.write() != nil {
			retry = time.After(retryEvery)
		}
		select {
		case <-j.wake:
		case <-retry:
		case <-ctx.Done():
		}
	}
	if err := j.write(); err != nil {
		j.log.Error("jobs are not kept over the restart", zap.Error(err))
	}
	if err := j.db.Close(); err != nil {
		j.log.Warn("close the jobs' file", zap.Error(err))
	}
}

// write puts all pending changes on the disk, or none.
func (j *journal) write() error {
	j.mu.Lock()
	batch, last, before := j.pending, j.last, j.failing
	j.pending = make(map[string]change)
	j.mu.Unlock()
	if len(batch) == 0 {
		return before
	}
	err := j.commit(batch)
	if errors.Is(err, errCorrupt) {
		err = j.renew(err)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil:
		j.done = last
		if before != nil {
			j.log.Info("jobs are kept on the disk again")
		}
	default:
		maps.Copy(batch, j.later(batch))
		j.pending = batch
		if before == nil {
			j.log.Error("jobs are not kept on the disk, but in memory until it can be written to", zap.Error(err))
		}
	}
	j.failing = err
	close(j.written)
	j.written = make(chan struct{})
	return err
}

// renew begins a new file in the place of one that turned out to be damaged, and
// writes everything to it. The old one stays open: to close it might wait for
// what was broken off.
func (j *journal) renew(reason error) error {
	aside, err := setAside(j.path)
	if err != nil {
		return fmt.Errorf("%w; and it cannot be renamed: %w", reason, err)
	}
	j.log.Error("the file of jobs was set aside, and a new one is begun; it can be deleted", zap.Error(reason), zap.String("aside", aside))
	db, _, err := loadFile(j.path)
	if err != nil {
		return err
	}
	j.db = db
	return j.commit(j.all())
}

// later are the changes that came after batch, with the inputs that only batch
// has. The lock is held.
func (j *journal) later(batch map[string]change) map[string]change {
	for id, c := range j.pending {
		if c.input == nil {
			c.input = batch[id].input
			j.pending[id] = c
		}
	}
	return j.pending
}

// commit writes a batch and waits until the disk has it.
func (j *journal) commit(batch map[string]change) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of a file that was cut while it is mapped
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}()
	return j.db.Update(func(tx *bolt.Tx) error {
		records, inputs := tx.Bucket(recordBucket), tx.Bucket(inputBucket)
		for id, c := range batch {
			key := []byte(id)
			if c.record == nil {
				if err := errors.Join(records.Delete(key), inputs.Delete(key)); err != nil {
					return err
				}
				continue
			}
			if err := records.Put(key, c.record); err != nil {
				return err
			}
			if c.input == nil {
				continue
			}
			if err := inputs.Put(key, c.input); err != nil {
				return err
			}
		}
		return nil
	})
}
