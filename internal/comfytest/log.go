package comfytest

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Levels of log lines as Python's logging names them.
const (
	levelDebug   = "DEBUG"
	levelInfo    = "INFO"
	levelWarning = "WARNING"
	levelError   = "ERROR"
)

// A logbook prints lines as ComfyUI does and keeps the last 300 of them for
// /internal/logs.
type logbook struct {
	colored bool
	print   func(level, line string)

	mu   sync.Mutex
	last []logEntry
}

type logEntry struct {
	at   time.Time
	line string
}

func (l *logbook) debug(format string, args ...any) { l.write(levelDebug, format, args...) }
func (l *logbook) info(format string, args ...any)  { l.write(levelInfo, format, args...) }
func (l *logbook) error(format string, args ...any) { l.write(levelError, format, args...) }

func (l *logbook) write(level, format string, args ...any) {
	for _, line := range logLinesOf(l.colored, level, fmt.Sprintf(format, args...)) {
		l.mu.Lock()
		l.last = append(l.last, logEntry{time.Now(), line})
		if len(l.last) > 300 {
			l.last = l.last[len(l.last)-300:]
		}
		l.mu.Unlock()
		l.print(level, line)
	}
}

// LogLines is what a version of ComfyUI logs for a message. Only the first
// line gets the prefix of the newer generation; the following ones come bare.
func LogLines(version, level, text string) []string {
	return logLinesOf(generationOf(version).coloredLog, level, text)
}

func logLinesOf(colored bool, level, text string) []string {
	if colored {
		text = levelColor(level) + "[" + level + "]\x1b[0m " + text
	}
	return strings.Split(text, "\n")
}

func levelColor(level string) string {
	switch level {
	case levelInfo:
		return "\x1b[32m"
	case levelWarning:
		return "\x1b[1m\x1b[33m"
	case levelError:
		return "\x1b[1m\x1b[31m"
	}
	return "\x1b[36m"
}

func (l *logbook) entries() []logEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]logEntry(nil), l.last...)
}
