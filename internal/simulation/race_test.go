//go:build race

package simulation

// The race detector makes a run about six times as long.
const seedsByDefault = 200
