// Package doctor looks at everything a pod needs and says what is wrong with it,
// for people who set one up.
//
//	Run      asks all checks at the same time, each for as long as it may take
//	Write    prints what they found: a line each, with what to do about it
//
// A check asks one thing and changes nothing: no job is taken, nothing is posted,
// and what the trial of a bucket stores it removes. A [Finding] is good (ok), of
// no harm yet (warn), or will keep jobs from being done (fail).
//
// The checks get what they look at as values; what the environment says is
// entrypoint's to know.
package doctor
