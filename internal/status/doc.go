// Package status answers questions about the program over HTTP:
//
//	/healthz      200 while every loop of the program keeps its time, 503 naming
//	              those that do not: for whoever restarts the pod
//	/readyz       200 while the pod may be given work, 503 with the reason
//	/metrics      counters and gauges for Prometheus
//	/debug/state  whatever the program wants to show of itself, as JSON
//	/debug/pprof/ Go's profiles, only where they are asked for
//
// The port is taken by [Listen], before ComfyUI is started, so that a port in
// use is a fault of the configuration; the answers are given by [Server.Run].
// What the answers say comes from functions of the caller. Those for /healthz
// may take no lock, because it has to answer when everything else is stuck.
//
// Nothing is secret here and nobody is asked for a token: the address is a
// loopback one unless the user chose another.
package status
