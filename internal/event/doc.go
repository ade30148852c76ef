// Package event tells everyone who wants to watch what happens in the program:
// transitions of the child, the gate, the phases and the progress of jobs, lines
// of the log. Each event is published once on a [Bus]; log, metrics and status
// page are its readers.
//
// Publishing never waits. Each reader has a buffer of its own, and one that is
// too slow loses the oldest events in it, which its [Subscription] counts. So
// events are for watching: nothing that a job depends on may travel by them.
package event
