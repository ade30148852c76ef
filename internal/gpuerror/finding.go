package gpuerror

import "strconv"

// A Verdict is what one message asks for. The order is that of precedence: where
// a message speaks twice, the greater counts.
type Verdict int

const (
	// Leave means not of the GPU, or harmless: the job fails, no more.
	Leave Verdict = iota
	// Unknown means of the GPU, and nothing that we know. One is the job's own;
	// two in a row from two jobs are the process's.
	Unknown
	// Suspect means that the process may be poisoned: ask it. GET /system_stats
	// makes ComfyUI call CUDA.
	Suspect
	// Free means that an allocation was refused, and nothing is broken.
	Free
	// Restart means that the process is poisoned, dead or dying.
	Restart
	// Host means that no process on this machine with this image does better.
	// In the middle of work one relaunch confirms it.
	Host
	// Lost is Host told by the machine itself. A relaunch would confirm nothing,
	// and cost a process that may still finish its job.
	Lost
)

// String returns the verdict in lower case, for logs and metrics.
func (v Verdict) String() string {
	return [...]string{"leave", "unknown", "suspect", "free", "restart", "host", "lost"}[v]
}

// A Finding is what was read out of one message. The zero value is Leave.
type Finding struct {
	Verdict Verdict
	// Phrase is the words that decided, "" if none did. In it, * stands for
	// what may be anything. It holds nothing of the message itself.
	Phrase string
	// Why says in one line for people what happened, "" if Phrase is.
	Why string
	// Code is the number behind the words, "cuda 700" or "xid 79", "" if they
	// have none.
	Code string
}

// Confirmed returns the finding of a suspect that did not pass its probe.
func (f Finding) Confirmed() Finding {
	if f.Verdict == Suspect {
		f.Verdict = Restart
	}
	return f
}

// A rule is one row of a table: words, and what they mean.
type rule struct {
	verdict Verdict
	code    int // cudaError_t, 0 if the words have none
	words   string
	why     string
}

func (r rule) finding() Finding {
	f := Finding{Verdict: r.verdict, Phrase: r.words, Why: r.why}
	if r.code != 0 {
		f.Code = "cuda " + strconv.Itoa(r.code)
	}
	return f
}
