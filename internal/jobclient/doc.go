// Package jobclient asks a server of RunPod's job API to do jobs: an endpoint of
// RunPod, or comfyvisor's own local API. [Client.Submit] sends a job,
// [Client.Job] tells how it stands, [Client.Open] reads a file that it made.
//
// Results may hold gigabytes as base64. Their documents go to a file as they
// arrive, with nothing but their skeleton in memory: the JSON in which every long
// text is replaced by the place where it stands in that file.
//
// What the server says is foreign text: names of files have to be cleaned before
// they become part of a path.
package jobclient
