package comfytest

// newJobView returns false when ComfyUI would stumble over the extra_data.
func newJobView(p *prompt, e *historyEntry, status string) (*jobView, bool) {
	v := &jobView{status: status, json: obj("id", p.id, "status", status, "priority", p.shownNumber())}
	if created, ok := toFloat(p.extra.get("create_time")); ok {
		v.created = created
		v.json.set("create_time", p.extra.get("create_time"))
	}
	files, previewable := 0, (*object)(nil)
	if e != nil {
		v.times(e)
		files, previewable = summary(e.outputs)
	}
	v.json.set("outputs_count", files)
	v.json.set("previewable_outputs_count", files)
	if previewable != nil {
		v.json.set("preview_output", previewable)
	}
	id, ok := workflowID(p.extra)
	if id != nil {
		v.json.set("workflow_id", id)
	}
	return v, ok
}

// times adds when the run began and ended, and its error.
func (v *jobView) times(e *historyEntry) {
	var began, ended any
	for _, m := range e.status.get("messages").([]any) {
		event, data := m.([]any)[0].(string), m.([]any)[1].(*object)
		switch event {
		case "execution_start":
			began = data.get("timestamp")
		case "execution_success", "execution_error", "execution_interrupted":
			ended = data.get("timestamp")
		}
		if event == "execution_error" {
			defer v.json.set("execution_error", data)
		}
	}
	from, _ := toFloat(began)
	to, _ := toFloat(ended)
	v.duration = to - from
	v.json.set("execution_start_time", began)
	v.json.set("execution_end_time", ended)
}

// summary counts the files in outputs and picks one to show.
func summary(outputs *object) (files int, shown *object) {
	for _, node := range outputs.keys {
		kinds := outputs.get(node).(*object)
		for _, kind := range kinds.keys {
			items, _ := kinds.get(kind).([]any)
			for _, item := range items {
				file, ok := item.(*object)
				if !ok || !file.has("filename") {
					continue
				}
				files++
				if shown == nil || shown.get("type") != "output" && file.get("type") == "output" {
					shown = file.clone()
					shown.set("nodeId", node)
					shown.set("mediaType", kind)
				}
			}
		}
	}
	return files, shown
}

func workflowID(extra *object) (id any, ok bool) {
	if !extra.has("extra_pnginfo") {
		return nil, true
	}
	info, ok := extra.get("extra_pnginfo").(*object)
	if !ok || !info.has("workflow") {
		return nil, ok
	}
	workflow, ok := info.get("workflow").(*object)
	return workflow.get("id"), ok
}
