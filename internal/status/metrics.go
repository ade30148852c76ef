package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics counts what the program does. The caller feeds it, from any goroutine.
// The words that it takes (states, causes, phases) have to come from closed
// lists: each word becomes a time series of its own.
type Metrics struct {
	registry *prometheus.Registry

	state     *prometheus.GaugeVec
	restarts  *prometheus.CounterVec
	gates     *prometheus.GaugeVec
	jobs      *prometheus.CounterVec
	running   prometheus.Gauge
	phases    *prometheus.HistogramVec
	delivered *prometheus.CounterVec
	dropped   prometheus.Counter
}

// phaseBuckets reach from a cached prompt to an hour of video, in seconds.
var phaseBuckets = []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800, 3600}

// NewMetrics returns Metrics with a registry of its own. The version is shown
// as a label of comfyvisor_build_info.
func NewMetrics(version string) *Metrics {
	const space = "comfyvisor_"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: space + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: space + name, Help: help}, labels)
	}
	running := gauge("jobs_running", "Jobs that were taken and not yet reported.")
	dropped := counter("log_lines_dropped_total", "Log lines lost because nobody read the log in time.")
	build := gauge("build_info", "1, with the version as label.", "version")
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		state:    gauge("child_state", "1 for the state that a ComfyUI's process is in.", "instance", "state"),
		restarts: counter("child_restarts_total", "Starts of a ComfyUI after the first, by cause.", "instance", "cause"),
		gates:    gauge("gate_open", "1 while a ComfyUI may be given jobs.", "instance"),
		jobs:     counter("jobs_total", "Jobs reported, by outcome and cause.", "outcome", "cause"),
		running:  running.WithLabelValues(),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: space + "job_phase_seconds", Help: "Time that jobs spent in each phase.", Buckets: phaseBuckets,
		}, []string{"phase"}),
		delivered: counter("delivered_bytes_total", "Bytes of outputs delivered, by the kind of store.", "store"),
		dropped:   dropped.WithLabelValues(),
	}
	m.registry.MustRegister(m.state, m.restarts, m.gates, m.jobs, running, m.phases, m.delivered, dropped, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build.WithLabelValues(version).Set(1)
	return m
}

// ChildState tells that the child of an instance went from one state to another.
// From is "" the first time.
func (m *Metrics) ChildState(instance, from, to string) {
	if from != "" {
		m.state.WithLabelValues(instance, from).Set(0)
	}
	m.state.WithLabelValues(instance, to).Set(1)
}

// Restarted counts a start of an instance's child after the first.
func (m *Metrics) Restarted(instance, cause string) {
	m.restarts.WithLabelValues(instance, cause).Inc()
}

// Gate tells that the gate of an instance was opened or closed.
func (m *Metrics) Gate(instance string, open bool) {
	gate := m.gates.WithLabelValues(instance)
	if open {
		gate.Set(1)
	} else {
		gate.Set(0)
	}
}

// JobTaken counts a job as running until JobDone.
func (m *Metrics) JobTaken() { m.running.Inc() }

// JobDone counts a job that was reported: its outcome is completed, failed or
// canceled; cause is "" unless it failed.
func (m *Metrics) JobDone(outcome, cause string) {
	m.running.Dec()
	m.jobs.WithLabelValues(outcome, cause).Inc()
}

// Phase records how long a job was in a phase.
func (m *Metrics) Phase(name string, d time.Duration) {
	m.phases.WithLabelValues(name).Observe(d.Seconds())
}

// Delivered counts the bytes of an output that a store (s3, inline) has taken.
func (m *Metrics) Delivered(store string, bytes int64) {
	m.delivered.WithLabelValues(store).Add(float64(bytes))
}

// LogDropped counts lines that never reached the log.
func (m *Metrics) LogDropped(lines int) { m.dropped.Add(float64(lines)) }
