// Package media tells what a file is by its bytes: its type, and for pictures,
// films and sound how large they are and how long they last.
//
// [Look] reads headers only. No pixel is decoded, what lies between headers is
// skipped without being read where the file can seek, and a bound on the bytes
// read holds for whatever a file claims of itself. A file that lies, is cut off
// or is of a kind not known here is never an error: what is not told stays zero.
//
// The packages of the standard library are of no help for this: they give up
// where programs in C go on, and on sizes that they could not decode.
package media
