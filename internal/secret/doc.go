// Package secret keeps keys out of what people read.
//
// A [Text] is a string that shows itself to nobody who does not ask with
// Reveal: every formatting verb, JSON and zap print ***. It guards against the
// key that is logged by mistake.
//
// A [Scrubber] guards against the key that arrives inside somebody else's text:
// an error of net/http that quotes a URL, a node that prints its environment. It
// knows the values, and replaces them with *** wherever they occur, also
// escaped for a URL or for JSON, or as a part of base64. Values shorter than
// [MinLength] are left alone, since they occur by chance.
//
// Neither helps against code that wants to show a key and encodes it in a way
// of its own.
package secret
