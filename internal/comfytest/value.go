package comfytest

import (
	"slices"
)

// An object is a JSON object that keeps the order of its keys, as Python's
// dictionaries do. The other values of this package's JSON are []any, string,
// bool, nil, int, int64, float64 and json.Number.
type object struct {
	keys []string
	vals map[string]any
}

// obj makes an object of keys and values in turn.
func obj(pairs ...any) *object {
	o := &object{vals: make(map[string]any, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		o.set(pairs[i].(string), pairs[i+1])
	}
	return o
}

func (o *object) set(key string, val any) {
	if _, ok := o.vals[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.vals[key] = val
}

// get returns the value of key, nil if there is none or o is nil.
func (o *object) get(key string) any {
	if o == nil {
		return nil
	}
	return o.vals[key]
}

func (o *object) has(key string) bool {
	if o == nil {
		return false
	}
	_, ok := o.vals[key]
	return ok
}

func (o *object) del(key string) {
	delete(o.vals, key)
	o.keys = slices.DeleteFunc(o.keys, func(k string) bool { return k == key })
}

// clone copies the object itself, not the values in it.
func (o *object) clone() *object {
	c := obj()
	if o != nil {
		for _, k := range o.keys {
			c.set(k, o.vals[k])
		}
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
