package comfytest

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// A resultCache keeps what nodes returned, by what they were given. By
// default it forgets what the latest prompt does not use.
type resultCache struct {
	none    bool
	keep    int // entries kept across prompts, 0 for those of the latest only
	entries map[string]*result
	recent  []string // keys, the latest used last
}

func newResultCache(cfg Config) *resultCache {
	return &resultCache{none: cfg.NoCache, keep: cfg.CacheLRU, entries: make(map[string]*result)}
}

func (c *resultCache) clear() {
	clear(c.entries)
	c.recent = nil
}

// open prepares for a prompt and lists its nodes that have a result.
func (c *resultCache) open(ids []string, keys map[string]string) []string {
	if c.none {
		c.clear()
	}
	if c.keep == 0 {
		used := make(map[string]bool)
		for _, key := range keys {
			used[key] = true
		}
		c.drop(func(key string) bool { return !used[key] })
	}
	var cached []string
	for _, id := range ids {
		if c.get(keys[id]) != nil {
			cached = append(cached, id)
		}
	}
	return cached
}

func (c *resultCache) drop(match func(key string) bool) {
	for key := range c.entries {
		if match(key) {
			delete(c.entries, key)
		}
	}
	c.recent = slices.DeleteFunc(c.recent, match)
}

func (c *resultCache) get(key string) *result { return c.entries[key] }

func (c *resultCache) put(key string, r *result) {
	c.entries[key] = r
	c.recent = append(slices.DeleteFunc(c.recent, func(k string) bool { return k == key }), key)
	for c.keep > 0 && len(c.recent) > c.keep {
		delete(c.entries, c.recent[0])
		c.recent = c.recent[1:]
	}
}

// signatures gives each node a key made of its class and inputs, with links
// replaced by the key of the node that they lead to: node ids do not count.
func (c *Comfy) signatures(workflow *object) map[string]string {
	keys := make(map[string]string)
	var sign func(id string) string
	sign = func(id string) string {
		if key, ok := keys[id]; ok {
			return key
		}
		keys[id] = "cycle"
		node, _ := workflow.get(id).(*object)
		name, _ := node.get("class_type").(string)
		inputs, _ := node.get("inputs").(*object)
		names := slices.Sorted(slices.Values(inputs.clone().keys))
		parts := []any{name}
		for _, in := range names {
			if l, ok := asLink(inputs.get(in)); ok && workflow.has(l.node) {
				parts = append(parts, in, sign(l.node), l.slot)
				continue
			}
			parts = append(parts, in, inputs.get(in))
		}
		if class := c.classes.byName[name]; class != nil && class.changed != nil {
			parts = append(parts, class.changed(c, inputs))
		}
		text, _ := encode(parts)
		sum := sha256.Sum256(text)
		keys[id] = hex.EncodeToString(sum[:])
		return keys[id]
	}
	for _, id := range workflow.keys {
		sign(id)
	}
	return keys
}

// A link is an input that is another node's output.
type link struct {
	node string
	slot int
}

func asLink(v any) (link, bool) {
	l, ok := v.([]any)
	if !ok || len(l) != 2 {
		return link{}, false
	}
	node, ok := l[0].(string)
	slot, isInt := toInt(l[1])
	return link{node, int(slot)}, ok && isInt
}

func linksOf(workflow *object, id string) []link {
	var links []link
	node, _ := workflow.get(id).(*object)
	inputs, _ := node.get("inputs").(*object)
	for _, name := range inputs.clone().keys {
		if l, ok := asLink(inputs.get(name)); ok && workflow.has(l.node) {
			links = append(links, l)
		}
	}
	return links
}
