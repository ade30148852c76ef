package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// findAllocator returns the path of tcmalloc below root, "" if it is not there. It
// looks for names instead of listing directories of a thousand libraries, which
// would hold up the start by milliseconds.
func findAllocator(root string) string {
	var dirs []string
	for _, dir := range []string{"usr/local/lib", "usr/lib/*-linux-gnu", "usr/lib64", "usr/lib", "lib/*-linux-gnu", "lib64", "lib"} {
		found, _ := filepath.Glob(filepath.Join(root, dir)) // the patterns are well formed
		dirs = append(dirs, found...)
	}
	for _, name := range []string{"libtcmalloc.so.", "libtcmalloc_minimal.so."} {
		for _, dir := range dirs {
			for version := range 10 {
				file := filepath.Join(dir, name+strconv.Itoa(version))
				if _, err := os.Stat(file); err == nil {
					path, _ := filepath.Rel(root, file)
					return path
				}
			}
		}
	}
	return ""
}
