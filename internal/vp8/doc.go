// Package vp8 writes pictures as lossy WebP: one key frame of VP8 (RFC 6386) in
// its container. No library does that without C, a WebAssembly runtime or a
// dynamic linker.
//
// Of what the format can do it uses whole predictions of 16 x 16 pixels, the usual
// probabilities of coefficients and one loop filter for all. Files are about half
// again as large as libwebp makes them at the same quality.
//
//	picture ─► planes (Y, U, V, limited range) ─► macroblocks, row by row:
//	           predict, transform, quantize ─► tokens
//	           and back, since the next block is predicted from what a reader sees
package vp8
