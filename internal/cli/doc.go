// Package cli holds what comfyvisor's command line does with a comfyvisor that
// runs already, or with an endpoint of RunPod: send a job and bring back its
// files ([Submit]), give one up, restart ComfyUI, tell how everything is.
//
// Progress and messages go to Err, results to Out, so that results can be piped.
// An error that tells of wrong arguments is a [UsageError]; when the context ends,
// a job that was sent is canceled first.
package cli
