package event

import "time"

// An Event is one of the structs of this package.
type Event interface{ isEvent() }

// Child is a change of the child's state.
type Child struct {
	At          time.Time
	Instance    string // the name of its ComfyUI
	Incarnation int
	PID         int // 0 while there is no process
	From, To    string
	// Reason says why, as a person would: "killed by SIGKILL after 3m12s".
	Reason string
	// End is one of few words for how the incarnation ended, "" unless that is
	// what changed the state.
	End string
}

// Gate is an opening or closing of the gate.
type Gate struct {
	At       time.Time
	Instance string // the name of its ComfyUI
	Open     bool
	// Reason says why the gate is closed, "" while it is open.
	Reason string
}

// Job is the beginning of a phase of a job.
type Job struct {
	At time.Time
	ID string
	// Phase is take, prepare, execute, deliver or done.
	Phase   string
	Attempt int
	// Elapsed is the time since the job was taken.
	Elapsed time.Duration
	// Cause is why the job failed, in the phase done; "" if it did not.
	Cause string
}

// Progress is how far the prompt of a job has come.
type Progress struct {
	At      time.Time
	Job     string
	Percent float64
	// Node, Class and Title name the node at work, if there is one.
	Node, Class, Title string
	// Step of Steps is the node's own progress, 0 of 0 if it tells none.
	Step, Steps int
	// Left is an estimate of the time to the end, 0 while there is none.
	Left time.Duration
	// Preview is a picture of the unfinished work, nil most of the time.
	Preview *Preview
}

// A Preview is a small picture. Nobody may change its bytes.
type Preview struct {
	MIME string
	Data []byte
}

// Line is a line that the child wrote, without its newline.
type Line struct {
	At          time.Time
	Instance    string // the name of its ComfyUI
	Incarnation int
	Stream      string // stdout or stderr
	Job         string // that runs meanwhile, "" if none does
	Text        string
}

// Gauges is a sample of what is in use, in bytes.
type Gauges struct {
	At time.Time
	// Memory is that of the container, without what the kernel could drop at
	// once. The limit is 0 where there is none.
	Memory, MemoryLimit uint64
	Instances           []Usage
}

// Usage is what one ComfyUI uses, in bytes.
type Usage struct {
	Instance string
	// Resident is the memory of its processes, 0 while there are none.
	Resident uint64
	// Device is what models are computed on, as ComfyUI tells; "" while it does
	// not answer.
	Device              string
	VRAMUsed, VRAMTotal uint64
}

func (Child) isEvent()    {}
func (Gate) isEvent()     {}
func (Job) isEvent()      {}
func (Progress) isEvent() {}
func (Line) isEvent()     {}
func (Gauges) isEvent()   {}
