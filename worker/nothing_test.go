package worker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

const emptyImage = `"1":{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":1}}`

// A workflow that saves nothing completes, and the result says which of its nodes
// only show something and what to add.
func TestWorkflowThatSavesNothingSaysSo(t *testing.T) {
	preview := `"3":{"class_type":"PreviewImage","_meta":{"title":"Look"},"inputs":{"images":["1",0]}}`
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		d := p.do("shows", `{"workflow":{`+emptyImage+`,`+preview+`}}`)
		d.wantOutput(t, 0)
		for _, want := range []string{`"status":"success_no_images"`, `3 (PreviewImage, \"Look\") made previews only`, "SaveImage", "input.output.previews", `"images":[]`} {
			if !strings.Contains(string(d.body), want) {
				t.Errorf("the result lacks %s: %s", want, d.body)
			}
		}
		d = p.do("asked", `{"workflow":{`+emptyImage+`,`+preview+`},"output":{"previews":true}}`)
		d.wantOutput(t, 1)
		if f := d.Output.Files[0]; !f.Preview || f.Node != "3" || f.Width != 8 || d.Output.Note != "" {
			t.Errorf("file %+v, note %q", f, d.Output.Note)
		}
		d = p.do("text", `{"workflow":{"1":{"class_type":"SimText","inputs":{"text":"a"}}}}`)
		d.wantOutput(t, 0)
		if d.Output.Note != "" || d.Output.Values["1"] == nil {
			t.Errorf("note %q of a job whose text is its output", d.Output.Note)
		}
		p.do("nothing", `{"workflow":{`+emptyImage+`}}`).wantCause(t, CauseInvalid)
		d = p.do("nothing again", `{"workflow":{`+emptyImage+`}}`)
		if m := d.Failure.Message; !strings.Contains(m, "its nodes are 1 (EmptyImage)") || !strings.Contains(m, "SaveImage") {
			t.Errorf("message = %q", m)
		}
	})
}

// Values beyond the limits are left out with a warning, and the rest is returned.
func TestValuesAreBounded(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	nodes := []string{fmt.Sprintf(`"1":{"class_type":"SimText","inputs":{"text":%q}}`, strings.Repeat("x", maxNodeValues))}
	for i := 2; i < 40; i++ {
		nodes = append(nodes, fmt.Sprintf(`"%d":{"class_type":"SimText","inputs":{"text":%q}}`, i, strings.Repeat("y", maxNodeValues-100)))
	}
	d := p.do("job", `{"workflow":{`+strings.Join(nodes, ",")+`}}`)
	d.wantOutput(t, 0)
	if n := len(d.Output.Values); n != maxValues/maxNodeValues || d.Output.Values["1"] != nil {
		t.Errorf("the values of %d nodes are returned", n)
	}
	if w := d.Output.Warnings; len(w) != nodesNamed+1 || !strings.Contains(w[0], "node 1 are left out") {
		t.Errorf("warnings = %.300q", w)
	}
}
