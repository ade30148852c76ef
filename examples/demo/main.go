// Demo runs comfyvisor with a simulated ComfyUI and shows what it does: a job
// through the local API, and another that survives the death of ComfyUI.
//
// It leaves the API running until Ctrl-C, or ends by itself when DEMO_ONCE=1.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) error {
	request, err := os.ReadFile(filepath.Join("examples", "txt2img.json"))
	if err != nil {
		return fmt.Errorf("read the example job (run the demo from the project's root): %w", err)
	}
	say("Starting comfyvisor, which starts a simulated ComfyUI.")
	pod, err := startPod()
	if err != nil {
		return err
	}
	defer pod.stop()
	if err := pod.waitReady(ctx); err != nil {
		return err
	}
	say("Ready. Sending examples/txt2img.json through /runsync.")
	if err := firstJob(ctx, pod, request); err != nil {
		return err
	}
	if err := secondJob(ctx, pod, request); err != nil {
		return err
	}
	if os.Getenv("DEMO_ONCE") == "1" {
		say("Done.")
		return pod.stop()
	}
	say("The API listens on %s until you press Ctrl-C. Try:", pod.api)
	fmt.Printf("    curl -s %s/runsync -H 'Content-Type: application/json' -d @examples/txt2img.json | head -c 300\n", pod.api)
	fmt.Printf("    curl -s %s/health\n", pod.api)
	fmt.Printf("    curl -s %s/readyz\n", pod.status)
	select {
	case <-ctx.Done():
	case <-pod.ended:
		return errors.New("comfyvisor ended by itself; its log above tells why")
	}
	say("Stopping.")
	return pod.stop()
}

func firstJob(ctx context.Context, pod *pod, request []byte) error {
	start := time.Now()
	result, err := pod.post(ctx, "/runsync", request)
	if err != nil {
		return err
	}
	file, err := result.save("out")
	if err != nil {
		return err
	}
	say("Job %s: %s after %v. Its picture: %s", result.ID, result.Status, time.Since(start).Round(time.Millisecond), file)
	return nil
}

// secondJob kills ComfyUI in the middle of a job.
func secondJob(ctx context.Context, pod *pod, request []byte) error {
	result, err := pod.post(ctx, "/run", request)
	if err != nil {
		return err
	}
	if err := pod.waitExecuting(ctx, result.ID); err != nil {
		return err
	}
	pid, err := pod.comfyPID(ctx)
	if err != nil {
		return err
	}
	say("Job %s is half-way. Killing ComfyUI (pid %d) with SIGKILL.", result.ID, pid)
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill ComfyUI: %w", err)
	}
	result, err = pod.waitEnd(ctx, result.ID)
	if err != nil {
		return err
	}
	file, err := result.save("out")
	if err != nil {
		return err
	}
	say("Job %s: %s, %v after the kill. The client saw nothing but time. Its picture: %s",
		result.ID, result.Status, time.Since(killed).Round(time.Millisecond), file)
	return nil
}

func say(format string, args ...any) { fmt.Printf("\n==> "+format+"\n", args...) }
