package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// childName is the name of the loggers to which ComfyUI's own lines go, alone
// or with a further name behind a dot. Such a line is the message of an entry at
// level info, with the field stream.
const childName = "comfyui"

// newLogger returns the logger of the program, which writes to out without ever
// waiting for it (see logWriter), and without secrets. dropped is told of lines
// that were lost. flush has to be called last: it waits, for a bounded time,
// until all is written.
//
// A broken pipe as out costs the lines and nothing else, provided that somebody
// takes SIGPIPE (catchSignals), which ends a Go program that writes to a broken
// stdout.
func newLogger(cfg LogConfig, out io.Writer, scrub *secret.Scrubber, dropped func(lines int)) (log *zap.Logger, flush func()) {
	level, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		level = zapcore.InfoLevel
	}
	encoder := newConsoleEncoder()
	if cfg.Format == "json" {
		encoder = newJSONEncoder()
	}
	w := newLogWriter(out, scrub, func(n int) []byte {
		dropped(n)
		entry := zapcore.Entry{Level: zap.WarnLevel, Time: time.Now(), Message: fmt.Sprintf("%d lines dropped", n)}
		b, err := encoder.EncodeEntry(entry, []zap.Field{zap.String("reason", "the log is read too slowly")})
		if err != nil {
			return nil
		}
		return b.Bytes()
	})
	return zap.New(levelCore{zapcore.NewCore(encoder, w, zap.DebugLevel), level}), w.Close
}

// levelCore lets through what has the level, and all lines of ComfyUI, which
// has a level of its own.
type levelCore struct {
	zapcore.Core
	level zapcore.Level
}

func (c levelCore) Enabled(l zapcore.Level) bool { return l >= min(c.level, zap.InfoLevel) }

func (c levelCore) With(fields []zap.Field) zapcore.Core {
	return levelCore{c.Core.With(fields), c.level}
}

func (c levelCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Level >= c.level || isChild(e) {
		return ce.AddCore(e, c)
	}
	return ce
}

func isChild(e zapcore.Entry) bool {
	rest, ok := strings.CutPrefix(e.LoggerName, childName)
	return ok && (rest == "" || rest[0] == '.')
}

// encoding is what both formats have in common.
var encoding = zapcore.EncoderConfig{
	TimeKey:        "time",
	LevelKey:       "level",
	NameKey:        "logger",
	MessageKey:     "message",
	EncodeTime:     zapcore.TimeEncoderOfLayout("2006-01-02T15:04:05.000Z07:00"),
	EncodeLevel:    zapcore.CapitalLevelEncoder,
	EncodeDuration: zapcore.StringDurationEncoder,
}

// A consoleEncoder writes lines for people. Those of ComfyUI are its own words
// behind "comfyui | ", so that no node can write one that looks like ours.
type consoleEncoder struct {
	zapcore.Encoder
	buffers buffer.Pool
}

func newConsoleEncoder() zapcore.Encoder {
	cfg := encoding
	cfg.ConsoleSeparator = "  "
	cfg.EncodeLevel = func(l zapcore.Level, to zapcore.PrimitiveArrayEncoder) {
		to.AppendString(fmt.Sprintf("%-5s", l.CapitalString()))
	}
	return consoleEncoder{zapcore.NewConsoleEncoder(cfg), buffer.NewPool()}
}

func (e consoleEncoder) Clone() zapcore.Encoder { return consoleEncoder{e.Encoder.Clone(), e.buffers} }

func (e consoleEncoder) EncodeEntry(entry zapcore.Entry, fields []zap.Field) (*buffer.Buffer, error) {
	entry.Message = plain(entry.Message)
	if !isChild(entry) {
		return e.Encoder.EncodeEntry(entry, fields)
	}
	b := e.buffers.Get()
	b.AppendString(entry.LoggerName)
	b.AppendString(" | ")
	b.AppendString(entry.Message)
	b.AppendByte('\n')
	return b, nil
}

// A jsonEncoder writes lines as RunPod's SDK does, with requestId, message and
// level, and other fields beside them. The field job becomes the requestId.
type jsonEncoder struct {
	zapcore.Encoder
	job string
}

func newJSONEncoder() zapcore.Encoder {
	return &jsonEncoder{Encoder: zapcore.NewJSONEncoder(encoding)}
}

func (e *jsonEncoder) Clone() zapcore.Encoder { return &jsonEncoder{e.Encoder.Clone(), e.job} }

// AddString is given the fields of loggers made by With.
func (e *jsonEncoder) AddString(key, value string) {
	if key == "job" {
		e.job = value
		return
	}
	e.Encoder.AddString(key, value)
}

func (e *jsonEncoder) EncodeEntry(entry zapcore.Entry, fields []zap.Field) (*buffer.Buffer, error) {
	id := zap.Reflect("requestId", nil)
	if e.job != "" {
		id = zap.String("requestId", e.job)
	}
	all := make([]zap.Field, 0, len(fields)+1)
	for _, f := range fields {
		if f.Key == "job" && f.Type == zapcore.StringType {
			id = zap.String("requestId", f.String)
		} else {
			all = append(all, f)
		}
	}
	entry.Message = plain(entry.Message)
	if isChild(entry) {
		entry.Level = childLevel(entry.Message)
	}
	return e.Encoder.EncodeEntry(entry, slices.Insert(all, 0, id))
}

// childLevel returns the level that ComfyUI (since 0.23) tells at the beginning
// of a line, or info.
func childLevel(line string) zapcore.Level {
	rest, bracket := strings.CutPrefix(line, "[")
	word, _, found := strings.Cut(rest, "] ")
	if !bracket || !found {
		return zap.InfoLevel
	}
	switch word {
	case "DEBUG", "DETAIL":
		return zap.DebugLevel
	case "WARNING":
		return zap.WarnLevel
	case "ERROR", "CRITICAL":
		return zap.ErrorLevel
	}
	return zap.InfoLevel
}
