package main

import (
	"path/filepath"
	"slices"
)

// preloadName is the variable that makes the loader put libraries before all
// others.
const preloadName = "LD_PRELOAD"

// withAllocator adds tcmalloc to the environment of ComfyUI if it is installed:
// with the C library's own allocator its memory grows from job to job. An
// LD_PRELOAD that is there already stays as it is, since two allocators do not
// go together. Root is the directory that holds lib and usr.
func withAllocator(env []string, root string) []string {
	if lookup(env, preloadName) != "" {
		return env
	}
	path := findAllocator(root)
	if path == "" {
		return env
	}
	return append(slices.Clip(env), preloadName+"=/"+path)
}

// findAllocator returns the path of tcmalloc below root, "" if it is not there.
func findAllocator(root string) string {
	for _, name := range []string{"libtcmalloc.so.[0-9]*", "libtcmalloc_minimal.so.[0-9]*"} {
		for _, dir := range []string{"usr/local/lib", "usr/lib/*-linux-gnu", "usr/lib64", "usr/lib", "lib/*-linux-gnu", "lib64", "lib"} {
			found, _ := filepath.Glob(filepath.Join(root, dir, name)) // the patterns are well formed
			if len(found) > 0 {
				path, _ := filepath.Rel(root, found[0])
				return path
			}
		}
	}
	return ""
}
