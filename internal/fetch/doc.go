// Package fetch downloads files from URLs that strangers wrote.
//
//	Check      what the text of a URL tells: scheme, port, password, address
//	All        several URLs at once, into files that are gone when closed
//
// Whoever may name a URL can make this pod ask whom it likes: the cloud's
// metadata service, ComfyUI itself, a neighbour on the private network. So the
// address is judged in the dialer's control hook, after names are resolved and
// before the first packet: a name that resolves to one address when asked and to
// another when used gains nothing. Every redirect is judged again, five of them
// at most. Only public addresses are reached, on ports 80 and 443. No proxy is
// used, which would resolve names on its own, and no cookie, password or Referer
// is sent.
//
// An address that is refused and one where nobody answers have the same error
// text, so that errors do not tell which ports are open inside; Error.Cause says
// which of the two it was, for the log alone. No error shows a URL's query or
// password.
//
// A download ends when no byte has come for Config.Idle, when it has taken
// Config.Limit, or when the files of one call have more than Config.MaxBytes in
// all. Bytes go to disk as they come, and nothing is unpacked: memory does not
// grow with the files. The files have no name from the start, so nothing of
// them is left however the program ends.
package fetch
