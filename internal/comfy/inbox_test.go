package comfy

import (
	"bytes"
	"testing"
)

// A run that does not read makes neither the reader wait nor memory grow: of the
// previews the newest is kept, then progress is dropped, then the oldest.
func TestFault_W5_InboxDropsInsteadOfWaiting(t *testing.T) {
	in := newInbox("p", graph{"1": "KSampler"})
	in.put(message{event: Started{}})
	image := bytes.Repeat([]byte("x"), 1<<10)
	for i := range 10 * inboxLimit {
		image[0] = byte(i)
		in.put(message{event: Progress{Node: "1", Value: float64(i)}})
		in.put(message{event: Preview{Node: "1", Data: image}})
	}
	in.put(message{mark: endMark})

	taken := in.take()
	if len(taken) > inboxLimit+1 {
		t.Errorf("%d messages wait, want at most %d", len(taken), inboxLimit+1)
	}
	if _, ok := taken[0].event.(Started); !ok {
		t.Errorf("the first message is %+v, want the start", taken[0])
	}
	last := taken[len(taken)-1]
	if p, ok := last.event.(Preview); !ok || p.Data[0] != image[0] {
		t.Errorf("the last message is %T, want the newest preview", last.event)
	}
	if end := taken[len(taken)-2]; end.mark != endMark {
		t.Errorf("the end was dropped, %+v is in its place", end)
	}
	if rest := in.take(); len(rest) != 0 {
		t.Errorf("%d messages were taken twice", len(rest))
	}
}

func TestInboxKeepsFramesOfOutputNodes(t *testing.T) {
	in := newInbox("p", graph{"1": "KSampler", "7": "SaveImageWebsocket"})
	put := func(node, data string) {
		in.put(message{event: Preview{Node: node, MIME: "image/png", Data: []byte(data)}})
	}
	put("1", "preview")
	in.put(message{event: Executing{Node: "1"}})
	put("", "preview")
	in.put(message{event: Executing{Node: "7"}})
	put("", "first")
	put("7", "second")
	put("7.0.1", "third")

	frames, lost := in.takeFrames()
	var got []string
	for _, f := range frames {
		if f.Node != "7" || f.MIME != "image/png" {
			t.Errorf("frame %+v, want one of node 7", f)
		}
		got = append(got, string(f.Data))
	}
	if len(got) != 3 || got[0] != "first" || got[1] != "second" || got[2] != "third" || lost != 0 {
		t.Errorf("frames %q and %d lost, want first, second, third", got, lost)
	}
}

func TestInboxBoundsFrames(t *testing.T) {
	in := newInbox("p", graph{"7": "SaveImageWebsocket"})
	in.framesSize = framesSize - 3
	in.put(message{event: Preview{Node: "7", Data: []byte("1234")}})
	in.put(message{event: Preview{Node: "7", Data: []byte("123")}})
	if frames, lost := in.takeFrames(); len(frames) != 1 || lost != 1 {
		t.Errorf("%d frames are kept and %d lost, want one each", len(frames), lost)
	}
}
