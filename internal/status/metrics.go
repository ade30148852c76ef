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
	received  prometheus.Counter
	retries   *prometheus.CounterVec
	dropped   prometheus.Counter

	boots    *prometheus.HistogramVec
	lives    *prometheus.HistogramVec
	jobTimes *prometheus.HistogramVec
	memory   *prometheus.GaugeVec
	resident *prometheus.GaugeVec
	vram     *prometheus.GaugeVec
}

// lifeBuckets reach from a crash at the start to a month, in seconds.
var lifeBuckets = []float64{1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400}

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
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: space + name, Help: help, Buckets: buckets}, labels)
	}
	running := gauge("jobs_running", "Jobs that were taken and not yet reported.")
	dropped := counter("log_lines_dropped_total", "Log lines lost because nobody read the log in time.")
	received := counter("received_bytes_total", "Bytes of input files that jobs brought.")
	build := gauge("build_info", "1, with the version as label.", "version")
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		state:     gauge("child_state", "1 for the state that a ComfyUI's process is in.", "instance", "state"),
		restarts:  counter("child_restarts_total", "Starts of a ComfyUI after the first, by cause.", "instance", "cause"),
		gates:     gauge("gate_open", "1 while a ComfyUI may be given jobs.", "instance"),
		jobs:      counter("jobs_total", "Jobs reported, by outcome and cause.", "outcome", "cause"),
		running:   running.WithLabelValues(),
		phases:    histogram("job_phase_seconds", "Time that jobs spent in each phase; queue is ComfyUI's own.", phaseBuckets, "phase"),
		jobTimes:  histogram("job_seconds", "Time from the taking of a job to the end of its delivery.", phaseBuckets, "outcome"),
		boots:     histogram("child_boot_seconds", "Time from the start of a ComfyUI until it was ready.", phaseBuckets, "instance"),
		lives:     histogram("incarnation_seconds", "Time that a ComfyUI lived, by how it ended.", lifeBuckets, "instance", "end"),
		memory:    gauge("memory_bytes", "Memory of the container: used is what it cannot do without, limit is 0 where there is none.", "kind"),
		resident:  gauge("child_resident_bytes", "Memory of a ComfyUI's processes.", "instance"),
		vram:      gauge("gpu_memory_bytes", "Memory of the GPU of a ComfyUI, as that tells it, used and total.", "instance", "kind"),
		received:  received.WithLabelValues(),
		retries:   counter("delivery_retries_total", "Requests with results that were sent again, by where they go.", "to"),
		delivered: counter("delivered_bytes_total", "Bytes of outputs delivered, by the kind of store.", "store"),
		dropped:   dropped.WithLabelValues(),
	}
	m.registry.MustRegister(m.state, m.restarts, m.gates, m.jobs, running, m.phases, m.delivered, dropped, build,
		m.jobTimes, m.boots, m.lives, m.memory, m.resident, m.vram, received, m.retries,
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

// JobDone counts a job that was reported, so long after it was taken: its outcome
// is completed or failed; cause is "" unless it failed.
func (m *Metrics) JobDone(outcome, cause string, elapsed time.Duration) {
	m.running.Dec()
	m.jobs.WithLabelValues(outcome, cause).Inc()
	m.jobTimes.WithLabelValues(outcome).Observe(elapsed.Seconds())
}

// Phase records how long a job was in a phase.
func (m *Metrics) Phase(name string, d time.Duration) {
	m.phases.WithLabelValues(name).Observe(d.Seconds())
}

// Delivered counts the bytes of an output that a store (s3, inline) has taken.
func (m *Metrics) Delivered(store string, bytes int64) {
	m.delivered.WithLabelValues(store).Add(float64(bytes))
}

// Received counts the bytes of input files.
func (m *Metrics) Received(bytes int64) { m.received.Add(float64(bytes)) }

// Retried counts a request with a result, or a part of one, that is sent again:
// to s3 or to the queue.
func (m *Metrics) Retried(to string) { m.retries.WithLabelValues(to).Inc() }

// Booted records how long a child took to become ready.
func (m *Metrics) Booted(instance string, d time.Duration) {
	m.boots.WithLabelValues(instance).Observe(d.Seconds())
}

// Ended records how long a child lived and how it ended.
func (m *Metrics) Ended(instance, end string, uptime time.Duration) {
	m.lives.WithLabelValues(instance, end).Observe(uptime.Seconds())
}

// Memory tells what the container uses of its memory, in bytes.
func (m *Metrics) Memory(used, limit uint64) {
	m.memory.WithLabelValues("used").Set(float64(used))
	m.memory.WithLabelValues("limit").Set(float64(limit))
}

// Child tells what a child uses, in bytes. A total of 0 says that its GPU could
// not be asked, and takes the last answer away.
func (m *Metrics) Child(instance string, resident, vramUsed, vramTotal uint64) {
	m.resident.WithLabelValues(instance).Set(float64(resident))
	if vramTotal == 0 {
		m.vram.DeletePartialMatch(prometheus.Labels{"instance": instance})
		return
	}
	m.vram.WithLabelValues(instance, "used").Set(float64(vramUsed))
	m.vram.WithLabelValues(instance, "total").Set(float64(vramTotal))
}

// Queue shows how many jobs wait in a queue that this program keeps itself. It
// may be called once.
func (m *Metrics) Queue(waiting func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "comfyvisor_jobs_queued", Help: "Jobs that wait in the local queue; only with the local API."},
		func() float64 { return float64(waiting()) }))
}

// LogDropped counts lines that never reached the log.
func (m *Metrics) LogDropped(lines int) { m.dropped.Add(float64(lines)) }
