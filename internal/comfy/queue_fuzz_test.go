package comfy

import "testing"

// Whatever ComfyUI answers, a prompt is found where its id stands, behind no
// more prompts than there are.
func FuzzQueue(f *testing.F) {
	for _, seed := range []string{
		`{"queue_running":[[1,"a",{},{},[]]],"queue_pending":[[3,"c",{}],[2,"b",{}]]}`, `{"queue_pending":[[NaN,"b"],["x","b"],[1e999,"b"],[],null,7]}`,
		`{"queue_running":{},"queue_pending":null}`, `[]`, `null`, ``, `{"queue_pending":[[1,7,"b"],[-0,"\ud800"]]}`,
	} {
		f.Add([]byte(seed), "b")
	}
	f.Fuzz(func(t *testing.T, answer []byte, id string) {
		var q queue
		if decode(answer, &q) != nil {
			return
		}
		where, ahead := q.find(id)
		if (where == pending) != (ahead >= 0) || ahead >= len(q.Running)+len(q.Pending) {
			t.Errorf("%q: %q is %v, behind %d", answer, id, where, ahead)
		}
	})
}
