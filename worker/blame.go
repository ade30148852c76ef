package worker

import (
	"cmp"
	"errors"
	"strings"
	"syscall"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Who can mend a failure.
const (
	KindInput    = "input"    // the caller
	KindWorkflow = "workflow" // the workflow's author: ComfyUI refused it, or a node raised
	KindComfyUI  = "comfyui"  // it died, hung, or never came up
	KindDelivery = "delivery" // outputs could not be read or stored
	KindInternal = "internal" // this program, or its being stopped
)

// The causes of failures, a closed list. What each means to a user stands in
// docs/errors.md.
const (
	CauseBadInput    = "bad_input"
	CauseDownload    = "input_download_failed"
	CauseUpload      = "input_upload_failed"
	CauseInvalid     = "workflow_invalid"
	CauseNode        = "node_failed"
	CauseGPUMemory   = "gpu_out_of_memory"
	CauseInterrupted = "interrupted"
	CauseTimeout     = "timeout"
	CauseCanceled    = "canceled"
	CauseCrashed     = "comfyui_crashed"
	CauseOOMKilled   = "comfyui_oom_killed"
	CauseHung        = "comfyui_hung"
	CauseUnkillable  = "comfyui_unkillable"
	CauseBoot        = "comfyui_boot_failed"
	CauseStalled     = "execution_stalled"
	CausePoisoned    = "gpu_poisoned"
	CauseUnreachable = "comfyui_unreachable"
	CauseHistory     = "history_missing"
	CauseOutput      = "output_fetch_failed"
	CausePath        = "output_path_refused"
	CauseDisk        = "disk_full"
	CauseTooLarge    = "result_too_large"
	CauseTooMany     = "too_many_outputs"
	CauseStore       = "s3_upload_failed"
	CauseShutdown    = "worker_shutdown"
	CausePanic       = "supervisor_panic"
	CauseInternal    = "internal"
)

func badInput(message string) *job.Failure {
	return &job.Failure{Kind: KindInput, Cause: CauseBadInput, Message: message}
}

// blame decides who can mend an error and what to do next. Begun is how many
// attempts there were.
func blame(err error, begun int) *job.Failure {
	f := blameStop(err)
	if f == nil {
		f = blameInput(err)
	}
	if f == nil {
		f = blameWorkflow(err)
	}
	if f == nil {
		f = blameDelivery(err)
	}
	if f == nil {
		f = blameComfyUI(err)
	}
	f.Attempts = begun
	return f
}

// blameStop is about jobs that were ended from outside.
func blameStop(err error) *job.Failure {
	var late *timeoutError
	switch {
	case errors.As(err, &late):
		return failure(KindWorkflow, CauseTimeout, err, "Raise the job's policy.executionTimeout or JOB_TIMEOUT, or make the workflow faster.")
	case errors.Is(err, errCanceled):
		return failure(KindInput, CauseCanceled, err, "")
	case errors.Is(err, errShutdown):
		f := failure(KindInternal, CauseShutdown, err, "Send the job again: another worker will take it.")
		f.Retryable = true
		return f
	case errors.Is(err, errPanic):
		return failure(KindInternal, CausePanic, err, "Please report it with the stack that stands in the log.")
	}
	return nil
}

// blameInput is about what the job brings or names.
func blameInput(err error) *job.Failure {
	var refused *job.Failure
	var download *fetch.Error
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &download):
		f := failure(KindInput, CauseDownload, err, "")
		f.Retryable = download.Retryable
		return f
	case errors.Is(err, syscall.ENOSPC): // downloads are all that we write here
		f := failure(KindComfyUI, CauseDisk, err, diskAdvice)
		f.Retryable = true
		return f
	}
	return nil
}

// blameWorkflow is about workflows that ComfyUI refused or could not finish.
func blameWorkflow(err error) *job.Failure {
	var invalid *invalidError
	var node *comfy.NodeFailure
	switch {
	case errors.As(err, &invalid):
		f := failure(KindWorkflow, CauseInvalid, err, cmp.Or(invalid.advice, refusedAdvice(invalid.faults)))
		f.Details = invalid.faults
		return f
	case errors.As(err, &node) && outOfMemory(node):
		f := failure(KindWorkflow, CauseGPUMemory, err, "Use a smaller size, batch or model, or a GPU with more memory.")
		f.Details = nodeDetails(node)
		return f
	case errors.As(err, &node) && diskWasFull(node):
		f := failure(KindComfyUI, CauseDisk, err, diskAdvice)
		f.Details, f.Retryable = nodeDetails(node), true
		return f
	case errors.As(err, &node):
		f := failure(KindWorkflow, CauseNode, err, "Look at the node's inputs; its traceback stands in the details.")
		f.Details = nodeDetails(node)
		return f
	case errors.Is(err, comfy.ErrInterrupted):
		return failure(KindWorkflow, CauseInterrupted, err, "Something else than this worker interrupted ComfyUI; send the job again.")
	case errors.Is(err, errTooMany):
		return failure(KindWorkflow, CauseTooMany, err, "Split the job.")
	}
	return nil
}

// blameDelivery is about files that could not be moved.
func blameDelivery(err error) *job.Failure {
	var upload *uploadError
	var output *outputError
	var large *tooLargeError
	var store *storeError
	switch {
	case errors.As(err, &large):
		f := failure(KindDelivery, CauseTooLarge, err, "Set BUCKET_ENDPOINT_URL and its keys so that files go to S3, or save in a smaller format.")
		f.Details = map[string]int64{"result_bytes": large.size, "limit_bytes": large.limit}
		return f
	case errors.As(err, &store):
		f := failure(KindDelivery, CauseStore, err, "")
		f.Details, f.Retryable = store.details(), store.retryable()
		return f
	case isLost(err):
		return nil // the process is to blame for what could not be moved
	case errors.Is(err, errStalled):
		f := failure(KindDelivery, CauseOutput, err, "Look at the network volume that holds ComfyUI's outputs.")
		f.Retryable = true
		return f
	case errors.As(err, &upload):
		return failure(KindDelivery, CauseUpload, err, "Look at ComfyUI's log for the reason; the input directory may be full or read-only.")
	case errors.Is(err, errPathRefused):
		return failure(KindDelivery, CausePath, err, "Save outputs as plain files inside ComfyUI's output directory.")
	case errors.As(err, &output):
		return failure(KindDelivery, CauseOutput, err, "Set COMFY_OUTPUT_DIR if ComfyUI saves elsewhere.")
	}
	return nil
}

// blameComfyUI is about the process itself.
func blameComfyUI(err error) *job.Failure {
	f := failure(KindComfyUI, CauseInternal, err, "")
	f.Retryable = true
	var stall *stallError
	var poison *poisonError
	var full *fullError
	var killed interface{ OutOfMemory() bool }
	var stuck interface{ Unkillable() bool }
	var exit interface{ LastLines() []string }
	if errors.As(err, &exit) {
		f.Details = map[string][]string{"last_lines": exit.LastLines()}
	}
	switch {
	case errors.As(err, &full):
		f.Cause, f.Details = CauseDisk, full.details()
		f.Message += ". " + diskAdvice
	case errors.As(err, &stuck) && stuck.Unkillable():
		f.Cause = CauseUnkillable
	case errors.As(err, &poison):
		f.Cause = CausePoisoned
	case errors.Is(err, health.ErrGivenUp):
		f.Cause = CauseBoot
	case errors.As(err, &stall):
		f.Cause = CauseStalled
	case errors.Is(err, health.ErrHung):
		f.Cause = CauseHung
	case errors.As(err, &killed) && killed.OutOfMemory():
		f.Cause = CauseOOMKilled
		f.Message += ". The pod needs more memory, or the workflow a smaller model."
	case errors.Is(err, comfy.ErrLost), errors.Is(err, comfy.ErrHistoryMissing):
		f.Cause = CauseHistory
	case isLost(err):
		f.Cause = CauseCrashed
	case isConnection(err), isServerFault(err):
		f.Cause = CauseUnreachable
	default:
		f.Kind = KindInternal
	}
	return f
}

// diskAdvice is what to do about a full disk.
const diskAdvice = "Make room there, or give the pod a larger disk; the job can then be sent again."

func failure(kind, cause string, err error, advice string) *job.Failure {
	message := err.Error()
	if advice != "" {
		message = strings.TrimRight(message, ". \n") + ". " + advice
	}
	return &job.Failure{Kind: kind, Cause: cause, Message: message}
}
