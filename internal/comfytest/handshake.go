package comfytest

import (
	"net/http"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

// serveWS is GET /ws: it registers the client, tells it the state and reads
// from it until it goes away. Like ComfyUI's, whose handler is not suspended
// before it has registered the client, it lets no other request in between.
func (c *Comfy) serveWS(w http.ResponseWriter, r *http.Request) {
	s := &socket{c: c, id: r.URL.Query().Get("clientId")}
	if fault, ok := c.faults.next("ws"); ok {
		c.failing(fault, r)
		if !c.beforeHandshake(w, r, fault) {
			return
		}
		s.fault = &fault
	}
	if !websocket.IsWebSocketUpgrade(r) {
		http.Error(w, "No WebSocket UPGRADE hdr: None\n Can \"Upgrade\" only to \"WebSocket\".", http.StatusBadRequest)
		return
	}
	if s.id == "" {
		s.id = uuidHex(uuid.New())
	}
	s.mu.Lock()
	if !c.hub.join(s) {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	defer c.hub.leave(s)
	up := websocket.Upgrader{EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		s.mu.Unlock()
		return
	}
	c.hub.attach(s, conn)
	c.greet(s)
	s.mu.Unlock()
	s.read()
}

// join registers s in place of an older socket of the same client id.
func (h *hub) join(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.c.ctx.Err() != nil {
		return false
	}
	h.all[s] = struct{}{}
	h.sockets[s.id] = s
	h.c.wg.Add(1)
	return true
}

// attach gives s its connection, unless the process has ended meanwhile.
func (h *hub) attach(s *socket, conn *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.conn = conn
	if h.c.ctx.Err() != nil {
		conn.NetConn().Close()
	}
}

// leave forgets the client id of s, even when a newer socket goes by it: so
// does ComfyUI, and the newer one never hears anything again.
func (h *hub) leave(s *socket) {
	h.mu.Lock()
	delete(h.all, s)
	delete(h.sockets, s.id)
	if s.conn != nil {
		s.conn.NetConn().Close()
	}
	h.mu.Unlock()
	h.c.wg.Done()
}

// greet sends the first messages: the state with the client's id, and the
// node at work if the running prompt is this client's. It needs s.mu.
func (c *Comfy) greet(s *socket) {
	c.mu.Lock()
	status := c.statusData()
	status.set("sid", s.id)
	node := ""
	if c.clientID != nil && *c.clientID == s.id {
		node = c.lastNode
	}
	c.mu.Unlock()
	s.sendEvent("status", status)
	if node != "" {
		s.sendEvent("executing", obj("node", node))
	}
}

// beforeHandshake serves the rules that act before a WebSocket is open. It
// returns false when the handshake has had its answer.
func (c *Comfy) beforeHandshake(w http.ResponseWriter, r *http.Request, f Fault) bool {
	if !c.sleep(r.Context(), f.Delay) {
		return false
	}
	switch f.Do {
	case "refuse":
		http.Error(w, f.Body, orStatus(f.Status, http.StatusServiceUnavailable))
		return false
	case "hang":
		c.hang(r)
		return false
	case "reset":
		panic(http.ErrAbortHandler)
	}
	return true
}
