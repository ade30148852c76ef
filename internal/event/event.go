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
}

// Line is a line that the child wrote, without its newline.
type Line struct {
	At          time.Time
	Instance    string // the name of its ComfyUI
	Incarnation int
	Stream      string // stdout or stderr
	Text        string
}

func (Child) isEvent()    {}
func (Gate) isEvent()     {}
func (Job) isEvent()      {}
func (Progress) isEvent() {}
func (Line) isEvent()     {}
