package comfytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// decode reads one JSON value, with objects in the order of their keys.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("decode value: data after it")
	}
	return v, nil
}

func decodeValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := obj()
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			val, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			o.set(key.(string), val)
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		l := []any{}
		for d.More() {
			val, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			l = append(l, val)
		}
		_, err = d.Token()
		return l, err
	}
	return t, nil
}
