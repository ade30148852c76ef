package comfytest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A jobsQuery is what GET /api/jobs is asked for.
type jobsQuery struct {
	states        []string
	workflow      string
	byDuration    bool
	ascending     bool
	limit, offset int
}

func parseJobsQuery(r *http.Request) (q jobsQuery, problem string) {
	get := r.URL.Query().Get
	if get("status") != "" {
		q.states = strings.Split(get("status"), ",")
		var bad []string
		for _, s := range q.states {
			if !slices.Contains(jobStates(), s) {
				bad = append(bad, s)
			}
		}
		if bad != nil {
			return q, fmt.Sprintf("Invalid status value(s): %s. Valid values: %s", strings.Join(bad, ", "), strings.Join(jobStates(), ", "))
		}
	}
	switch get("sort_by") {
	case "", "created_at":
	case "execution_duration":
		q.byDuration = true
	default:
		return q, "sort_by must be 'created_at' or 'execution_duration'"
	}
	switch get("sort_order") {
	case "", "desc":
	case "asc":
		q.ascending = true
	default:
		return q, "sort_order must be 'asc' or 'desc'"
	}
	q.workflow = get("workflow_id")
	var err error
	if s := get("limit"); s != "" {
		if q.limit, err = strconv.Atoi(s); err != nil {
			return q, "limit must be an integer"
		}
		if q.limit <= 0 {
			return q, "limit must be a positive integer"
		}
	}
	if s := get("offset"); s != "" {
		if q.offset, err = strconv.Atoi(s); err != nil {
			return q, "offset must be an integer"
		}
		q.offset = max(0, q.offset)
	}
	return q, ""
}

// apply filters and sorts.
func (q jobsQuery) apply(views []*jobView) []*jobView {
	views = slices.DeleteFunc(views, func(v *jobView) bool {
		return q.states != nil && !slices.Contains(q.states, v.status) ||
			q.workflow != "" && v.json.get("workflow_id") != any(q.workflow)
	})
	slices.SortStableFunc(views, func(a, b *jobView) int {
		order := cmp.Compare(a.created, b.created)
		if q.byDuration {
			order = cmp.Compare(a.duration, b.duration)
		}
		if !q.ascending {
			order = -order
		}
		return order
	})
	return views
}
