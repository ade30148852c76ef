package comfytest

import "io"

func textClasses(gen generation) []class {
	primitive := func(name string, in input) class {
		return class{name: name, category: "utils/primitive", inputs: []input{in}, returns: []string{in.kind},
			run: func(k *call) (*result, error) { return returns(k.in.get("value")) }}
	}
	classes := []class{
		primitive("PrimitiveString", textIn("value", "")),
		primitive("PrimitiveInt", intIn("value", 0, -1<<53, 1<<53)),
		primitive("PrimitiveFloat", floatIn("value", 0, -1e300, 1e300)),
		primitive("PrimitiveBoolean", boolIn("value", false)),
		{name: "PreviewAny", title: "Preview as Text", category: "utils", output: true, inputs: []input{linkIn("source", "*")},
			run: func(k *call) (*result, error) { return shows("text", []any{previewText(k.in.get("source"))}) }},
	}
	if gen.newNodes {
		classes = append(classes, class{name: "SaveText", title: "Save Text", category: "utils", output: true,
			inputs: []input{textIn("text", ""), textIn("filename_prefix", "ComfyUI"), comboIn("format", "txt", "md", "json", "csv")}, run: saveText})
	}
	return classes
}

// previewText is how PreviewAny shows a value.
func previewText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case *picture, *latent, blocker:
		return "source exists, but could not be serialized."
	default:
		return pyStr(v)
	}
}

func saveText(k *call) (*result, error) {
	at, err := k.place("output", k.text("filename_prefix"), 0, 0)
	if err != nil {
		return nil, err
	}
	at.bare = true
	file, err := k.save(at, k.text("format"), func(w io.Writer) error {
		_, err := io.WriteString(w, k.text("text"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return shows("text", []any{k.text("text")}, "files", []any{file})
}
