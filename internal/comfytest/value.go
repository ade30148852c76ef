package comfytest

import (
	"maps"
	"slices"
)

// An object is a JSON object that keeps the order of its keys, as Python's
// dictionaries do. The other values of this package's JSON are []any, string,
// bool, nil, int, int64, float64 and json.Number.
type object struct {
	keys   []string
	vals   []any          // by the places of their keys
	places map[string]int // of the keys, nil while they are few
}

// fewKeys are so many that looking at each is quicker than a map.
const fewKeys = 12

// obj makes an object of keys and values in turn.
func obj(pairs ...any) *object {
	o := &object{keys: make([]string, 0, len(pairs)/2), vals: make([]any, 0, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.set(pairs[i].(string), pairs[i+1])
	}
	return o
}

// place is where a key stands, -1 if there is none.
func (o *object) place(key string) int {
	if o.places == nil {
		return slices.Index(o.keys, key)
	}
	if i, ok := o.places[key]; ok {
		return i
	}
	return -1
}

func (o *object) set(key string, val any) {
	if i := o.place(key); i >= 0 {
		o.vals[i] = val
		return
	}
	o.keys, o.vals = append(o.keys, key), append(o.vals, val)
	switch {
	case o.places != nil:
		o.places[key] = len(o.keys) - 1
	case len(o.keys) > fewKeys:
		o.index()
	}
}

// index makes the map of the places.
func (o *object) index() {
	o.places = make(map[string]int, 2*len(o.keys))
	for i, key := range o.keys {
		o.places[key] = i
	}
}

// get returns the value of key, nil if there is none or o is nil.
func (o *object) get(key string) any {
	if o == nil {
		return nil
	}
	if i := o.place(key); i >= 0 {
		return o.vals[i]
	}
	return nil
}

func (o *object) has(key string) bool { return o != nil && o.place(key) >= 0 }

func (o *object) del(key string) {
	i := o.place(key)
	if i < 0 {
		return
	}
	o.keys, o.vals = slices.Delete(o.keys, i, i+1), slices.Delete(o.vals, i, i+1)
	if o.places != nil {
		o.index()
	}
}

// clone copies the object itself, not the values in it.
func (o *object) clone() *object {
	c := obj()
	if o != nil {
		c.keys, c.vals, c.places = slices.Clone(o.keys), slices.Clone(o.vals), maps.Clone(o.places)
	}
	return c
}

// list makes a JSON array of any slice.
func list[T any](items []T) []any {
	l := make([]any, len(items))
	for i, item := range items {
		l[i] = item
	}
	return l
}
