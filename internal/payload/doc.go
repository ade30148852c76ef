// Package payload writes results as JSON without holding their files in
// memory. A [Body] knows its exact size before the first byte is read, can be
// read any number of times, and reads each file again every time, base64
// encoding it on the way.
package payload
