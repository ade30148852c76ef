package comfytest

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// pyStr is Python's str of a JSON value.
func pyStr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return v
	case float64:
		return formatFloat(v)
	case json.Number:
		return v.String()
	case []any, *object:
		return pyRepr(v)
	}
	return fmt.Sprint(v)
}

// pyRepr is Python's repr of a JSON value.
func pyRepr(v any) string {
	switch v := v.(type) {
	case string:
		return "'" + v + "'"
	case []any:
		s := "["
		for i, item := range v {
			if i > 0 {
				s += ", "
			}
			s += pyRepr(item)
		}
		return s + "]"
	case *object:
		s := "{"
		for i, key := range v.keys {
			if i > 0 {
				s += ", "
			}
			s += pyRepr(key) + ": " + pyRepr(v.vals[i])
		}
		return s + "}"
	}
	return pyStr(v)
}

// pyInt, pyFloat and pyBool convert as Python's constructors do. The second
// result is the text of the exception, if they cannot.
func pyInt(val any) (any, string) {
	switch val := val.(type) {
	case bool:
		if val {
			return 1, ""
		}
		return 0, ""
	case json.Number:
		if !strings.ContainsAny(val.String(), ".eE") {
			return val, "" // kept as it is: Python's integers have no limit
		}
		f, _ := val.Float64()
		return int64(math.Trunc(f)), ""
	case string:
		n, err := strconv.ParseInt(strings.TrimSpace(val), 10, 64)
		if err != nil {
			return nil, fmt.Sprintf("invalid literal for int() with base 10: '%s'", val)
		}
		return n, ""
	}
	return nil, fmt.Sprintf("int() argument must be a string, a bytes-like object or a real number, not '%s'", pyType(val))
}

func pyFloat(val any) (any, string) {
	switch val := val.(type) {
	case bool:
		if val {
			return 1.0, ""
		}
		return 0.0, ""
	case json.Number:
		f, _ := val.Float64()
		return f, ""
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(val), 64)
		if err != nil {
			return nil, fmt.Sprintf("could not convert string to float: '%s'", val)
		}
		return f, ""
	}
	return nil, fmt.Sprintf("float() argument must be a string or a real number, not '%s'", pyType(val))
}

func pyBool(val any) bool {
	switch val := val.(type) {
	case nil:
		return false
	case bool:
		return val
	case string:
		return val != ""
	}
	n, ok := toFloat(val)
	return !ok || n != 0
}

func pyType(val any) string {
	if val == nil {
		return "NoneType"
	}
	return "dict"
}

// toInt and toFloat read any of the numbers that values can be.
func toInt(v any) (int64, bool) {
	f, ok := toFloat(v)
	return int64(f), ok && f == math.Trunc(f)
}

func toFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}
