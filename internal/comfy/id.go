package comfy

import (
	"strconv"

	"github.com/google/uuid"
)

// promptSpace makes our prompt ids differ from all other name-based UUIDs.
var promptSpace = uuid.MustParse("0d6a1b52-6f3c-4c5f-9a0e-8b1d3b9e7c41")

// PromptID returns the id of the given attempt at a job, counted from 1: always
// the same one for the same two, and in the canonical form that ComfyUI demands
// since 0.25.0. ComfyUI executes an id twice if it is submitted twice.
func PromptID(jobID string, attempt int) string {
	return uuid.NewSHA1(promptSpace, []byte(strconv.Itoa(attempt)+"/"+jobID)).String()
}
